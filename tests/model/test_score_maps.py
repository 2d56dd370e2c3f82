"""The head's channels: the release's order in the weights, the assembly's order in the maps."""

import math

import pytest
import torch
from torch.nn import functional

from fcis.model.score_maps import ScoreMapHead
from fcis.recipe.types import HeadRecipe
from fcis.structures import Features


def features(c5, stride=16):
    n, _, h, w = c5.shape
    return Features(c4=c5, c5=c5, cells=torch.tensor([h, w]).repeat(n, 1), stride=stride)


def head_of(num_classes=3, *, k=7, box_slots=2, channels=5, reduction=6):
    recipe = HeadRecipe(reduction=reduction, k=k)
    return ScoreMapHead(channels, num_classes, recipe=recipe, box_slots=box_slots)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("num_classes", [1, 3, 80])
@pytest.mark.parametrize("box_slots", [1, 2])
def test_channel_c_is_constant_c(k, num_classes, box_slots):
    head = head_of(num_classes, k=k, box_slots=box_slots)
    with torch.no_grad():
        for layer in (head.classes, head.boxes):
            layer.weight.zero_()
            layer.bias.copy_(torch.arange(len(layer.bias)))
        maps = head(features(torch.randn(2, 5, 3, 4)))
    cells = k * k
    assert maps.classes.shape == (2, 3, 4, cells, 2, num_classes + 1)
    assert maps.boxes.shape == (2, 3, 4, cells, 4)
    cell = torch.arange(cells)[:, None, None]
    side = torch.arange(2)[None, :, None]
    label = torch.arange(num_classes + 1)[None, None, :]
    assert (maps.classes == (label * 2 + side) * cells + cell).all()
    # the last slot: of two, the first is the release's unused one for background
    slot, j = box_slots - 1, torch.arange(4)[None, :]
    assert (maps.boxes == (slot * 4 + j) * cells + cell[:, :, 0]).all()


def test_weights_and_biases_go_together():
    torch.manual_seed(0)
    head = head_of(2, k=3)
    for layer in (head.reduction, head.classes, head.boxes):
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    c5 = torch.randn(2, 5, 4, 6)
    maps = head(features(c5))
    reduced = head.reduction(c5).relu()
    classes = head.classes(reduced).reshape(2, 3, 2, 9, 4, 6)  # image, class, side, cell, h, w
    torch.testing.assert_close(maps.classes, classes.permute(0, 4, 5, 3, 2, 1))
    boxes = functional.conv2d(reduced, head.boxes.weight, head.boxes.bias)
    boxes = boxes.reshape(2, 2, 4, 9, 4, 6)[:, 1]  # image, slot, j, cell, h, w
    torch.testing.assert_close(maps.boxes, boxes.permute(0, 3, 4, 2, 1))


def test_maps_are_channels_last_in_memory():
    maps = head_of(2, k=3)(features(torch.randn(1, 5, 4, 6)))
    assert maps.classes.is_contiguous()
    assert maps.boxes.is_contiguous()


def test_gradient_reaches_every_used_weight():
    head = head_of(2, k=3)
    maps = head(features(torch.randn(1, 5, 4, 6)))
    (maps.classes.square().sum() + maps.boxes.square().sum()).backward()
    assert head.reduction.weight.grad.abs().sum() > 0
    assert (head.classes.weight.grad.flatten(1).abs().sum(dim=1) > 0).all()
    by_slot = head.boxes.weight.grad.reshape(2, -1).abs()
    # nothing reads the background's slot, and nothing trains it
    assert by_slot[0].sum() == 0
    assert by_slot[1].sum() > 0


def test_shapes_of_the_release():
    head = ScoreMapHead(2048, 80, recipe=HeadRecipe(), box_slots=2).to("meta")
    shapes = [tuple(layer.weight.shape) for layer in (head.reduction, head.classes, head.boxes)]
    assert shapes == [(1024, 2048, 1, 1), (7938, 1024, 1, 1), (392, 1024, 1, 1)]
    paper = ScoreMapHead(2048, 20, recipe=HeadRecipe(), box_slots=1).to("meta")
    assert paper.boxes.weight.shape[0] == 196
    assert paper.classes.weight.shape[0] == 2058


def test_first_weights():
    torch.manual_seed(1)
    head = head_of(20, channels=64, reduction=64)
    for layer in (head.reduction, head.classes, head.boxes):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert not layer.bias.any()


def test_first_weights_from_scratch():
    """The reduction keeps the mean square of its input; scores deviate by a half."""
    torch.manual_seed(1)
    recipe = HeadRecipe(reduction=512, k=3, init="he")
    head = ScoreMapHead(128, 20, recipe=recipe, box_slots=1)
    given = features(torch.randn(2, 128, 12, 12).relu() * math.sqrt(2))
    reduced = functional.conv2d(given.c5, head.reduction.weight).relu()
    assert reduced.square().mean().item() == pytest.approx(1.0, rel=0.15)
    assert head(given).classes.std().item() == pytest.approx(0.5, rel=0.15)
    assert head.boxes.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not any(layer.bias.any() for layer in (head.reduction, head.classes, head.boxes))


def test_grid_goes_on():
    given = features(torch.randn(2, 5, 3, 4), stride=8)
    maps = head_of()(given)
    assert torch.equal(maps.cells, given.cells)
    assert maps.stride == 8
    empty = head_of()(features(torch.zeros(0, 5, 3, 4)))
    assert empty.classes.shape == (0, 3, 4, 49, 2, 4)
