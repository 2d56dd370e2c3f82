"""From the output of the RPN to proposals; by hand, by ChainerCV and by the release."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.presets import preset

from fcis.model.rpn import anchor_grid, anchor_shapes, find_proposals, numbers_kept
from fcis.recipe.conventions import RELEASE, with_conventions
from fcis.recipe.types import RPNRecipe
from fcis.structures import RPNOutput

from .rpn_cases import COCO, boxes, from_yx

# whole grid, no padding: nothing but scores, sizes and overlaps decides
PLAIN = {**RELEASE, "proposal_grid": "full", "pad_proposals": False}


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
    sizes, scales = torch.tensor([size], dtype=torch.float32), torch.tensor([[scale, scale]])
    return find_proposals(output, sizes, scales, with_conventions(recipe, conventions))


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


def test_boxes_carry_the_gradient_of_the_deltas():
    """Each box moves with the deltas of its own anchor."""
    output = output_of(SEPARATE, [0.2, 0.9, 0.4])
    output.deltas.requires_grad_()
    sizes = torch.tensor([[200.0, 300.0]])
    arguments = (output, sizes, torch.ones(1, 2), RPNRecipe())
    traced = find_proposals(*arguments)
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
    port = proposals(output, conventions={**PLAIN, "proposal_rank": "logit"})
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
    padded = {**PLAIN, "pad_proposals": True}
    assert len(proposals(apart, size=(160, 250), recipe=one, conventions=padded).boxes) == 4


def test_numbers_of_each_image_of_a_batch():
    few = replace(COCO, pre_nms=4, post_nms=1, nms_area=10_000.0)
    sizes = torch.tensor([[40.0, 250.0], [100.0, 250.0]])
    assert [numbers_kept(few, size) for size in sizes] == [(4, 1), (10, 2)]
    assert [numbers_kept(COCO, size) for size in sizes] == [(6000, 300)] * 2


def test_suppression_at_equal_in_proposals():
    pair = output_of(boxes((0, 0, 10, 10), (0, 0, 10, 7)), [0.9, 0.8])
    assert len(proposals(pair).boxes) == 2
    assert len(proposals(pair, conventions={**PLAIN, "nms_at_equal": True}).boxes) == 1


def test_whole_cells():
    # 40 x 56 px: the grid has 3 x 4 cells, of which 2 x 3 lie inside as a whole
    grid = anchor_grid(torch.tensor([[8.0, 8.0]]), 3, 4, 16)
    scores = torch.arange(1, 13) / 20
    full = proposals(output_of(grid, scores), size=(40, 56), recipe=COCO)
    assert len(full.boxes) == 12
    whole = {**PLAIN, "proposal_grid": "whole-cells"}
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
    padded = {**PLAIN, "pad_proposals": True}
    some = replace(COCO, post_nms=7)
    output = output_of(SEPARATE, [0.2, 0.9, 0.4])
    found = proposals(output, recipe=some, conventions=padded)
    assert torch.equal(found.boxes, SEPARATE[[1, 2, 0, 1, 2, 0, 1]])
    torch.testing.assert_close(found.objectness, torch.tensor([0.9, 0.4, 0.2, 0.9, 0.4, 0.2, 0.9]))
    assert found.image_index.tolist() == [0] * 7
    assert len(proposals(output, recipe=some).boxes) == 3


@pytest.mark.parametrize("padding", [False, True])
def test_no_survivor(padding):
    convention = {**PLAIN, "pad_proposals": padding}
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
    conventions = {**PLAIN, "min_size_in_original": in_original}
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
    recipe = replace(COCO, min_size=8.0, post_nms=40, min_size_in_original=True)
    together = find_proposals(output, sizes, scales, recipe)
    assert together.image_index.tolist() == [0] * 40 + [1] * 40 + [2] * 40
    for i in range(3):
        alone = find_proposals(
            replace(
                output,
                logits=output.logits[[i]],
                deltas=output.deltas[[i]],
                cells=output.cells[[i]],
            ),
            sizes[[i]],
            scales[[i]],
            recipe,
        )
        mine = together.image_index == i
        assert torch.equal(together.boxes[mine], alone.boxes)
        assert torch.equal(together.objectness[mine], alone.objectness)
        assert (alone.boxes[:, 2:] <= sizes[i].flip(0)).all()


# Golden files


def by_preset(name, output, size, scale, *settings):
    recipe = preset(name, *settings).model.rpn
    sizes, scales = torch.tensor([size], dtype=torch.float32), torch.tensor([[scale, scale]])
    return find_proposals(output, sizes, scales, recipe)


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
    settings = (
        f"rpn.min_size={min_size}",
        f"pre_nms={int(pre) if pre > 0 else limit}",
        f"post_nms={int(post) if post > 0 else limit}",
    )
    output = output_of(anchors, logit.sigmoid(), deltas)
    found = by_preset("chainercv", output, size, scale, *settings)
    same_boxes(found.boxes, golden)


def test_proposals_are_the_release_s(shared):
    with np.load(shared / "golden" / "unit" / "unit_mx_proposal.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    # its probabilities of both sides do not add up to 1; only those of the object count
    probability = arrays["cls_prob"][0, 12:].permute(1, 2, 0)
    deltas = arrays["bbox_pred"][0].unflatten(0, (12, 4)).permute(2, 3, 0, 1)
    grid = anchor_grid(anchor_shapes(COCO, rounding=True), 20, 24, 16)
    found = by_preset("release", output_of(grid, probability, deltas), (320, 384), 1.0)
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
    same_boxes(by_preset("chainercv", output, size, float(scale)).boxes, golden)
