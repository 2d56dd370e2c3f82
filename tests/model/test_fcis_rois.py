"""RoIs of both passes: how many, where, and images that have none."""

from dataclasses import replace

import pytest
import torch

from fcis.ops import definition
from fcis.ops.roi_sampling import AssemblyRule, RoIs
from fcis.recipe.conventions import RELEASE, with_conventions

from .fcis_cases import SAMPLINGS, SIZES, batch_of, lively, tiny


def rois_of(model, batch):
    with torch.inference_mode():
        output, maps = model(batch)
        proposals = model.rpn_proposals(output, batch)
        return proposals, maps, model.score(maps, proposals, batch)


def test_600_rois_the_first_300_from_the_rpn():
    base = tiny()
    recipe = replace(base, rpn=replace(base.rpn, pre_nms=6000, post_nms=300))
    recipe = with_conventions(recipe, {**RELEASE, "sampling": "align"})
    model = lively(recipe)
    together, _ = batch_of(SIZES[:1], recipe)
    proposals, _, (boxes, index, probabilities) = rois_of(model, together)
    assert proposals.boxes.shape == (300, 4)
    assert boxes.shape == (600, 4)
    assert torch.equal(boxes[:300], proposals.boxes)
    assert index.tolist() == [0] * 600
    assert probabilities.shape == (600, 4)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(600))
    assert not torch.equal(boxes[:300], boxes[300:])
    # within the image
    assert boxes.min() >= 0
    assert (boxes[:, 2:] <= torch.tensor([120.0, 90.0])).all()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_second_pass_by_the_definition(sampling):
    recipe = tiny(rows={"sampling": sampling})
    recipe = replace(recipe, rpn=replace(recipe.rpn, post_nms=6))
    model = lively(recipe)
    together, _ = batch_of(SIZES[1:3], recipe)
    proposals, maps, (boxes, index, probabilities) = rois_of(model, together)
    count = len(proposals.boxes)
    assert torch.equal(index[:count], index[count:])
    rule = AssemblyRule(stride=8, sampling=sampling, out_size=recipe.head.out_size)
    stds = torch.tensor(recipe.head.box_stds)
    first = RoIs(boxes=boxes[:count], image_index=index[:count], cells=maps.cells)
    deltas = definition.mean_deltas(maps.boxes, first, rule) * stds
    size = boxes[:count, 2:] - boxes[:count, :2]
    centre = boxes[:count, :2] + size / 2 + deltas[:, :2] * size
    half = size * deltas[:, 2:].exp() / 2
    refined = torch.cat([centre - half, centre + half], dim=1)
    limits = together.sizes[index[:count]].flip(1).float()
    refined[:, :2] = refined[:, :2].clamp(min=0).minimum(limits - 1)
    refined[:, 2:] = refined[:, 2:].clamp(min=1).minimum(limits)
    torch.testing.assert_close(boxes[count:], refined, atol=1e-3, rtol=1e-5)
    for part in (slice(0, count), slice(count, None)):
        rois = RoIs(boxes=boxes[part], image_index=index[part], cells=maps.cells)
        logits = definition.class_scores(maps.classes, rois, rule)
        torch.testing.assert_close(probabilities[part], logits.softmax(dim=1), atol=1e-4, rtol=1e-3)


def test_one_pass():
    recipe = tiny()
    one = replace(recipe, detection=replace(recipe.detection, passes=1))
    model = lively(one)
    together, _ = batch_of(SIZES, one)
    proposals, _, (boxes, index, probabilities) = rois_of(model, together)
    assert torch.equal(boxes, proposals.boxes)
    assert torch.equal(index, proposals.image_index)
    _, _, (_, _, both) = rois_of(lively(recipe), together)
    assert torch.equal(probabilities, both[: len(boxes)])
    assert all(len(found) > 3 for found in model.detect(together))


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("padding", [False, True])
def test_images_without_proposals(sampling, padding):
    base = tiny()
    # the smallest image has no box that large
    rpn = replace(base.rpn, anchor_sizes=(64.0, 96.0), min_size=61.0)
    recipe = replace(base, rpn=rpn)
    recipe = with_conventions(recipe, {"sampling": sampling, "pad_proposals": padding})
    model = lively(recipe)
    together, alone = batch_of(SIZES, recipe)
    found = model.detect(together)
    assert len(found[3]) == 0
    assert found[3].size == SIZES[3]
    assert found[3].masks.shape == (0, 60, 133)
    assert [len(f) > 0 for f in found] == [True, True, True, False]
    assert len(model.detect(alone[3])[0]) == 0
    nowhere = lively(replace(recipe, rpn=replace(recipe.rpn, min_size=1000.0)))
    assert [len(f) for f in nowhere.detect(together)] == [0] * 4


def test_dropped_rois():
    base = tiny(rpn=replace(tiny().rpn, anchor_sizes=(64.0, 96.0)))
    for size, left in ((1000.0, False), (61.0, True)):
        recipe = replace(base, detection=replace(base.detection, drop_size=size))
        together, _ = batch_of(SIZES, recipe)
        found = lively(recipe).detect(together)
        assert any(len(f) > 0 for f in found) == left
        assert len(found[3]) == 0


def test_drop_size_is_in_the_resized_image():
    rpn = replace(tiny().rpn, anchor_sizes=(96.0, 128.0))
    base = tiny(rows={"min_size_in_original": True}, rpn=rpn)
    zoomed = replace(base.preprocessing, zoom=2.0)
    recipe = replace(
        base,
        preprocessing=zoomed,
        detection=replace(base.detection, drop_size=70.0),
    )
    # 70 px of the original are more than any of these images has; of the resized one they are not
    together, _ = batch_of([(60, 66), (50, 64)], recipe)
    assert all(len(found) > 0 for found in lively(recipe).detect(together))
