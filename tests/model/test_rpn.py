"""Anchors, the RPN's channels and suppression."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.model.rpn import RPN, anchor_grid, anchor_shapes, suppress
from fcis.structures import Features

from .rpn_cases import COCO, boxes, from_yx

VOC = replace(COCO, anchor_sizes=(128.0, 256.0, 512.0))

# reference 3.3: last pixels included, ratio by ratio, scale by scale
RELEASE_ANCHORS = [
    (-38, -16, 53, 31),
    (-84, -40, 99, 55),
    (-176, -88, 191, 103),
    (-360, -184, 375, 199),
    (-24, -24, 39, 39),
    (-56, -56, 71, 71),
    (-120, -120, 135, 135),
    (-248, -248, 263, 263),
    (-14, -36, 29, 51),
    (-36, -80, 51, 95),
    (-80, -168, 95, 183),
    (-168, -344, 183, 359),
]


# Anchors


def test_release_s_anchors():
    one_cell = anchor_grid(anchor_shapes(COCO, rounding=True), 1, 1, 16)[0, 0]
    assert (one_cell - torch.tensor([0.0, 0, 1, 1])).tolist() == [list(a) for a in RELEASE_ANCHORS]
    voc = anchor_grid(anchor_shapes(VOC, rounding=True), 1, 1, 16)[0, 0]
    kept = [a for i, a in enumerate(RELEASE_ANCHORS) if i % 4]
    assert (voc - torch.tensor([0.0, 0, 1, 1])).tolist() == [list(a) for a in kept]


def test_chainercv_s_anchors(shared):
    with np.load(shared / "golden" / "unit" / "unit_anchors.npz") as file:
        for recipe, name in ((COCO, "base_coco"), (VOC, "base_sbd")):
            grid = anchor_grid(anchor_shapes(recipe, rounding=False), 1, 1, 16)
            assert torch.equal(grid[0, 0], from_yx(file[name]))
        shapes = anchor_shapes(COCO, rounding=False)
        for rows, columns in ((1, 1), (3, 5), (38, 57)):
            grid = anchor_grid(shapes, rows, columns, 16)
            assert grid.shape == (rows, columns, 12, 4)
            # rows, then columns, then anchors of a cell
            golden = from_yx(file[f"shift_coco_16_{rows}x{columns}"])
            assert torch.equal(grid.reshape(-1, 4), golden)
        # another base: 8 px, scales 1 and 2.5. Sides of ratio 3 are rounded to float32 before
        # they are halved, corners of the port after it: seen 9.5e-7 px, the others exactly
        odd = replace(COCO, anchor_sizes=(8.0, 20.0), anchor_ratios=(0.25, 1.0, 3.0))
        grid = anchor_grid(anchor_shapes(odd, rounding=False), 1, 1, 8)
        golden = from_yx(file["base_odd"])
        assert torch.equal(grid[0, 0, :4], golden[:4])
        torch.testing.assert_close(grid[0, 0], golden, atol=1e-6, rtol=0)


def test_areas_and_ratios():
    recipe = replace(COCO, anchor_sizes=(10.0, 24.0), anchor_ratios=(0.25, 1.0, 3.0))
    width, height = anchor_shapes(recipe, rounding=False).unbind(1)
    assert (width * height).sqrt().tolist() == pytest.approx([10, 24] * 3)
    assert (height / width).tolist() == pytest.approx([0.25] * 2 + [1] * 2 + [3] * 2)


def test_anchors_are_centred_on_their_cells():
    grid = anchor_grid(torch.tensor([[4.0, 6.0]]), 2, 3, 8)
    centre = (grid[..., 0, :2] + grid[..., 0, 2:]) / 2
    assert centre[..., 0].tolist() == [[4, 12, 20]] * 2
    assert centre[..., 1].tolist() == [[4] * 3, [12] * 3]


# The network


def features(c4, cells=None, stride=16):
    n, _, h, w = c4.shape
    cells = torch.tensor([[h, w]] * n) if cells is None else cells
    return Features(c4=c4, c5=c4, cells=cells, stride=stride)


def test_channels():
    rpn = RPN(6, recipe=replace(COCO, channels=8))
    assert [tuple(layer.weight.shape) for layer in (rpn.conv, rpn.scores, rpn.deltas)] == [
        (8, 6, 3, 3),
        (24, 8, 1, 1),
        (48, 8, 1, 1),
    ]
    with torch.no_grad():
        for layer in (rpn.scores, rpn.deltas):
            layer.weight.zero_()
            layer.bias.copy_(torch.arange(len(layer.bias)))
        output = rpn(features(torch.rand(2, 6, 3, 5)))
    assert output.logits.shape == (2, 3, 5, 12, 2)
    assert output.deltas.shape == (2, 3, 5, 12, 4)
    assert output.anchors.shape == (3, 5, 12, 4)
    anchor = torch.arange(12.0)
    # background of anchor a is channel a, its object channel A + a
    assert (output.logits[..., 0] == anchor).all()
    assert (output.logits[..., 1] == 12 + anchor).all()
    for j in range(4):
        assert (output.deltas[..., j] == 4 * anchor + j).all()


def test_output_is_that_of_the_layers():
    torch.manual_seed(0)
    rpn = RPN(6, recipe=replace(COCO, channels=8))
    for layer in (rpn.conv, rpn.scores, rpn.deltas):
        torch.nn.init.normal_(layer.weight)
    c4 = torch.randn(2, 6, 4, 3)
    output = rpn(features(c4))
    hidden = rpn.conv(c4).relu()
    scores, deltas = rpn.scores(hidden), rpn.deltas(hidden)
    for image, y, x, a in ((0, 0, 0, 0), (1, 3, 2, 11), (1, 2, 0, 5)):
        assert output.logits[image, y, x, a, 0] == scores[image, a, y, x]
        assert output.logits[image, y, x, a, 1] == scores[image, 12 + a, y, x]
        assert torch.equal(output.deltas[image, y, x, a], deltas[image, 4 * a : 4 * a + 4, y, x])


def test_first_weights():
    torch.manual_seed(1)
    rpn = RPN(64, recipe=replace(COCO, channels=64))
    for layer in (rpn.conv, rpn.scores, rpn.deltas):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert not layer.bias.any()
    # the anchors belong to the recipe, not to the weights
    assert len(rpn.state_dict()) == 6


# Suppression


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.1, 0.9])
def test_suppression_at_exactly_the_threshold(threshold):
    pair = boxes((0, 0, 10, 10), (0, 0, 10, 10 * threshold))
    scores = torch.tensor([0.9, 0.8])
    assert suppress(pair, scores, threshold, at_equal=False).tolist() == [0, 1]
    assert suppress(pair, scores, threshold, at_equal=True).tolist() == [0]
    # in double precision 0.3 is below the float32 of 3 / 10
    assert suppress(pair.double(), scores.double(), threshold, at_equal=False).tolist() == [0, 1]
    for at_equal in (False, True):
        assert suppress(pair, scores, threshold + 1e-3, at_equal=at_equal).tolist() == [0, 1]
        assert suppress(pair, scores, threshold - 1e-3, at_equal=at_equal).tolist() == [0]


def test_suppression_order():
    three = boxes((0, 0, 10, 10), (0, 0, 10, 9), (50, 50, 60, 60))
    assert suppress(three, torch.tensor([0.1, 0.2, 0.9]), 0.5, at_equal=False).tolist() == [2, 1]
    # of equal scores the first one wins
    same = torch.tensor([0.5, 0.5, 0.5])
    assert suppress(three, same, 0.5, at_equal=False).tolist() == [0, 2]
    # what has gone does not suppress
    chain = boxes((0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10))
    kept = suppress(chain, torch.tensor([0.9, 0.8, 0.7]), 0.3, at_equal=False)
    assert kept.tolist() == [0, 2]


def test_suppression_of_nothing():
    assert suppress(boxes(), torch.zeros(0), 0.5, at_equal=False).shape == (0,)


def test_suppression_golden(shared):
    with np.load(shared / "golden" / "unit" / "unit_boxes.npz") as file:
        found, scores = from_yx(file["src"]), torch.from_numpy(file["score"])
        for name, threshold in (("nms_03", 0.3), ("nms_07", 0.7)):
            kept = suppress(found, scores, threshold, at_equal=True)
            assert kept.tolist() == file[name].tolist()
        limited = suppress(found, scores, 0.5, at_equal=True)[:20]
        assert limited.tolist() == file["nms_05_limit20"].tolist()
        in_order = -torch.arange(200.0)
        kept = suppress(found, in_order, 0.5, at_equal=True)
        assert kept.tolist() == file["nms_05_noscore"].tolist()
