"""Naive MNC: what its layers read and put out."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from fcis.model.baselines.pooling import pool_rois
from fcis.model.build import build_model
from fcis.recipe.named import named_recipe
from fcis.structures import INSIDE, OUTSIDE

from .conftest import features_of

BOXES = torch.tensor([[2.0, 3, 40, 35], [0, 0, 30, 44], [9, 9, 20, 50]])
INDEX = torch.tensor([0, 1, 1])


def test_the_papers_layers():
    """Paper 4.1: a 784-way layer for a 28 x 28 mask, a 21-way one for classes."""
    model = named_recipe("naive-mnc").model
    names = tuple(f"c{i}" for i in range(20))
    with torch.device("meta"):
        network = build_model(replace(model, class_names=names, category_ids=tuple(range(20))))
    inputs = 14 * 14 * 1024
    assert network.head.masks.weight.shape == (784, inputs)
    assert network.head.classes.weight.shape == (21, inputs)
    assert network.head.boxes.weight.shape == (4, inputs)
    assert network.mask_size == 28


@pytest.mark.parametrize("sampling", ["align", "pool"])
def test_scores_and_masks_are_single_layers_on_pooled_features(system, sampling):
    model = system("naive-mnc")
    model = system("naive-mnc", head=replace(model.recipe.head, sampling=sampling))
    features = features_of(model.backbone.channels[1])
    maps = model.maps(features)
    reduced = functional.relu(model.head.reduction(features.c5))
    pooled = pool_rois(
        reduced, features.cells, BOXES, INDEX, size=7, stride=8, sampling=sampling
    ).flatten(1)
    scores = model.score_rois(maps, BOXES, INDEX)
    head = model.head
    torch.testing.assert_close(
        scores.class_logits, pooled @ head.classes.weight.T + head.classes.bias
    )
    deltas = (pooled @ head.boxes.weight.T + head.boxes.bias) * torch.tensor(
        model.recipe.head.box_stds
    )
    torch.testing.assert_close(scores.box_deltas, deltas)
    masks = model.mask_rois(maps, BOXES, INDEX, torch.tensor([1, 2, 3]))
    assert masks.shapes.tolist() == [[28, 28]] * 3
    assert torch.equal(masks.extents, BOXES)
    values = masks.values.unflatten(0, (3, 784))
    assert not values[..., OUTSIDE].any()
    torch.testing.assert_close(values[..., INSIDE], pooled @ head.masks.weight.T + head.masks.bias)
    others = model.mask_rois(maps, BOXES, INDEX, torch.tensor([3, 3, 1]))
    assert torch.equal(others.values, masks.values)  # masks know no category


def test_without_rois(system):
    model = system("naive-mnc")
    maps = model.maps(features_of(model.backbone.channels[1]))
    scores = model.score_rois(maps, BOXES[:0], INDEX[:0])
    masks = model.mask_rois(maps, BOXES[:0], INDEX[:0], INDEX[:0])
    assert scores.class_logits.shape == (0, 4) and scores.box_deltas.shape == (0, 4)
    assert masks.values.shape == (0, 2) and masks.shapes.shape == (0, 2)
