"""Box geometry: hand cases, the release's inclusive arithmetic, and ChainerCV's numbers."""

import math

import numpy as np
import pytest
import torch

from fcis.core.boxes import (
    box_area,
    box_iou,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    large_enough,
    to_original,
)


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand((count, 2), generator=generator) * 300 - 50
    size = torch.rand((count, 2), generator=generator) * 120 + 1
    return torch.cat([corner, corner + size], dim=1)


@pytest.fixture(scope="module")
def golden(shared):
    """ChainerCV's numbers, from (y, x) to (x, y) order."""
    with np.load(shared / "golden" / "unit" / "unit_boxes.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    for name in ("src", "dst", "loc", "back", "rand_loc", "rand_bbox"):
        arrays[name] = arrays[name][:, [1, 0, 3, 2]]
    return arrays


def test_area():
    assert box_area(boxes((0, 0, 4, 3), (5, 5, 5, 9), (4, 0, 0, 3))).tolist() == [12, 0, 0]
    # any number of leading axes, none included
    assert box_area(torch.tensor([1.0, 1, 3, 4])).item() == 6
    assert box_area(torch.zeros(2, 3, 4)).shape == (2, 3)


def test_iou_by_hand():
    first = boxes((0, 0, 10, 10), (20, 20, 20, 20))
    second = boxes((0, 0, 10, 10), (5, 0, 15, 10), (10, 0, 20, 10), (0, 0, 10, 3))
    expected = torch.tensor([[1, 1 / 3, 0, 0.3], [0, 0, 0, 0]])
    torch.testing.assert_close(box_iou(first, second), expected)
    # two boxes without area have no union
    assert box_iou(first[1:], first[1:]).item() == 0
    # an inverted box overlaps nothing
    assert box_iou(boxes((10, 10, 0, 0)), first).tolist() == [[0, 0]]


def test_iou_of_nothing():
    assert box_iou(boxes(), boxes((0, 0, 1, 1))).shape == (0, 1)
    assert box_iou(boxes((0, 0, 1, 1)), boxes()).shape == (1, 0)


def test_iou_golden(golden):
    assert torch.equal(box_iou(golden["src"], golden["dst"]), golden["iou"])
    assert torch.equal(box_iou(golden["src"], golden["src"]), golden["iou_self"])


def test_iou_is_the_release_s_inclusive_one():
    ours = random_boxes(30, 0).round()
    expected = np.zeros((30, 30))
    for i, (a0, b0, a1, b1) in enumerate(ours.tolist()):
        for j, (c0, d0, c1, d1) in enumerate(ours.tolist()):
            a2, b2, c2, d2 = a1 - 1, b1 - 1, c1 - 1, d1 - 1  # last covered pixels
            width = min(a2, c2) - max(a0, c0) + 1
            height = min(b2, d2) - max(b0, d0) + 1
            if width > 0 and height > 0:
                total = (a2 - a0 + 1) * (b2 - b0 + 1) + (c2 - c0 + 1) * (d2 - d0 + 1)
                expected[i, j] = width * height / (total - width * height)
    np.testing.assert_allclose(box_iou(ours, ours).numpy(), expected, rtol=1e-6)


def test_encode_and_decode_by_hand():
    source, target = boxes((10, 20, 30, 60)), boxes((20, 30, 40, 40))
    # centre (20, 40) -> (30, 35) in units of (20, 40); size (20, 40) -> (20, 10)
    deltas = torch.tensor([[0.5, -0.125, 0, math.log(0.25)]])
    torch.testing.assert_close(encode_boxes(source, target), deltas)
    torch.testing.assert_close(decode_boxes(source, deltas), target)


def test_encode_and_decode_golden(golden):
    # seen: 1.9e-6 of shifts up to 38, 3.1e-5 of boxes up to 505 px
    torch.testing.assert_close(
        encode_boxes(golden["src"], golden["dst"]), golden["loc"], atol=5e-6, rtol=1e-5
    )
    decoded = decode_boxes(golden["src"], golden["loc"])
    torch.testing.assert_close(decoded, golden["back"], atol=1e-4, rtol=1e-5)
    decoded = decode_boxes(golden["src"], golden["rand_loc"])
    torch.testing.assert_close(decoded, golden["rand_bbox"], atol=1e-4, rtol=1e-5)


def test_decode_is_the_release_s_inclusive_one():
    source = random_boxes(50, 1)
    deltas = torch.randn((50, 4), generator=torch.Generator().manual_seed(2)) * 0.5
    x1, y1, x2, y2 = (source - torch.tensor([0.0, 0, 1, 1])).double().unbind(1)
    dx, dy, dw, dh = deltas.double().unbind(1)
    width, height = x2 - x1 + 1, y2 - y1 + 1
    x, y = x1 + 0.5 * (width - 1) + dx * width, y1 + 0.5 * (height - 1) + dy * height
    width, height = width * torch.exp(dw), height * torch.exp(dh)
    inclusive = torch.stack(
        [
            x - 0.5 * (width - 1),
            y - 0.5 * (height - 1),
            x + 0.5 * (width - 1),
            y + 0.5 * (height - 1),
        ],
        dim=1,
    )
    expected = inclusive.float() + torch.tensor([0.0, 0, 1, 1])
    torch.testing.assert_close(decode_boxes(source, deltas), expected, atol=1e-3, rtol=1e-5)


def test_zero_deltas_give_the_same_box():
    # whole and half coordinates, where float32 is exact
    source = (random_boxes(100, 3) * 2).round() / 2
    assert torch.equal(decode_boxes(source, torch.zeros(100, 4)), source)


def test_decode_inverts_encode():
    source, target = random_boxes(100, 4), random_boxes(100, 5)
    back = decode_boxes(source, encode_boxes(source, target))
    torch.testing.assert_close(back, target, atol=1e-3, rtol=1e-5)


def test_encode_and_decode_stay_finite():
    flat = boxes((5, 5, 5, 5))
    assert encode_boxes(flat, boxes((0, 0, 10, 10))).isfinite().all()
    assert encode_boxes(boxes((0, 0, 10, 10)), flat).isfinite().all()
    grown = decode_boxes(boxes((0, 0, 2, 2)), torch.tensor([[0.0, 0, 1e4, 1e4]]))
    reach = math.exp(8)
    torch.testing.assert_close(grown, boxes((1 - reach, 1 - reach, 1 + reach, 1 + reach)))
    # shrinking has no bound
    assert decode_boxes(boxes((0, 0, 2, 2)), torch.tensor([[0.0, 0, -200, -200]])).tolist() == [
        [1, 1, 1, 1]
    ]


def test_encode_and_decode_of_nothing():
    assert encode_boxes(boxes(), boxes()).shape == (0, 4)
    assert decode_boxes(boxes(), boxes()).shape == (0, 4)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-3, -2, 5, 6), (0, 0, 5, 6)),
        ((4, 3, 25, 17), (4, 3, 20, 10)),
        ((2, 3, 8, 9), (2, 3, 8, 9)),
        # outside: the border pixel that is nearest
        ((-30, 4, -20, 8), (0, 4, 1, 8)),
        ((40, 4, 50, 8), (19, 4, 20, 8)),
        ((3, 12, 8, 40), (3, 9, 8, 10)),
        ((-9, -9, -1, -1), (0, 0, 1, 1)),
        # thin, but inside
        ((5.25, 5, 5.5, 6), (5.25, 5, 5.5, 6)),
    ],
)
def test_clip(box, expected):
    assert clip_boxes(boxes(box), torch.tensor([[10.0, 20.0]])).tolist() == [list(expected)]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-3, -2, 5, 6), (0, 0, 5, 6)),
        ((2, 3, 8, 9), (2, 3, 8, 9)),
        # outside: nothing but an edge
        ((-30, 4, -20, 8), (0, 4, 0, 8)),
        ((40, 4, 50, 8), (20, 4, 20, 8)),
        ((-9, -9, -1, -1), (0, 0, 0, 0)),
        # a sliver is not made a pixel
        ((19.75, 9.5, 30, 30), (19.75, 9.5, 20, 10)),
    ],
)
def test_clip_to_edges(box, expected):
    found = clip_boxes(boxes(box), torch.tensor([[10.0, 20.0]]), keep_pixel=False)
    assert found.tolist() == [list(expected)]


