"""Recipes of earlier versions -> this one, step by step, and where settings have moved to.

The JSON of a recipe, and that of a model alone, has a `version`; without one it is 1. A version
that can no longer be read as it stands adds a step here, with its number and a test.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fcis.core.errors import InputError

VERSION = 2

_CONVENTIONS = {
    "sampling": ("model.head",),
    "round_rois": ("model.head",),
    "box_slots": ("model.head",),
    "stem_eps": ("model.backbone",),
    "anchor_rounding": ("model.rpn",),
    "proposal_grid": ("model.rpn",),
    "proposal_rank": ("model.rpn",),
    "pad_proposals": ("model.rpn",),
    "min_size_in_original": ("model.rpn",),
    "nms_at_equal": ("model.rpn", "model.detection"),
    "box_clip": ("model.rpn", "model.detection"),
    "box_end": ("model.detection",),
    "box_rounding": ("model.detection",),
    "mask_category": ("model.detection",),
    "assignment": ("model.detection",),
    "vote": ("model.detection",),
    "store_grid": ("model.detection",),
    "merge_at_equal": ("model.detection",),
    "foreground_at_equal": ("model.detection",),
    "stored_at_equal": ("model.detection",),
    "resize": ("model.preprocessing",),
    "size_rounding": ("model.preprocessing",),
    "mask_loss_weight": ("training.losses",),
    "mask_loss_norm": ("training.losses",),
    "loss_rois": ("training.losses",),
    "rpn_box_norm": ("training.losses",),
    "negative_low": ("training.targets",),
    "fill_negatives": ("training.targets",),
    "positive_at_equal": ("training.targets",),
    "truth_as_rois": ("training.targets",),
    "decay_biases": ("training.optimiser",),
}

MOVED = {
    f"model.conventions.{name}": tuple(f"{record}.{name}" for record in records)
    for name, records in _CONVENTIONS.items()
}
"""Paths that `--set` took once, and those that have their place."""


def migrate(data: Mapping[str, Any], where: str, *, of_model: bool = False) -> dict[str, Any]:
    """Return the JSON of a recipe as this version writes it, without its version.

    Args:
        data: as a file has it; not changed.
        where: what error messages begin with.
        of_model: it is that of a model alone; what belongs to training is left out.

    Raises:
        InputError: the version is not a number, or a later one.
    """
    data = dict(data)
    version = data.pop("version", 1)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise InputError(
            f"{where.removesuffix(': ')}: version {version!r} is not known; update fcis"
        )
    whole = {"model": data} if of_model else data
    for step in _STEPS[version - 1 :]:
        whole = step(whole)
    return whole["model"] if of_model else whole


def _conventions_to_stages(whole: dict[str, Any]) -> dict[str, Any]:
    """Give each stage's record its rows of the conventions (version 1 to 2)."""
    model = whole.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("conventions"), dict):
        return whole
    result = {**whole, "model": {k: v for k, v in model.items() if k != "conventions"}}
    for name, value in model["conventions"].items():
        for path in _CONVENTIONS.get(name, (f"model.{name}",)):
            _put(result, [*path.split("."), name], value)
    return result


def _put(data: dict[str, Any], path: list[str], value: object) -> None:
    """Set a value, in copies of the objects on the way; nothing where one is no object."""
    for part in path[:-1]:
        inner = data.get(part, {})
        if not isinstance(inner, Mapping):
            return
        data[part] = dict(inner)
        data = data[part]
    data[path[-1]] = value


_STEPS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (_conventions_to_stages,)
