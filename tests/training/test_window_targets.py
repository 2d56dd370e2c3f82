"""Which windows are an object's, and which of their cells."""

import math
from dataclasses import replace

import pytest
import torch

from fcis.core.boxes import box_iou
from fcis.model.baselines.windows import WindowMaps, all_windows, window_boxes
from fcis.recipe.types import InstFCNRecipe
from fcis.training.batch import ObjectMask, Truth
from fcis.training.targets import IGNORED
from fcis.training.window_targets import (
    cell_shares,
    draw_factor,
    suiting_boxes,
    window_targets,
)

OWN = InstFCNRecipe(window_cells=8, window_parts=4, pyramid=(0.5, 1.0, 2.0), windows=24)
ONE = torch.ones(4)


def truth_of(*boxes, crowds=()):
    return Truth(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.ones(len(boxes), dtype=torch.int64),
        masks=tuple(
            ObjectMask(top=int(b[1]), left=int(b[0]), values=torch.ones(int(b[3] - b[1]), 5))
            for b in boxes
        ),
        crowds=torch.tensor(crowds, dtype=torch.float32).reshape(-1, 4),
    )


def every(rows=20, columns=25):
    maps = WindowMaps(
        parts=torch.zeros(1, rows, columns, 16),
        objectness=torch.zeros(1, rows, columns),
        cells=torch.tensor([[rows, columns]]),
        stride=8,
    )
    return all_windows(maps, 0)


def targets_of(truth, recipe=OWN, *, seed=0, ratio=ONE, ignore_crowds=False):
    return window_targets(
        every(),
        truth,
        ratio,
        recipe,
        torch.Generator().manual_seed(seed),
        stride=8,
        ignore_crowds=ignore_crowds,
    )


def test_the_window_that_suits_an_object():
    boxes = suiting_boxes(torch.tensor([[10.0, 20, 50, 30], [0, 0, 8, 16]]), 0.8)
    assert boxes.tolist() == [[5, 0, 55, 50], [-6, -2, 14, 18]]
    assert suiting_boxes(torch.zeros(0, 4), 0.8).shape == (0, 4)


def test_labels_by_overlap_with_it():
    truth = truth_of((60, 60, 111, 90), (20, 100, 50, 151))
    found = targets_of(truth, replace(OWN, windows=2000))
    boxes = window_boxes(found.windows.row, found.windows.column, side=8, stride=8)
    overlap = box_iou(suiting_boxes(truth.boxes, OWN.window_fill), boxes)
    best, nearest = overlap.max(dim=0)
    count = len(found.objects)
    assert (found.labels[:count] == 1).all() and (found.labels[count:] == 0).all()
    assert (best[:count] >= 0.5).all() and (best[count:] < 0.4).all()
    assert torch.equal(nearest[:count], found.objects) and set(found.objects.tolist()) == {0, 1}
    # none but those between the bounds is left out
    whole = every()
    boxes = window_boxes(whole.row, whole.column, side=8, stride=8)
    best = box_iou(suiting_boxes(truth.boxes, OWN.window_fill), boxes).amax(dim=0)
    between = int(((best >= 0.4) & (best < 0.5)).sum())
    assert between > 0 and len(found.labels) == len(whole) - between
    assert IGNORED not in found.labels


def test_at_most_half_are_positive_and_chance_is_the_generators():
    truth = truth_of((60, 60, 111, 90), (20, 100, 50, 151))
    found = targets_of(truth)
    assert len(found.labels) == 24 and len(found.objects) == 12
    again, other = targets_of(truth), targets_of(truth, seed=1)
    assert torch.equal(found.windows.row, again.windows.row)
    assert not torch.equal(found.windows.row, other.windows.row)


def test_objects_are_looked_for_at_the_scale_of_the_maps():
    """Twice the size in the resized image: the object of 20 px suits a window there."""
    small = truth_of((30, 30, 55, 50))
    assert len(targets_of(small).objects) == 0
    found = targets_of(small, ratio=torch.full((4,), 2.0))
    boxes = window_boxes(found.windows.row, found.windows.column, side=8, stride=8)[
        : len(found.objects)
    ]
    assert len(boxes) and (boxes.mean(dim=0) - torch.tensor([53.0, 48, 117, 112])).abs().max() < 5


def test_windows_in_crowds_are_no_negatives():
    truth = truth_of((60, 60, 111, 90), crowds=((0, 0, 200, 40),))
    free = targets_of(truth, replace(OWN, windows=2000))
    spared = targets_of(truth, replace(OWN, windows=2000), ignore_crowds=True)
    assert len(spared.objects) == len(free.objects)
    assert len(spared.labels) < len(free.labels)
    boxes = window_boxes(spared.windows.row, spared.windows.column, side=8, stride=8)
    negative = boxes[len(spared.objects) :]
    inside = (negative[:, 3].clamp(max=40) - negative[:, 1].clamp(min=0)).clamp(min=0) * (
        negative[:, 2].clamp(max=200) - negative[:, 0].clamp(min=0)
    ).clamp(min=0)
    assert (inside <= 0.5 * 64 * 64).all()


def test_an_image_without_objects():
    found = targets_of(truth_of())
    assert len(found.objects) == 0 and len(found.labels) == 24 and not found.labels.any()


def test_drawn_factors_suit_an_object():
    """A window of 64 px, 0.8 of it: an object of 40 px suits at 1.28, give or take sqrt(1.5)."""
    generator = torch.Generator().manual_seed(0)
    one = [draw_factor(truth_of((0, 0, 40, 9)), OWN, generator, stride=8) for _ in range(200)]
    middle = 64 * 0.8 / 40
    assert middle / math.sqrt(1.5) <= min(one) < 1.1 < 1.5 < max(one) <= middle * math.sqrt(1.5)
    both = truth_of((0, 0, 40, 9), (0, 0, 3, 2))
    factors = {draw_factor(both, OWN, generator, stride=8) for _ in range(200)}
    assert 2.0 in factors and min(factors) < 1.5  # the small object needs more than there is
    none = [draw_factor(truth_of(), OWN, generator, stride=8) for _ in range(200)]
    assert 0.5 <= min(none) < 0.6 and 1.8 < max(none) <= 2.0


@pytest.mark.parametrize("step", [4.0, 2.5])
def test_shares_against_a_loop(step):
    generator = torch.Generator().manual_seed(0)
    masks = (
        ObjectMask(top=3, left=-2, values=torch.rand((9, 14), generator=generator)),
        ObjectMask(top=8, left=5, values=torch.rand((6, 4), generator=generator)),
    )
    side = 4
    corners = torch.tensor([[0.0, 0], [-3.5, 4.25], [6, 2]])
    windows = torch.cat([corners, corners + side * step], dim=1)
    objects = torch.tensor([0, 1, 0])
    found = cell_shares(windows, objects, masks, side=side)
    for n in range(3):
        mask = masks[int(objects[n])]
        for u in range(side):
            for v in range(side):
                y, x = float(windows[n, 1]) + u * step, float(windows[n, 0]) + v * step
                share = 0.0
                for i in range(mask.values.shape[0]):
                    for j in range(mask.values.shape[1]):
                        high = min(y + step, mask.top + i + 1) - max(y, mask.top + i)
                        wide = min(x + step, mask.left + j + 1) - max(x, mask.left + j)
                        share += max(high, 0) * max(wide, 0) * float(mask.values[i, j])
                assert found[n, u, v].item() == pytest.approx(share / step**2, abs=1e-5)


def test_shares_of_no_windows():
    found = cell_shares(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (), side=4)
    assert found.shape == (0, 4, 4)
