"""Building a network from a recipe, and the rules a recipe keeps."""

from dataclasses import replace

import pytest
import torch

from fcis.core.errors import InputError
from fcis.model.baselines.instfcn_rfcn import InstFCNRFCN
from fcis.model.baselines.naive_mnc import NaiveMNC
from fcis.model.baselines.separate import SeparateFCIS
from fcis.model.build import build_model, check_model
from fcis.model.fcis import FCIS
from fcis.recipe.as_json import from_json, to_json
from fcis.recipe.named import RECIPES, named_recipe
from fcis.recipe.types import BackboneRecipe, HeadRecipe, ModelRecipe


def tiny_model():
    return replace(named_recipe("tiny").model, class_names=("a", "b"), category_ids=(7, 9))


@pytest.mark.parametrize(
    ("system", "kind"),
    [
        ("fcis", FCIS),
        ("fcis-separate", SeparateFCIS),
        ("naive-mnc", NaiveMNC),
        ("instfcn-rfcn", InstFCNRFCN),
    ],
)
def test_systems(system, kind):
    recipe = tiny_model()
    recipe = replace(recipe, system=system, detection=replace(recipe.detection, passes=1))
    assert type(build_model(recipe)) is kind


def test_recipes_from_before_there_were_systems_are_of_fcis():
    data = to_json(tiny_model())
    assert isinstance(data, dict)
    for name in ("system", "naive_mnc", "mnc", "instfcn"):
        del data[name]
    assert from_json(ModelRecipe, data, "model") == tiny_model()


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    one = build_model(tiny_model(), seed=5).state_dict()
    state = torch.get_rng_state()
    torch.manual_seed(2)
    two = build_model(tiny_model(), seed=5).state_dict()
    other = build_model(tiny_model(), seed=6).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.classes.weight"], other["head.classes.weight"])
    # and building leaves the stream of everybody else alone
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_are_valid(name):
    model = named_recipe(name).model
    check_model(replace(model, class_names=("a",), category_ids=(1,)))


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("", {"class_names": ()}, r"class_names: is \(\), expected at least one category"),
        ("", {"category_ids": (1,)}, r"category_ids: is \(1,\), expected one id a category"),
        ("head", {"k": 0}, "head.k: is 0, expected 1 to 64"),
        ("head", {"k": 5, "out_size": 4}, "head.out_size: is 4, expected at least k"),
        ("head", {"reduction": 0}, "head.reduction: is 0, expected 1 to 65,536"),
        ("head", {"box_stds": (1.0, 1.0, 0.0, 1.0)}, r"head.box_stds\[2\]: is 0.0, .* above 0, .*"),
        ("rpn", {"channels": 0}, "rpn.channels: is 0, expected 1 to 65,536"),
        ("rpn", {"anchor_sizes": ()}, r"rpn.anchor_sizes: is \(\), expected 1 to 100 values"),
        ("rpn", {"anchor_sizes": (8.0, -1.0)}, r"rpn.anchor_sizes\[1\]: is -1.0, .* above 0, .*"),
        ("rpn", {"anchor_ratios": (0.0,)}, r"rpn.anchor_ratios\[0\]: is 0.0, .* above 0, .*"),
        ("rpn", {"post_nms": 0}, "rpn.post_nms: is 0, expected 1 to 1,000,000"),
        ("rpn", {"pre_nms": 10, "post_nms": 11}, "rpn.post_nms: is 11, expected at most pre_nms"),
        ("rpn", {"nms_area": -1.0}, "rpn.nms_area: is -1.0, expected 0 to 1,000,000,000,000"),
        ("rpn", {"nms": 0.0}, "rpn.nms: is 0.0, expected above 0, at most 1"),
        ("rpn", {"min_size": -1.0}, "rpn.min_size: is -1.0, expected 0 to 1,000,000"),
        ("detection", {"nms": 1.5}, "detection.nms: is 1.5, expected above 0, at most 1"),
        ("detection", {"merge_iou": 0.0}, "detection.merge_iou: is 0.0, .* above 0, at most 1"),
        ("detection", {"mask_threshold": 1.0}, "detection.mask_threshold: is 1.0, .*0, below 1"),
        ("detection", {"max_detections": 0}, "detection.max_detections: is 0, .* 1 to 1,000,000"),
        ("detection", {"min_score": 1.0}, "detection.min_score: is 1.0, .* at least 0, below 1"),
        ("detection", {"drop_size": -2.0}, "detection.drop_size: is -2.0, .* 0 to 1,000,000"),
        ("preprocessing", {"short_side": -1}, "preprocessing.short_side: is -1, .* 0 to 16,384"),
        ("preprocessing", {"long_side": -1}, "preprocessing.long_side: is -1, .* 0 to 65,536"),
        ("preprocessing", {"mean": (1.0,)}, "preprocessing.mean: is .* one value a channel .*"),
        ("preprocessing", {"std": (1.0,)}, "preprocessing.mean: is .* one value a channel .*"),
        (
            "preprocessing",
            {"std": (1.0, 0.0, 1.0)},
            r"preprocessing.std\[1\]: is 0.0, .* above 0.*",
        ),
        ("preprocessing", {"zoom": 0.0}, "preprocessing.zoom: is 0.0, .* above 0, at most 32"),
        ("preprocessing", {"stretch": (9.0, 9.0)}, "preprocessing.stretch: is .* rising values"),
        (
            "preprocessing",
            {"high_depth": (0.0, 101.0)},
            r"preprocessing.high_depth\[1\]: .* 0 to 100",
        ),
        ("backbone", {"in_channels": 4}, "preprocessing.mean: is .* one value a channel .*"),
        ("naive_mnc", {"pooled_size": 0}, "naive_mnc.pooled_size: is 0, expected 1 to 256"),
        ("naive_mnc", {"mask_grid": 0}, "naive_mnc.mask_grid: is 0, expected 1 to 256"),
        ("instfcn", {"window_parts": 0}, "instfcn.window_parts: is 0, expected 1 to 64"),
        ("instfcn", {"window_cells": 6}, "instfcn.window_cells: is 6, .* at least window_parts"),
        ("instfcn", {"window_channels": 0}, "instfcn.window_channels: is 0, .* 1 to 65,536"),
        ("instfcn", {"pyramid": (0.0, 1.0)}, r"instfcn.pyramid\[0\]: is 0.0, .* above 0, .*"),
        ("instfcn", {"pyramid": (1.0, 0.5)}, "instfcn.pyramid: is .* rising values"),
        ("instfcn", {"window_fill": 1.2}, "instfcn.window_fill: is 1.2, .* at most 1"),
        ("instfcn", {"window_positive": 0.0}, "instfcn.window_positive: is 0.0, .* above 0, .*"),
        (
            "instfcn",
            {"window_negative": 0.6},
            "instfcn.window_negative: .* at most window_positive",
        ),
        ("instfcn", {"windows": 1}, "instfcn.windows: is 1, expected 2 to 1,000,000"),
        ("instfcn", {"candidates": 0}, "instfcn.candidates: is 0, expected 1 to 1,000,000"),
        ("instfcn", {"proposal_nms": 0.0}, "instfcn.proposal_nms: is 0.0, .* above 0, at most 1"),
        (
            "",
            {"system": "naive-mnc", "head": HeadRecipe(sampling="native")},
            "head.sampling: is 'native', expected pool or align: naive-mnc has .* one size",
        ),
        (
            "",
            {"system": "mnc", "backbone": BackboneRecipe(fusion="c2")},
            "backbone.fusion: is 'c2', expected none: mnc has no score maps on a finer grid",
        ),
        ("", {"system": "instfcn-rfcn"}, "detection.passes: is 2, expected 1: boxes refined .*"),
    ],
)
def test_rules(part, changes, message):
    recipe = tiny_model()
    if part:
        changes = {part: replace(getattr(recipe, part), **changes)}
    with pytest.raises(InputError, match=rf"^model\.{message}$"):
        build_model(replace(recipe, **changes))
    check_model(recipe)
