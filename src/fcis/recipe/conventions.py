"""Where paper, release and port differ: the rows, and the three sets of their values.

A row of the reference's section 11, or of its comparison of release and port, is a field of the
record of the stage that it belongs to; two rows belong to two stages. Here they are by name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

from fcis.core.errors import InputError
from fcis.recipe.types import ModelRecipe, Recipe

T = TypeVar("T")
Rows = Mapping[str, object]

MODEL_ROWS = (
    "sampling", "round_rois", "box_slots", "stem_eps", "anchor_rounding", "proposal_grid",
    "proposal_rank", "pad_proposals", "min_size_in_original", "nms_at_equal", "box_clip",
    "box_end", "box_rounding", "mask_category", "assignment", "vote", "store_grid",
    "merge_at_equal", "foreground_at_equal", "stored_at_equal", "resize", "size_rounding",
)  # fmt: skip
"""What the network and its use depend on."""

TRAINING_ROWS = (
    "mask_loss_weight", "negative_low", "fill_negatives", "positive_at_equal", "truth_as_rois",
    "mask_loss_norm", "loss_rois", "rpn_box_norm", "decay_biases",
)  # fmt: skip
"""What training alone depends on."""


def row_paths(record: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and the dotted path of each row in a record, one after the other."""
    for field in fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from row_paths(value, f"{prefix}{field.name}.")
        elif field.name in MODEL_ROWS or field.name in TRAINING_ROWS:
            yield field.name, prefix + field.name


def conventions_of(record: object) -> dict[str, object]:
    """Return the rows of a recipe, or of a part of one, with their values."""
    found = {}
    for name, path in row_paths(record):
        value = record
        for part in path.split("."):
            value = getattr(value, part)
        found[name] = value
    return found


def with_conventions(record: T, rows: Rows) -> T:
    """Return a recipe, or a part of one, with the values of some rows; others stay."""
    changes: dict[str, object] = {}
    for field in fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            changes[field.name] = with_conventions(value, rows)
        elif field.name in rows:
            changes[field.name] = rows[field.name]
    return replace(record, **changes)  # type: ignore[type-var]


# the defaults of all records
RELEASE: Rows = conventions_of(Recipe(name="", model=ModelRecipe()))

# What the text does not say is as in the release
PAPER: Rows = {
    **RELEASE,
    "sampling": "native",
    "box_slots": 1,
    "mask_category": "voted",
    "assignment": "best-category",
    "vote": "probability",
    "store_grid": False,
    "merge_at_equal": False,
    "mask_loss_weight": 1.0,
    "fill_negatives": False,
    "positive_at_equal": False,
    "truth_as_rois": False,
}

CHAINERCV: Rows = {
    **RELEASE,
    "round_rois": False,
    "stem_eps": 2e-5,
    "anchor_rounding": False,
    "proposal_grid": "full",
    "proposal_rank": "logit",
    "pad_proposals": False,
    "min_size_in_original": True,
    "nms_at_equal": True,
    "box_clip": "edge",
    "box_end": "edge",
    "box_rounding": "edge",
    "mask_category": "best-any",
    "stored_at_equal": False,
    "resize": "float",
    "size_rounding": "down",
    "fill_negatives": False,
    "loss_rois": "actual",
    "rpn_box_norm": "labelled",
    "decay_biases": True,
}

CONVENTIONS: dict[str, Rows] = {"release": RELEASE, "chainercv": CHAINERCV, "paper": PAPER}


def named_conventions(name: str) -> Rows:
    """Return one of the three sets of conventions.

    Raises:
        InputError: there is none of that name; lists those there are.
    """
    if name not in CONVENTIONS:
        raise InputError(f"--conventions {name}: no such set; there are {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
