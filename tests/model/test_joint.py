"""Joint inference: scores, deltas and masks of RoIs against the definition and golden files."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.presets import preset

from fcis.model.joint import (
    assembly_rule,
    dense_grids,
    inside_probability,
    mask_rois,
    score_rois,
)
from fcis.ops import definition
from fcis.ops.roi_sampling import RoIs
from fcis.recipe.conventions import PAPER, RELEASE, with_conventions
from fcis.recipe.types import BackboneRecipe, HeadRecipe, ModelRecipe
from fcis.structures import INSIDE, OUTSIDE, RoIMasks, ScoreMaps

RECIPE = ModelRecipe(
    class_names=("a", "b", "c"), category_ids=(1, 2, 3), head=HeadRecipe(k=3, out_size=6)
)
BOXES = torch.tensor([[0, 0, 64, 48], [10.5, 3.2, 31.0, 60], [40, 40, 41, 41], [5, 60, 90, 70.0]])
IMAGES = torch.tensor([0, 1, 0, 1])


def maps_of(seed=0, k=3, num_classes=3):
    generator = torch.Generator().manual_seed(seed)
    return ScoreMaps(
        classes=torch.randn((2, 5, 6, k * k, 2, num_classes + 1), generator=generator),
        boxes=torch.randn((2, 5, 6, k * k, 4), generator=generator),
        cells=torch.tensor([[5, 6], [4, 5]]),
        stride=16,
    )


def with_sampling(sampling, **changes):
    return with_conventions(RECIPE, {**RELEASE, "sampling": sampling, **changes})


def test_rule_of_a_recipe():
    rule = assembly_rule(RECIPE)
    assert (rule.stride, rule.sampling, rule.out_size, rule.round_boxes) == (16, "pool", 6, True)
    port = replace(with_sampling("align", round_rois=False), backbone=BackboneRecipe(stride=8))
    rule = assembly_rule(port)
    assert (rule.stride, rule.sampling, rule.round_boxes) == (8, "align", False)
    assert assembly_rule(with_conventions(RECIPE, PAPER)).sampling == "native"
    finer = replace(RECIPE, backbone=BackboneRecipe(fusion="c2"))
    assert assembly_rule(finer).stride == 4


@pytest.mark.parametrize("sampling", ["pool", "align", "native"])
def test_scores_and_masks_are_the_definition_s(sampling):
    recipe, maps = with_sampling(sampling), maps_of()
    rois = RoIs(boxes=BOXES, image_index=IMAGES, cells=maps.cells)
    rule = assembly_rule(recipe)
    scores = score_rois(maps, BOXES, IMAGES, recipe)
    torch.testing.assert_close(
        scores.class_logits, definition.class_scores(maps.classes, rois, rule)
    )
    stds = torch.tensor([0.2, 0.2, 0.5, 0.5])
    torch.testing.assert_close(
        scores.box_deltas, definition.mean_deltas(maps.boxes, rois, rule) * stds
    )
    classes = torch.tensor([1, 3, 0, 2])
    masks = mask_rois(maps, BOXES, IMAGES, classes, recipe)
    expected = definition.class_masks(maps.classes, rois, classes, rule)
    torch.testing.assert_close(masks.values, expected.values)
    assert torch.equal(masks.shapes, expected.shapes)
    torch.testing.assert_close(masks.extents, expected.extents)


@pytest.mark.parametrize("sampling", ["pool", "align", "native"])
def test_no_rois(sampling):
    recipe, maps = with_sampling(sampling), maps_of()
    none, index = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    scores = score_rois(maps, none, index, recipe)
    assert scores.class_logits.shape == (0, 4)
    assert scores.box_deltas.shape == (0, 4)
    masks = mask_rois(maps, none, index, index, recipe)
    assert masks.shapes.shape == (0, 2)
    assert dense_grids(masks, inside_probability(masks)).shape == (0, 1, 1)


def test_box_stds():
    maps = maps_of()
    one = replace(RECIPE, head=replace(RECIPE.head, box_stds=(1.0, 1.0, 1.0, 1.0)))
    two = replace(RECIPE, head=replace(RECIPE.head, box_stds=(1.0, 2.0, 3.0, 4.0)))
    plain = score_rois(maps, BOXES, IMAGES, one).box_deltas
    scaled = score_rois(maps, BOXES, IMAGES, two).box_deltas
    torch.testing.assert_close(scaled, plain * torch.tensor([1.0, 2, 3, 4]))


def test_inside_probability_is_a_two_way_softmax():
    values = torch.tensor([[0.0, 0.0], [1.0, 3.0], [2.0, -1.0], [-200.0, 200.0]])
    masks = RoIMasks(
        values=values, shapes=torch.tensor([[2, 2]]), extents=torch.tensor([[0.0, 0, 8, 8]])
    )
    expected = [0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(3)), 1]
    assert inside_probability(masks).tolist() == pytest.approx(expected)
    # the reference's words: e^inside / (e^inside + e^outside)
    few = values[:3].double().exp()
    torch.testing.assert_close(
        inside_probability(masks)[:3].double(),
        few[:, INSIDE] / (few[:, OUTSIDE] + few[:, INSIDE]),
    )


def test_half_precision_becomes_float32():
    masks = RoIMasks(
        values=torch.randn(4, 2).bfloat16(),
        shapes=torch.tensor([[2, 2]]),
        extents=torch.zeros(1, 4),
    )
    assert inside_probability(masks).dtype == torch.float32


def test_dense_grids_of_ragged_masks():
    shapes = torch.tensor([[2, 3], [1, 1], [4, 2], [1, 3]])
    count = int(shapes.prod(dim=1).sum())
    masks = RoIMasks(values=torch.zeros(count, 2), shapes=shapes, extents=torch.zeros(4, 4))
    assert masks.offsets.tolist() == [0, 6, 7, 15]
    values = torch.arange(1.0, count + 1)
    grids = dense_grids(masks, values)
    assert grids.shape == (4, 4, 3)
    expected = torch.zeros(4, 4, 3)
    next_value = 1.0
    for roi, (rows, columns) in enumerate(shapes.tolist()):
        for row in range(rows):
            for column in range(columns):
                expected[roi, row, column] = next_value
                next_value += 1
    assert torch.equal(grids, expected)


def test_dense_grids_of_equal_masks():
    masks = RoIMasks(
        values=torch.zeros(18, 2), shapes=torch.tensor([[2, 3]] * 3), extents=torch.zeros(3, 4)
    )
    grids = dense_grids(masks, torch.arange(18.0))
    assert grids[1].tolist() == [[6, 7, 8], [9, 10, 11]]


# Golden files: what an independent implementation makes of its assembled maps. Each RoI's
# assembled maps stand for an image here whose cells are the samples, copied by the native rule,
# which is the paper's. Nobody's outputs under the paper's conventions are known; what follows the
# assembly is alike in all.


@pytest.fixture(scope="module", params=["000000017627", "000000037777", "000000331352"])
def file(request, shared):
    with np.load(shared / "golden" / "network" / f"{request.param}.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name.startswith(("it", "pooled"))}


@pytest.mark.parametrize("turn", ["it1", "it2"])
def test_golden_head(file, turn):
    rows = file["pooled_rows"]
    pooled = torch.from_numpy(file[f"{turn}_pooled"])  # RoI, class, side, row, column
    shifts = torch.from_numpy(file[f"{turn}_pooled_loc"]).unflatten(1, (2, 4))[:, 1]
    maps = ScoreMaps(
        classes=pooled.permute(0, 3, 4, 2, 1)[:, :, :, None],
        boxes=shifts[:, [1, 0, 3, 2]].permute(0, 2, 3, 1)[:, :, :, None],
        cells=torch.full((6, 2), 21),
        stride=16,
    )
    recipe = preset("paper", "head.k=1").model
    boxes, index = torch.tensor([[0.0, 0, 336, 336]] * 6), torch.arange(6)
    scores = score_rois(maps, boxes, index, recipe)
    logits = torch.from_numpy(file[f"{turn}_cls_scores"][rows])
    torch.testing.assert_close(scores.class_logits, logits, atol=1e-5, rtol=1e-5)
    deltas = torch.from_numpy(file[f"{turn}_locs"][rows][:, 1][:, [1, 0, 3, 2]])
    stds = torch.tensor(recipe.head.box_stds)
    torch.testing.assert_close(scores.box_deltas, deltas * stds, atol=1e-5, rtol=1e-5)
    # the port's category is the best one, background not excluded
    masks = mask_rois(maps, boxes, index, logits.argmax(dim=1), recipe)
    sides = torch.from_numpy(file[f"{turn}_seg_scores"][rows])
    grids = dense_grids(masks, masks.values[:, INSIDE])
    torch.testing.assert_close(grids, sides[:, INSIDE])
    probability = dense_grids(masks, inside_probability(masks))
    torch.testing.assert_close(probability, sides.softmax(dim=1)[:, INSIDE])
