"""Anchors, the RPN's channels, suppression and proposals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.model.rpn import (
    RPN,
    anchor_grid,
    anchor_shapes,
    numbers_kept,
    propose,
    suppress,
    traced_proposals,
)
from fcis.recipe.conventions import CHAINERCV, RELEASE
from fcis.recipe.types import RPNRecipe
from fcis.structures import Features, RPNOutput

COCO = RPNRecipe()
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

# whole grid, no padding: nothing but scores, sizes and overlaps decides
PLAIN = replace(RELEASE, proposal_grid="full", pad_proposals=False)


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def from_yx(array):
    return torch.from_numpy(np.ascontiguousarray(array[..., [1, 0, 3, 2]]))


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
    rpn = RPN(6, recipe=replace(COCO, channels=8), conventions=RELEASE)
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
    rpn = RPN(6, recipe=replace(COCO, channels=8), conventions=RELEASE)
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
    rpn = RPN(64, recipe=replace(COCO, channels=64), conventions=RELEASE)
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


# Proposals


def output_of(anchors, scores, deltas=None, *, cells=None, stride=16):
    """One image with a column of cells, one anchor each, and probabilities of the object."""
    rows = anchors[:, None, None] if anchors.dim() == 2 else anchors
    probability = torch.as_tensor(scores, dtype=torch.float32).reshape(1, *rows.shape[:3])
    deltas = torch.zeros_like(rows) if deltas is None else deltas.reshape(rows.shape)
    return RPNOutput(
        logits=torch.stack([torch.zeros_like(probability), probability.logit()], dim=-1),
        deltas=deltas[None],
        anchors=rows,
        cells=torch.tensor([rows.shape[:2]]) if cells is None else cells,
        stride=stride,
    )


def proposals(output, size=(200, 300), scale=1.0, *, recipe=COCO, conventions=PLAIN):
    sizes = torch.tensor([size], dtype=torch.float32)
    return propose(output, sizes, torch.tensor([[scale, scale]]), recipe, conventions)


SEPARATE = boxes((0, 0, 40, 40), (100, 0, 140, 40), (200, 0, 240, 40))


def test_proposals_are_sorted():
    found = proposals(output_of(SEPARATE, [0.2, 0.9, 0.4]))
    assert torch.equal(found.boxes, SEPARATE[[1, 2, 0]])
    torch.testing.assert_close(found.objectness, torch.tensor([0.9, 0.4, 0.2]))
    assert found.image_index.tolist() == [0, 0, 0]


def test_proposals_are_decoded_and_clipped():
    deltas = torch.tensor([[0.5, 0, 0, 0], [0, 0, math.log(2), 0], [2.0, 0, 0, 0]])
    found = proposals(output_of(SEPARATE, [0.9, 0.8, 0.7], deltas), size=(30, 290))
    torch.testing.assert_close(
        found.boxes, boxes((20, 0, 60, 30), (80, 0, 160, 30), (280, 0, 290, 30))
    )


def test_proposals_carry_no_gradient():
    output = output_of(SEPARATE, [0.2, 0.9, 0.4])
    output.deltas.requires_grad_()
    found = proposals(output)
    assert not found.boxes.requires_grad
    assert not found.objectness.requires_grad


def test_traced_proposals_carry_that_of_the_deltas():
    """The same boxes; each moves with the deltas of its own anchor."""
    output = output_of(SEPARATE, [0.2, 0.9, 0.4])
    output.deltas.requires_grad_()
    sizes = torch.tensor([[200.0, 300.0]])
    arguments = (output, sizes, torch.ones(1, 2), RPNRecipe(), RELEASE)
    traced, plain = traced_proposals(*arguments), propose(*arguments)
    assert torch.equal(traced.boxes, plain.boxes) and not plain.boxes.requires_grad
    assert not traced.objectness.requires_grad
    (gradient,) = torch.autograd.grad(traced.boxes[0, 2], output.deltas)
    # the right edge of a box 40 px wide: its centre's shift, and half its width
    assert gradient.reshape(3, 4).tolist() == [[0] * 4, [40, 0, 20, 0], [0] * 4]


def test_rank():
    # by probability the second one is first, by its own logit the first one
    logits = torch.tensor([[2.0, 3.0], [-3.0, 1.0]]).reshape(1, 2, 1, 1, 2)
    output = replace(output_of(SEPARATE[:2], [0.5, 0.5]), logits=logits)
    found = proposals(output)
    assert torch.equal(found.boxes, SEPARATE[[1, 0]])
    port = proposals(output, conventions=replace(PLAIN, proposal_rank="logit"))
    assert torch.equal(port.boxes, SEPARATE[[0, 1]])
    # what is handed on is a probability all the same
    torch.testing.assert_close(port.objectness, found.objectness.flip(0))
    torch.testing.assert_close(found.objectness, torch.tensor([4.0, 1.0]).sigmoid())


def test_number_before_and_after_suppression():
    stack = boxes(*((0, 0, 40, 40 + 0.1 * i) for i in range(6)), (100, 0, 140, 40))
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    assert len(proposals(output_of(stack, scores)).boxes) == 2
    few = replace(COCO, pre_nms=6)
    assert len(proposals(output_of(stack, scores), recipe=few).boxes) == 1
    few = replace(COCO, post_nms=2)
    found = proposals(output_of(SEPARATE, [0.2, 0.9, 0.4]), recipe=few)
    assert torch.equal(found.boxes, SEPARATE[[1, 2]])


def test_larger_images_keep_more():
    # seven boxes, of which the six best are in a stack that leaves one
    stack = boxes(*((0, 0, 40, 40 + 0.1 * i) for i in range(6)), (100, 0, 140, 40))
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    few = replace(COCO, pre_nms=4, post_nms=2, nms_area=10_000.0)

    def found(output, rows, recipe=few):
        return len(proposals(output, size=(rows, 250), recipe=recipe).boxes)

    # 4, 6 (5.6) and 8 before suppression
    assert [found(output_of(stack, scores), rows) for rows in (40, 56, 80)] == [1, 1, 2]
    apart, one = output_of(SEPARATE, [0.2, 0.9, 0.4]), replace(few, post_nms=1)
    assert [found(apart, rows, one) for rows in (20, 40, 80, 120)] == [1, 1, 2, 3]
    assert found(apart, 120, replace(one, nms_area=0.0)) == 1
    padded = replace(PLAIN, pad_proposals=True)
    assert len(proposals(apart, size=(160, 250), recipe=one, conventions=padded).boxes) == 4


def test_numbers_of_each_image_of_a_batch():
    few = replace(COCO, pre_nms=4, post_nms=1, nms_area=10_000.0)
    sizes = torch.tensor([[40.0, 250.0], [100.0, 250.0]])
    assert [numbers_kept(few, size) for size in sizes] == [(4, 1), (10, 2)]
    assert [numbers_kept(COCO, size) for size in sizes] == [(6000, 300)] * 2


def test_suppression_at_equal_in_proposals():
    pair = output_of(boxes((0, 0, 10, 10), (0, 0, 10, 7)), [0.9, 0.8])
    assert len(proposals(pair).boxes) == 2
    assert len(proposals(pair, conventions=replace(PLAIN, nms_at_equal=True)).boxes) == 1


def test_whole_cells():
    # 40 x 56 px: the grid has 3 x 4 cells, of which 2 x 3 lie inside as a whole
    grid = anchor_grid(torch.tensor([[8.0, 8.0]]), 3, 4, 16)
    scores = torch.arange(1, 13) / 20
    full = proposals(output_of(grid, scores), size=(40, 56), recipe=COCO)
    assert len(full.boxes) == 12
    whole = replace(PLAIN, proposal_grid="whole-cells")
    found = proposals(output_of(grid, scores), size=(40, 56), conventions=whole)
    expected = grid[:2, :3].reshape(-1, 4).flip(0)
    assert torch.equal(found.boxes, expected)
    torch.testing.assert_close(found.objectness, torch.tensor([7.0, 6, 5, 3, 2, 1]) / 20)
    # an image of less than a cell has its one cell
    found = proposals(output_of(grid, scores), size=(9, 12), conventions=whole)
    assert found.boxes.tolist() == [[4, 4, 12, 9]]


def test_cells_of_other_images_are_left_out():
    grid = anchor_grid(torch.tensor([[8.0, 8.0]]), 3, 4, 16)
    output = output_of(grid, torch.arange(1, 13) / 20, cells=torch.tensor([[2, 1]]))
    found = proposals(output, size=(32, 16))
    assert torch.equal(found.boxes, grid[:2, 0, 0].flip(0))


def test_padding_repeats_survivors():
    padded = replace(PLAIN, pad_proposals=True)
    some = replace(COCO, post_nms=7)
    output = output_of(SEPARATE, [0.2, 0.9, 0.4])
    found = proposals(output, recipe=some, conventions=padded)
    assert torch.equal(found.boxes, SEPARATE[[1, 2, 0, 1, 2, 0, 1]])
    torch.testing.assert_close(found.objectness, torch.tensor([0.9, 0.4, 0.2, 0.9, 0.4, 0.2, 0.9]))
    assert found.image_index.tolist() == [0] * 7
    assert len(proposals(output, recipe=some).boxes) == 3


@pytest.mark.parametrize("padding", [False, True])
def test_no_survivor(padding):
    convention = replace(PLAIN, pad_proposals=padding)
    output = output_of(SEPARATE, [0.2, 0.9, 0.4])
    found = proposals(output, recipe=replace(COCO, min_size=41.0), conventions=convention)
    assert found.boxes.shape == (0, 4)
    assert found.image_index.shape == found.objectness.shape == (0,)
    assert found.image_index.dtype == torch.int64


@pytest.mark.parametrize(
    ("in_original", "scale", "kept"),
    [(False, 2.0, 3), (True, 2.0, 1), (False, 0.5, 3), (True, 0.5, 4)],
)
def test_minimum_size(in_original, scale, kept):
    sides = (31.0, 20.0, 16.0, 15.0)
    row = boxes(*((100 * i, 0, 100 * i + s, s) for i, s in enumerate(sides)))
    conventions = replace(PLAIN, min_size_in_original=in_original)
    recipe = replace(COCO, min_size=15.5)
    output = output_of(row, [0.9, 0.8, 0.7, 0.6])
    found = proposals(output, (200, 400), scale, recipe=recipe, conventions=conventions)
    assert torch.equal(found.boxes, row[:kept])


def test_images_of_a_batch_are_independent():
    generator = torch.Generator().manual_seed(0)
    grid = anchor_grid(anchor_shapes(COCO, rounding=True) / 4, 6, 7, 16)
    sizes = torch.tensor([[96.0, 112.0], [50.0, 100.0], [81.0, 64.0]])
    output = RPNOutput(
        logits=torch.randn((3, 6, 7, 12, 2), generator=generator),
        deltas=torch.randn((3, 6, 7, 12, 4), generator=generator) * 0.3,
        anchors=grid,
        cells=(sizes / 16).ceil().long(),
        stride=16,
    )
    scales = torch.tensor([[1.0, 1.0], [2.0, 2.0], [0.5, 0.5]])
    conventions = replace(RELEASE, min_size_in_original=True)
    recipe = replace(COCO, min_size=8.0, post_nms=40)
    together = propose(output, sizes, scales, recipe, conventions)
    assert together.image_index.tolist() == [0] * 40 + [1] * 40 + [2] * 40
    for i in range(3):
        alone = propose(
            replace(
                output,
                logits=output.logits[[i]],
                deltas=output.deltas[[i]],
                cells=output.cells[[i]],
            ),
            sizes[[i]],
            scales[[i]],
            recipe,
            conventions,
        )
        mine = together.image_index == i
        assert torch.equal(together.boxes[mine], alone.boxes)
        assert torch.equal(together.objectness[mine], alone.objectness)
        assert (alone.boxes[:, 2:] <= sizes[i].flip(0)).all()


# Golden files


def same_boxes(ours, golden):
    """The same boxes in the same order, up to float32 rounding. Seen: 3.1e-5 of up to 400 px."""
    assert ours.shape == golden.shape
    torch.testing.assert_close(ours, golden, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "name",
    ["coco_test", "sbd_test", "min16_scale3", "coco_train", "pre500_post50", "no_limits"],
)
def test_proposals_are_chainercv_s(shared, name):
    with np.load(shared / "golden" / "unit" / "unit_proposals.npz") as file:
        min_size, scale, _, pre, post = file[f"cfg_{name}"].tolist()
        anchors, deltas = from_yx(file["anchor"]), from_yx(file["loc"])
        logit = torch.from_numpy(file["score"])
        size, golden = tuple(file["img_size"].tolist()), from_yx(file[f"rois_{name}"])
    limit = len(anchors)
    recipe = replace(
        COCO,
        min_size=min_size,
        pre_nms=int(pre) if pre > 0 else limit,
        post_nms=int(post) if post > 0 else limit,
    )
    output = output_of(anchors, logit.sigmoid(), deltas)
    found = proposals(output, size, scale, recipe=recipe, conventions=CHAINERCV)
    same_boxes(found.boxes, golden)


def test_proposals_are_the_release_s(shared):
    with np.load(shared / "golden" / "unit" / "unit_mx_proposal.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    # its probabilities of both sides do not add up to 1; only those of the object count
    probability = arrays["cls_prob"][0, 12:].permute(1, 2, 0)
    deltas = arrays["bbox_pred"][0].unflatten(0, (12, 4)).permute(2, 3, 0, 1)
    grid = anchor_grid(anchor_shapes(COCO, rounding=True), 20, 24, 16)
    found = proposals(output_of(grid, probability, deltas), (320, 384), conventions=RELEASE)
    # last pixels included, and the image's number in front
    same_boxes(found.boxes, arrays["rois"][:, 1:] + torch.tensor([0.0, 0, 1, 1]))
    torch.testing.assert_close(found.objectness, arrays["scores"][:, 0])


@pytest.mark.parametrize("name", ["000000017627", "000000037777", "000000331352"])
def test_proposals_of_the_reference_network(shared, name):
    with np.load(shared / "golden" / "network" / f"{name}.npz") as file:
        anchors, deltas = from_yx(file["anchors"]), from_yx(file["rpn_locs"][0])
        logits, golden = torch.from_numpy(file["rpn_scores"][0]), from_yx(file["rois"])
        size, (_, _, rows, columns), scale = file["x"].shape[2:], file["c4"].shape, file["scale"]
    grid = anchor_grid(anchor_shapes(COCO, rounding=False), rows, columns, 16)
    assert torch.equal(grid.reshape(-1, 4), anchors)
    output = RPNOutput(
        logits=logits.reshape(1, rows, columns, 12, 2),
        deltas=deltas.reshape(1, rows, columns, 12, 4),
        anchors=grid,
        cells=torch.tensor([[rows, columns]]),
        stride=16,
    )
    same_boxes(proposals(output, size, float(scale), conventions=CHAINERCV).boxes, golden)
