"""InstFCN + R-FCN: two networks that meet at test alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.core.boxes import box_iou
from fcis.structures import INSIDE, OUTSIDE

from .conftest import features_of


def run(model, batch):
    with torch.inference_mode():
        return model(batch)


def test_the_networks_share_nothing_and_are_all_there_is(system):
    model = system("instfcn-rfcn")
    rfcn, instfcn = ({id(p) for p in network.parameters()} for network in model.networks)
    assert not rfcn & instfcn
    assert rfcn | instfcn == {id(p) for p in model.parameters()}
    names = {n.partition(".")[0] for n, _ in model.named_parameters()}
    assert names == {"backbone", "rpn", "head", "instfcn"}  # nothing is saved twice


def test_proposals_are_the_boxes_of_masks(system, images):
    model = system("instfcn-rfcn")
    batch, _ = images(model.recipe)
    output, maps = run(model, batch)
    proposals = model.find_rois(output, maps, batch)
    assert torch.equal(proposals.boxes, maps.masks.boxes)
    assert torch.equal(proposals.objectness, maps.masks.objectness)
    assert not torch.equal(model.rpn_proposals(output, batch).boxes, proposals.boxes)


def test_a_box_of_a_proposal_has_its_mask(system, images):
    model = system("instfcn-rfcn")
    batch, _ = images(model.recipe)
    _, maps = run(model, batch)
    boxes, index, side = maps.masks.boxes, maps.masks.image_index, model.mask_size
    masks = model.mask_rois(maps, boxes, index, torch.ones_like(index))
    assert masks.shapes.tolist() == [[side, side]] * len(boxes)
    assert not masks.values[:, OUTSIDE].any()
    values = masks.values[:, INSIDE].unflatten(0, (len(boxes), side, side))
    assert torch.equal(values, maps.masks.logits) and torch.equal(masks.extents, maps.masks.windows)


def test_another_box_has_the_mask_that_is_most_like_it(system, images):
    model = system("instfcn-rfcn")
    batch, _ = images(model.recipe)
    _, maps = run(model, batch)
    boxes = torch.tensor([[10.0, 10, 60, 50], [3, 20, 30, 60]])
    index = torch.tensor([2, 0])
    masks = model.mask_rois(maps, boxes, index, index)
    for i in range(2):
        mine = (maps.masks.image_index == index[i]).nonzero()[:, 0]
        best = mine[box_iou(boxes[i : i + 1], maps.masks.boxes[mine])[0].argmax()]
        assert torch.equal(masks.extents[i], maps.masks.windows[best])


def test_an_image_without_proposals_has_empty_masks(system, images):
    model = system("instfcn-rfcn")
    batch, _ = images(model.recipe)
    _, maps = run(model, batch)
    masks = maps.masks
    without = replace(masks, image_index=torch.ones_like(masks.image_index))
    boxes = torch.tensor([[1.0, 2, 30, 40]])
    for found in (without, replace(masks, **{n: getattr(masks, n)[:0] for n in masks.__slots__})):
        own = replace(maps, masks=found)
        read = model.mask_rois(own, boxes, torch.tensor([0]), torch.tensor([1]))
        assert (read.values[:, INSIDE] == -20).all() and torch.equal(read.extents, boxes)
    nothing = model.mask_rois(maps, boxes[:0], torch.tensor([0])[:0], torch.tensor([1])[:0])
    assert nothing.values.shape == (0, 2)


def test_a_detection_has_the_mask_of_its_own_proposal(system, images):
    """Without votes, pixels are where the proposal's mask, enlarged, is at the threshold."""
    model = system("instfcn-rfcn")
    _, singles = images(model.recipe)
    single = singles[0]
    _, maps = run(model, single)
    (found,) = model.detect(single)
    assert len(found) >= 3
    scores = model.score_rois(maps, maps.masks.boxes, maps.masks.image_index)
    probabilities = scores.class_logits.softmax(dim=1)[:, 1:]
    for number in range(len(found)):
        label = int(found.labels[number])
        distance = (probabilities[:, label - 1] - float(found.scores[number])).abs()
        proposal = int(distance.argmin())
        assert distance[proposal] < 1e-5
        mask = maps.masks.logits[proposal].sigmoid().numpy()
        x0, y0, x1, y1 = maps.masks.windows[proposal].tolist()
        crop, side = found.crops[number], model.mask_size
        rows, columns = crop.bits.shape
        ys = (np.arange(crop.top, crop.top + rows) + 0.5 - y0) / (y1 - y0) * side - 0.5
        xs = (np.arange(crop.left, crop.left + columns) + 0.5 - x0) / (x1 - x0) * side - 0.5
        cells = np.arange(side)
        wy = np.clip(1 - np.abs(np.clip(ys, 0, side - 1)[:, None] - cells), 0, None)
        wx = np.clip(1 - np.abs(np.clip(xs, 0, side - 1)[:, None] - cells), 0, None)
        values = wy @ mask @ wx.T
        sure = np.abs(values - model.recipe.detection.mask_threshold) > 1e-4
        inside = values >= model.recipe.detection.mask_threshold
        box = maps.masks.boxes[proposal]
        own = np.ones((rows, columns), dtype=bool)  # a mask ends with the box of its proposal
        own &= (np.arange(crop.top, crop.top + rows) + 0.5 < float(box[3]) + 1)[:, None]
        assert (crop.bits == (inside & own))[sure].mean() > 0.95


def test_maps_are_not_made_of_features(system):
    model = system("instfcn-rfcn")
    with pytest.raises(TypeError, match=r"maps: InstFCN \+ R-FCN computes them from images; call"):
        model.maps(features_of(model.backbone.channels[1]))
