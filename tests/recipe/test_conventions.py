"""The three sets of conventions, and each convention by itself."""

from dataclasses import fields, replace
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from fcis.core.errors import InputError
from fcis.recipe.conventions import (
    CHAINERCV,
    CONVENTIONS,
    PAPER,
    RELEASE,
    Conventions,
    named_conventions,
)
from fcis.recipe.named import SCRATCH

from .convention_cases import CASES

# The three sets


# field: release, chainercv, paper; from the reference's section 11, its summary of release
# against ChainerCV, and the sections that they sum up
TABLE = {
    "sampling": ("pool", "pool", "native"),  # row 1
    "round_rois": (True, False, True),  # 4.3
    "box_slots": (2, 2, 1),  # row 2; 4.2
    "stem_eps": (1e-5, 2e-5, 1e-5),  # 2.2
    "anchor_rounding": (True, False, True),  # 3.3
    "proposal_grid": ("whole-cells", "full", "whole-cells"),  # 3.6
    "proposal_rank": ("probability", "logit", "probability"),  # 3.6
    "pad_proposals": (True, False, True),  # 3.6
    "min_size_in_original": (False, True, False),  # row 15; 3.6
    "nms_at_equal": (False, True, False),  # 3.6, 5.4
    "box_clip": ("last-pixel", "edge", "last-pixel"),  # 1.1
    "box_end": ("last-pixel", "edge", "last-pixel"),  # 1.1, 5.4
    "box_rounding": ("last-pixel", "edge", "last-pixel"),  # 5.2, 5.4
    "mask_category": ("best-foreground", "best-any", "voted"),  # row 4; 4.4
    "assignment": ("each-category", "each-category", "best-category"),  # row 5
    "vote": ("binary", "binary", "probability"),  # row 6
    "store_grid": (True, True, False),  # row 6
    "merge_at_equal": (True, True, False),  # row 7
    "foreground_at_equal": (True, True, True),  # 5.2
    "stored_at_equal": (True, False, True),  # 5.3, 5.4
    "resize": ("levels", "float", "levels"),  # 1
    "size_rounding": ("nearest", "down", "nearest"),  # 1
    "mask_loss_weight": (10.0, 10.0, 1.0),  # row 3
    "negative_low": (0.0, 0.0, 0.0),  # row 8; 0.1 belongs to the VOC recipe
    "fill_negatives": (True, False, False),  # row 8; 6.2
    "positive_at_equal": (True, True, False),  # row 9
    "truth_as_rois": (True, True, False),  # row 10
    "mask_loss_norm": ("rois", "rois", "rois"),  # rows 3 and 22
    "loss_rois": ("planned", "actual", "planned"),  # 6.4
    "rpn_box_norm": ("planned", "labelled", "planned"),  # 3.5
    "decay_biases": (False, True, False),  # 6.6
}
FIELDS = [f.name for f in fields(Conventions)]


def test_the_three_sets_are_those_of_the_reference():
    assert list(TABLE) == FIELDS
    for column, name in enumerate(("release", "chainercv", "paper")):
        conventions = named_conventions(name)
        assert {f: getattr(conventions, f) for f in FIELDS} == {
            f: values[column] for f, values in TABLE.items()
        }


def test_names():
    assert CONVENTIONS == {"release": RELEASE, "chainercv": CHAINERCV, "paper": PAPER}
    message = "--conventions caffe: no such set; there are release, chainercv, paper$"
    with pytest.raises(InputError, match=message):
        named_conventions("caffe")


def test_training_from_scratch_has_changed_nothing_else():
    """Weights in use were trained so: what is not said here is as in the release."""
    changed = {f: getattr(SCRATCH, f) for f in FIELDS if getattr(SCRATCH, f) != TABLE[f][0]}
    assert changed == {
        "sampling": "align",
        "box_slots": 1,
        "anchor_rounding": False,
        "proposal_grid": "full",
        "pad_proposals": False,
        "box_end": "edge",
        "vote": "probability",
        "store_grid": False,
        "resize": "float",
    }


# Each by itself


def test_every_field_has_a_case():
    assert list(CASES) == FIELDS


@pytest.mark.parametrize("name", FIELDS)
def test_values_differ_where_they_should_and_nowhere_else(name):
    case, hint = CASES[name], get_type_hints(Conventions)[name]
    if get_origin(hint) is Literal:
        assert set(case.expected) == set(get_args(hint))
    elif hint is bool:
        assert set(case.expected) == {True, False}
    else:
        assert len(case.expected) > 1
    outcomes = list(case.expected.values())
    assert all(a != b for i, a in enumerate(outcomes) for b in outcomes[:i])
    base = replace(RELEASE, **(case.context or {}))
    for value, expected in case.expected.items():
        conventions = replace(base, **{name: value})
        assert case.apart(conventions) == expected, value
        assert case.same(conventions) == case.common, value
