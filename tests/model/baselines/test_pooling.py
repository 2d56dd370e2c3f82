"""Pooling of RoI features against loops."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from fcis.model.baselines.pooling import pool_rois

from .conftest import features_of

BOXES = torch.tensor(
    [[0.0, 0, 24, 16], [5.3, 2.1, 41.9, 38.2], [8, 8, 55, 44], [-20, -20, 200, 200], [9, 9, 9, 9]]
)
INDEX = torch.tensor([1, 0, 1, 0, 1])


def pooled(features, boxes=BOXES, index=INDEX, *, size=3, sampling="pool"):
    return pool_rois(
        features.c5, features.cells, boxes, index, size=size, stride=8, sampling=sampling
    )


def slow_pool(features, box, image, size):
    """Max over the cells of each bin; boxes rounded to cells, the last one covered (R-CNN)."""
    rows, columns = features.cells[image].tolist()
    ends = [v - 1 if n > 1 else v for n, v in enumerate(box.tolist())]
    x0, y0, x1, y1 = (int(math.copysign(math.floor(abs(v) / 8 + 0.5), v)) for v in ends)
    high, wide = max(y1 - y0 + 1, 1) / size, max(x1 - x0 + 1, 1) / size
    out = torch.zeros(features.c5.shape[1], size, size)
    for p in range(size):
        top = min(max(math.floor(p * high) + y0, 0), rows)
        bottom = min(max(math.ceil((p + 1) * high) + y0, 0), rows)
        for q in range(size):
            left = min(max(math.floor(q * wide) + x0, 0), columns)
            right = min(max(math.ceil((q + 1) * wide) + x0, 0), columns)
            if bottom > top and right > left:
                out[:, p, q] = features.c5[image, :, top:bottom, left:right].amax(dim=(1, 2))
    return out


def slow_align(features, box, image, size):
    """The mean of 2 x 2 bilinear samples of each bin."""
    limits = features.cells[image].tolist()
    x0, y0, x1, y1 = (v / 8 - 0.5 for v in box.tolist())
    out = torch.zeros(features.c5.shape[1], size, size)
    for p in range(2 * size):
        for q in range(2 * size):
            value, places = torch.zeros(features.c5.shape[1]), []
            for low, high, n, limit in ((y0, y1, p, limits[0]), (x0, x1, q, limits[1])):
                place = low + (n + 0.5) * (high - low) / (2 * size)
                if place < -1 or place > limit:
                    break
                place = min(max(place, 0.0), limit - 1.0)
                first = math.floor(place)
                pairs = [(first, 1 - place + first), (min(first + 1, limit - 1), place - first)]
                places.append(pairs)
            if len(places) == 2:
                for y, wy in places[0]:
                    for x, wx in places[1]:
                        value = value + wy * wx * features.c5[image, :, y, x]
            out[:, p // 2, q // 2] += value / 4
    return out


@pytest.mark.parametrize(("sampling", "slow"), [("pool", slow_pool), ("align", slow_align)])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_against_loops(sampling, slow, size):
    features = features_of(4)
    found = pooled(features, size=size, sampling=sampling)
    expected = [slow(features, b, int(i), size) for b, i in zip(BOXES, INDEX, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("sampling", ["pool", "align"])
def test_a_roi_does_not_depend_on_the_batch(sampling):
    features = features_of(4)
    other = features_of(4)
    other.c5[0, :, 5:] = 1e6  # beyond the first image's cells
    other.c5[1, :, :, 4:] = 1e6
    assert torch.equal(pooled(features, sampling=sampling), pooled(other, sampling=sampling))


@pytest.mark.parametrize("sampling", ["pool", "align"])
def test_gradients(sampling):
    features = features_of(2, dtype=torch.float64)

    def function(values):
        return pool_rois(
            values, features.cells, BOXES[:3], INDEX[:3], size=2, stride=8, sampling=sampling
        )

    assert gradcheck(function, (features.c5.clone().requires_grad_(),), fast_mode=True)


def test_without_rois():
    features = features_of(4)
    features.c5.requires_grad_()
    found = pooled(features, BOXES[:0], INDEX[:0])
    assert found.shape == (0, 4, 3, 3)
    found.sum().backward()
    assert not features.c5.grad.any()


def test_half_precision_is_pooled_in_full():
    features = features_of(4)
    found = pool_rois(
        features.c5.bfloat16(), features.cells, BOXES, INDEX, size=2, stride=8, sampling="align"
    )
    assert found.dtype == torch.float32
