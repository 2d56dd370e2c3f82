"""Recipe -> system. The only place that knows them all."""

import timm
import torch

from fcis.errors import InputError
from fcis.model.fcis import FCIS
from fcis.model.stem import adapt_stem
from fcis.recipe import ModelRecipe


def build_model(recipe: ModelRecipe, *, seed: int = 0, fetch: bool = False) -> FCIS:
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
        model = FCIS(recipe, fetch=fetch)
    if fetch and recipe.backbone.pretrained:
        trained = timm.get_pretrained_cfg(recipe.backbone.pretrained)
        if trained is not None:
            adapt_stem(model.backbone, recipe.preprocessing, trained.mean, trained.std)
    return model


def check_model(recipe: ModelRecipe) -> None:
    """Check the values that the types of a recipe leave open.

    Raises:
        InputError: naming the field, its value and what it may be.
    """
    rpn, head, detection, prep = recipe.rpn, recipe.head, recipe.detection, recipe.preprocessing
    rules: list[tuple[str, object, bool, str]] = [
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
    ]
    for name, value, good, expected in rules:
        if not good:
            raise InputError(f"recipe: {name} is {value!r}, expected {expected}")


def _positive(values: tuple[float, ...]) -> bool:
    return bool(values) and min(values) > 0


def _rising(percentiles: tuple[float, float]) -> bool:
    return 0 <= percentiles[0] < percentiles[1] <= 100
