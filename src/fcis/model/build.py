"""Recipe -> system. The only place that knows them all."""

import timm
import torch

from fcis.core.errors import InputError
from fcis.model.backbone import Backbone
from fcis.model.baselines.instfcn_rfcn import InstFCNRFCN
from fcis.model.baselines.mnc import MNC
from fcis.model.baselines.naive_mnc import NaiveMNC
from fcis.model.baselines.separate import SeparateFCIS
from fcis.model.detector import Detector
from fcis.model.fcis import FCIS
from fcis.model.stem import adapt_stem
from fcis.recipe.types import ModelRecipe

_Rule = tuple[str, object, bool, str]


def build_model(recipe: ModelRecipe, *, seed: int = 0, fetch: bool = False) -> Detector:
    """Return the network of a recipe with initial weights that depend on the seed alone.

    Args:
        recipe: of the model.
        seed: of the initial weights.
        fetch: begin with the pretrained backbone that the recipe names, if it names one.

    Raises:
        InputError: a value of the recipe makes no sense, or the backbone cannot be fetched.
    """
    check_model(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _system(recipe, fetch=fetch)
    if fetch and recipe.backbone.pretrained:
        trained = timm.get_pretrained_cfg(recipe.backbone.pretrained)
        if trained is not None:
            for module in model.modules():
                if isinstance(module, Backbone):
                    adapt_stem(module, recipe.preprocessing, trained.mean, trained.std)
    return model


def _system(recipe: ModelRecipe, *, fetch: bool) -> Detector:
    match recipe.system:
        case "fcis":
            return FCIS(recipe, fetch=fetch)
        case "mnc":
            return MNC(recipe, fetch=fetch)
        case "fcis-separate":
            return SeparateFCIS(recipe, fetch=fetch)
        case "naive-mnc":
            return NaiveMNC(recipe, fetch=fetch)
        case "instfcn-rfcn":
            return InstFCNRFCN(recipe, fetch=fetch)


def check_model(recipe: ModelRecipe) -> None:
    """Check the values that the types of a recipe leave open.

    Raises:
        InputError: naming the field, its value and what it may be.
    """
    rpn, head, detection, prep = recipe.rpn, recipe.head, recipe.detection, recipe.preprocessing
    rules: list[_Rule] = [
        ("class_names", recipe.class_names, bool(recipe.class_names), "at least one category"),
        (
            "category_ids",
            recipe.category_ids,
            len(recipe.category_ids) == len(recipe.class_names),
            "one id a category",
        ),
        ("head.k", head.k, head.k >= 1, "at least 1"),
        ("head.out_size", head.out_size, head.out_size >= head.k, "at least k"),
        ("head.reduction", head.reduction, head.reduction >= 1, "at least 1"),
        ("head.box_stds", head.box_stds, min(head.box_stds) > 0, "above 0"),
        ("rpn.channels", rpn.channels, rpn.channels >= 1, "at least 1"),
        ("rpn.anchor_sizes", rpn.anchor_sizes, _positive(rpn.anchor_sizes), "sizes above 0"),
        ("rpn.anchor_ratios", rpn.anchor_ratios, _positive(rpn.anchor_ratios), "ratios above 0"),
        ("rpn.post_nms", rpn.post_nms, 1 <= rpn.post_nms <= rpn.pre_nms, "1 to pre_nms"),
        ("rpn.nms_area", rpn.nms_area, rpn.nms_area >= 0, "at least 0"),
        ("rpn.nms", rpn.nms, 0 < rpn.nms <= 1, "above 0, at most 1"),
        ("rpn.min_size", rpn.min_size, rpn.min_size >= 0, "at least 0"),
        ("detection.nms", detection.nms, 0 < detection.nms <= 1, "above 0, at most 1"),
        ("detection.merge_iou", detection.merge_iou, 0 < detection.merge_iou <= 1, "0 to 1"),
        (
            "detection.mask_threshold",
            detection.mask_threshold,
            0 < detection.mask_threshold < 1,
            "between 0 and 1",
        ),
        (
            "detection.max_detections",
            detection.max_detections,
            detection.max_detections >= 1,
            "at least 1",
        ),
        (
            "detection.min_score",
            detection.min_score,
            0 <= detection.min_score < 1,
            "at least 0, below 1",
        ),
        ("detection.drop_size", detection.drop_size, detection.drop_size >= 0, "at least 0"),
        ("preprocessing.short_side", prep.short_side, prep.short_side >= 0, "0 or more"),
        ("preprocessing.long_side", prep.long_side, prep.long_side >= 0, "0 or more"),
        (
            "preprocessing.mean",
            prep.mean,
            len(prep.mean) == len(prep.std) == recipe.backbone.in_channels,
            "one value a channel, like std",
        ),
        ("preprocessing.std", prep.std, _positive(prep.std), "above 0"),
        ("preprocessing.zoom", prep.zoom, prep.zoom > 0, "above 0"),
        ("preprocessing.stretch", prep.stretch, _rising(prep.stretch), "two rising percentiles"),
        (
            "preprocessing.high_depth",
            prep.high_depth,
            _rising(prep.high_depth),
            "two rising percentiles",
        ),
        *_system_rules(recipe),
    ]
    for name, value, good, expected in rules:
        if not good:
            raise InputError(f"recipe: {name} is {value!r}, expected {expected}")


def _system_rules(recipe: ModelRecipe) -> list[_Rule]:
    """Return the rules of the systems that are compared with FCIS."""
    naive, own, passes = recipe.naive_mnc, recipe.instfcn, recipe.detection.passes
    low, high = own.window_negative, own.window_positive
    pooled = recipe.system in ("naive-mnc", "mnc")
    sampling = recipe.conventions.sampling
    return [
        (
            "conventions.sampling",
            sampling,
            not pooled or sampling != "native",
            f"pool or align: {recipe.system} has features and masks of one size",
        ),
        (
            "detection.passes",
            passes,
            recipe.system != "instfcn-rfcn" or passes == 1,
            "1: boxes refined from those of instfcn-rfcn's masks have no mask",
        ),
        (
            "backbone.fusion",
            recipe.backbone.fusion,
            recipe.backbone.fusion == "none" or recipe.system == "fcis",
            f"none: {recipe.system} has no score maps on a finer grid",
        ),
        ("naive_mnc.pooled_size", naive.pooled_size, naive.pooled_size >= 1, "at least 1"),
        ("naive_mnc.mask_grid", naive.mask_grid, naive.mask_grid >= 1, "at least 1"),
        *(
            (f"mnc.{name}", value, value >= 1, "at least 1")
            for name, value in (
                ("feature_grid", recipe.mnc.feature_grid),
                ("mask_grid", recipe.mnc.mask_grid),
                ("mask_hidden", recipe.mnc.mask_hidden),
            )
        ),
        ("mnc.delta_bound", recipe.mnc.delta_bound, recipe.mnc.delta_bound >= 0, "at least 0"),
        ("instfcn.window_parts", own.window_parts, own.window_parts >= 1, "at least 1"),
        (
            "instfcn.window_cells",
            own.window_cells,
            own.window_cells >= own.window_parts,
            "at least window_parts",
        ),
        ("instfcn.window_channels", own.window_channels, own.window_channels >= 1, "at least 1"),
        ("instfcn.pyramid", own.pyramid, _positive(own.pyramid), "factors above 0"),
        ("instfcn.window_fill", own.window_fill, 0 < own.window_fill <= 1, "above 0, at most 1"),
        ("instfcn.window_positive", high, 0 < high <= 1, "above 0, at most 1"),
        ("instfcn.window_negative", low, 0 <= low <= high, "0 to window_positive"),
        ("instfcn.windows", own.windows, own.windows >= 2, "at least 2"),
        ("instfcn.candidates", own.candidates, own.candidates >= 1, "at least 1"),
        (
            "instfcn.proposal_nms",
            own.proposal_nms,
            0 < own.proposal_nms <= 1,
            "above 0, at most 1",
        ),
    ]


def _positive(values: tuple[float, ...]) -> bool:
    return bool(values) and min(values) > 0


def _rising(percentiles: tuple[float, float]) -> bool:
    return 0 <= percentiles[0] < percentiles[1] <= 100