def test_clip_is_the_release_s_inclusive_one():
    ours = random_boxes(200, 6) * 2 - 100
    inclusive = ours - torch.tensor([0.0, 0, 1, 1])
    limits = torch.tensor([149.0, 99, 149, 99])
    expected = inclusive.clamp(min=0).minimum(limits) + torch.tensor([0.0, 0, 1, 1])
    sizes = torch.tensor([100.0, 150.0]).expand(200, 2)
    torch.testing.assert_close(clip_boxes(ours, sizes), expected)


def test_clip_to_each_one_s_own_image():
    sizes = torch.tensor([[10.0, 20.0], [30.0, 5.0]])
    clipped = clip_boxes(boxes((0, 0, 99, 99), (0, 0, 99, 99)), sizes)
    assert clipped.tolist() == [[0, 0, 20, 10], [0, 0, 5, 30]]


def test_large_enough():
    found = boxes((0, 0, 4, 4), (0, 0, 3.99, 9), (0, 0, 9, 3.99), (5, 5, 1, 1))
    assert large_enough(found, 4.0).tolist() == [True, False, False, False]
    nan = float("nan")
    assert not large_enough(boxes((0, 0, nan, nan)), 0.0).any()


def test_to_original_by_edge_and_by_last_pixel():
    box, scale = boxes((15, 20, 45, 60)), torch.tensor([2.0, 1.5])
    edge = to_original(box, scale, (100, 100), last_pixel=False)
    assert edge.tolist() == [[10, 10, 30, 30]]
    # the last pixels are 44 and 59, and (44 / 1.5) + 1, (59 / 2) + 1 the ends
    last = to_original(box, scale, (100, 100), last_pixel=True)
    torch.testing.assert_close(last, boxes((10, 10, 44 / 1.5 + 1, 30.5)))
    # no difference at scale 1
    one = torch.ones(2)
    assert torch.equal(
        to_original(box, one, (100, 100), last_pixel=True),
        to_original(box, one, (100, 100), last_pixel=False),
    )


def test_to_original_clips():
    box, scale = boxes((0, 0, 30, 30), (28, 28, 30, 30)), torch.tensor([0.5, 0.5])
    found = to_original(box, scale, (59, 57), last_pixel=False)
    assert found.tolist() == [[0, 0, 57, 59], [56, 56, 57, 59]]
    found = to_original(box, scale, (55, 55), last_pixel=False, keep_pixel=False)
    assert found.tolist() == [[0, 0, 55, 55], [55, 55, 55, 55]]
    assert to_original(boxes(), scale, (59, 57), last_pixel=True).shape == (0, 4)
