"""R-FCN's reading of maps against loops, and against the operator of FCIS."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional

from fcis.model.baselines.rfcn import (
    RFCNHead,
    initialise,
    position_means,
    score_rois,
    sensitive_maps,
)
from fcis.ops import definition
from fcis.ops.assembly import mean_deltas
from fcis.ops.roi_sampling import AssemblyRule, RoIs
from fcis.recipe.types import HeadRecipe

from .conftest import features_of, recipe_of

RULES = [
    AssemblyRule(stride=8, sampling="pool"),
    AssemblyRule(stride=8, sampling="pool", round_boxes=False, out_size=7),
    AssemblyRule(stride=8, sampling="align", out_size=7),
    AssemblyRule(stride=8, sampling="native"),
]
all_rules = pytest.mark.parametrize("rule", RULES, ids=["pool", "port", "align", "native"])
BOXES = [[0, 0, 40, 40], [3.2, 9, 31, 20.5], [-9, -7, 90, 90], [50, 3, 52, 4], [20, 20, 20, 20]]


def rois_of(index=(0, 1, 1, 0, 1)):
    return RoIs(
        boxes=torch.tensor(BOXES, dtype=torch.float32)[: len(index)],
        image_index=torch.tensor(index, dtype=torch.int64),
        cells=torch.tensor([[5, 7], [6, 4]]),
    )


def maps_of(k, outputs, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    return torch.randn((2, 6, 7, k * k, outputs), generator=generator, dtype=dtype)


@all_rules
@pytest.mark.parametrize("k", [1, 3])
def test_means_are_those_of_the_definition(rule, k):
    maps, rois = maps_of(k, 5), rois_of()
    expected = [
        definition.assemble(maps[int(i)], box, rois.cells[int(i)], rule).mean(dim=(0, 1))
        for box, i in zip(rois.boxes, rois.image_index, strict=True)
    ]
    torch.testing.assert_close(position_means(maps, rois, rule), torch.stack(expected))


@all_rules
def test_means_of_four_outputs_are_those_of_boxes(rule):
    maps, rois = maps_of(3, 4), rois_of()
    torch.testing.assert_close(position_means(maps, rois, rule), mean_deltas(maps, rois, rule))


@all_rules
def test_gradients_of_means(rule):
    maps = maps_of(2, 1, torch.float64).requires_grad_()
    assert gradcheck(lambda m: position_means(m, rois_of(), rule), (maps,), fast_mode=True)


def test_cells_of_other_images_are_not_read():
    maps, rois = maps_of(3, 2), rois_of()
    other = maps.clone()
    other[0, 5:], other[1, :, 4:] = math.nan, 1e9
    for rule in RULES[1:]:
        one = position_means(maps, rois, rule)
        two = position_means(other.nan_to_num(nan=-1e9), rois, rule)
        torch.testing.assert_close(one, two)


def test_without_rois():
    maps = maps_of(3, 5).requires_grad_()
    means = position_means(maps, rois_of(index=()), RULES[0])
    assert means.shape == (0, 5)
    means.sum().backward()
    assert maps.grad is not None and not maps.grad.any()


def test_half_precision_is_summed_in_full():
    maps, rois = maps_of(3, 2).bfloat16(), rois_of()
    found = position_means(maps, rois, RULES[0])
    assert found.dtype == torch.bfloat16
    expected = position_means(maps.float(), rois, RULES[0])
    torch.testing.assert_close(found, expected.bfloat16())


def test_maps_have_a_set_for_each_part_of_a_roi():
    """Channels are (output, row, column), as those of FCIS are."""
    layer = torch.nn.Conv2d(4, 5 * 9, 1)
    features = features_of(4).c5
    plain = functional.conv2d(features, layer.weight, layer.bias)
    found = sensitive_maps(features.permute(0, 2, 3, 1), layer, 9)
    torch.testing.assert_close(found, plain.unflatten(1, (5, 9)).permute(0, 3, 4, 2, 1))


@pytest.mark.parametrize("slots", [1, 2])
def test_the_head(slots):
    features = features_of(6)
    head = RFCNHead(6, 4, recipe=HeadRecipe(reduction=8, k=3, init="he"), box_slots=slots)
    assert head.classes.weight.shape == (45, 8, 1, 1)
    assert head.boxes.weight.shape == (36 * slots, 8, 1, 1)
    maps, reduced = head(features)
    assert maps.classes.shape == (2, 6, 7, 9, 5) and maps.boxes.shape == (2, 6, 7, 9, 4)
    expected = functional.relu(head.reduction(features.c5))
    torch.testing.assert_close(reduced, expected.permute(0, 2, 3, 1))
    boxes = head.boxes(expected)[:, -36:].unflatten(1, (4, 9)).permute(0, 3, 4, 2, 1)
    torch.testing.assert_close(maps.boxes, boxes)  # the last slot


def test_scores_of_rois():
    recipe = recipe_of("fcis-separate")
    maps, _ = RFCNHead(6, 3, recipe=recipe.head, box_slots=1)(features_of(6))
    rois = rois_of()
    scores = score_rois(maps, rois.boxes, rois.image_index, recipe)
    assert scores.class_logits.shape == (5, 4)
    rule = AssemblyRule(stride=8, sampling="align", out_size=recipe.head.out_size)
    expected = mean_deltas(maps.boxes, rois, rule) * torch.tensor(recipe.head.box_stds)
    torch.testing.assert_close(scores.box_deltas, expected)


def test_first_weights():
    small, he = HeadRecipe(init="small"), HeadRecipe(init="he")
    torch.manual_seed(0)
    layer = torch.nn.Linear(400, 300)
    for recipe, hidden, std in (
        (small, True, 0.01),
        (small, False, 0.01),
        (he, None, 0.01),
        (he, True, math.sqrt(2 / 400)),
        (he, False, 0.5 / math.sqrt(400)),
    ):
        initialise(layer, recipe, hidden=hidden)
        assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
        assert not layer.bias.any()
