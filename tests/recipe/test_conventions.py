"""The three sets of conventions, and each convention by itself."""

from operator import attrgetter
from typing import Literal, get_args, get_origin

import pytest
from tests.presets import preset

from fcis.core.errors import InputError
from fcis.recipe.bounds import hints_of, split_hint
from fcis.recipe.conventions import (
    CHAINERCV,
    CONVENTIONS,
    MODEL_ROWS,
    PAPER,
    RELEASE,
    TRAINING_ROWS,
    conventions_of,
    named_conventions,
    row_paths,
    with_conventions,
)
from fcis.recipe.named import SCRATCH, named_recipe
from fcis.recipe.types import DetectionRecipe, LossRecipe, ModelRecipe, Recipe, TrainingRecipe

from .convention_cases import CASES

# The three sets


# row: release, chainercv, paper; from the reference's section 11, its summary of release
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
ROWS = list(MODEL_ROWS + TRAINING_ROWS)


def test_the_three_sets_are_those_of_the_reference():
    assert list(TABLE) == ROWS
    for column, name in enumerate(("release", "chainercv", "paper")):
        assert named_conventions(name) == {row: values[column] for row, values in TABLE.items()}


def test_names():
    assert CONVENTIONS == {"release": RELEASE, "chainercv": CHAINERCV, "paper": PAPER}
    message = "--conventions caffe: no such set; there are release, chainercv, paper$"
    with pytest.raises(InputError, match=message):
        named_conventions("caffe")


def test_training_from_scratch_has_changed_nothing_else():
    """Weights in use were trained so: what is not said here is as in the release."""
    assert list(SCRATCH) == list(RELEASE)
    changed = {row: SCRATCH[row] for row in ROWS if SCRATCH[row] != TABLE[row][0]}
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


# In records


def places(name):
    """The paths of a row in a recipe."""
    return [path for row, path in row_paths(Recipe(name="")) if row == name]


def test_every_row_has_its_place():
    assert {row for row, _ in row_paths(ModelRecipe())} == set(MODEL_ROWS)
    assert {row for row, _ in row_paths(TrainingRecipe())} == set(TRAINING_ROWS)
    assert {row: places(row) for row in ROWS if len(places(row)) != 1} == {
        "nms_at_equal": ["model.rpn.nms_at_equal", "model.detection.nms_at_equal"],
        "box_clip": ["model.rpn.box_clip", "model.detection.box_clip"],
    }


@pytest.mark.parametrize("rows", [RELEASE, CHAINERCV, PAPER], ids=list(CONVENTIONS))
def test_rows_of_a_record(rows):
    tiny = named_recipe("tiny")
    changed = with_conventions(tiny, rows)
    assert conventions_of(changed) == rows
    for name in ROWS:
        assert {attrgetter(path)(changed) for path in places(name)} == {rows[name]}
    # and nothing else has changed
    assert with_conventions(changed, conventions_of(tiny)) == tiny
    model, training = conventions_of(changed.model), conventions_of(changed.training)
    assert (model.keys(), training.keys()) == (set(MODEL_ROWS), set(TRAINING_ROWS))
    assert {**model, **training} == rows


@pytest.mark.parametrize("name", CONVENTIONS)
def test_by_settings_it_is_the_same(name):
    """So what other tests make of the rows holds for what users set, and for named recipes."""
    recipe, release = preset(name), named_recipe("coco-resnet101")
    assert recipe == with_conventions(release, CONVENTIONS[name])
    parts = (recipe.model.rpn, recipe.model.head, recipe.model.detection, recipe.training.losses)
    for part in parts:
        assert part == with_conventions(type(part)(), CONVENTIONS[name])
    if name != "chainercv":  # which `fcis convert` chooses, no recipe
        named = named_recipe({"release": "coco-resnet101", "paper": "coco-resnet101-paper"}[name])
        assert (named.model, conventions_of(named)) == (recipe.model, conventions_of(recipe))


def test_a_record_takes_its_own_rows_alone():
    rows = {"vote": "probability", "mask_loss_weight": 3.0}
    assert with_conventions(DetectionRecipe(nms=0.4), rows) == DetectionRecipe(
        nms=0.4, vote="probability"
    )
    assert with_conventions(LossRecipe(), rows) == LossRecipe(mask_loss_weight=3.0)
    assert conventions_of(LossRecipe()) == {
        "mask_loss_weight": 10.0,
        "mask_loss_norm": "rois",
        "loss_rois": "planned",
        "rpn_box_norm": "planned",
    }


# Each by itself


def test_every_row_has_a_case():
    assert list(CASES) == ROWS


def kind_of(name):
    """The type of a row, which is the same at all of its places."""
    found = set()
    for path in places(name):
        record = attrgetter(path.rpartition(".")[0])(Recipe(name=""))
        found.add(split_hint(hints_of(type(record))[name])[0])
    (kind,) = found
    return kind


@pytest.mark.parametrize("name", ROWS)
def test_values_differ_where_they_should_and_nowhere_else(name):
    case, kind = CASES[name], kind_of(name)
    if get_origin(kind) is Literal:
        assert set(case.expected) == set(get_args(kind))
    elif kind is bool:
        assert set(case.expected) == {True, False}
    else:
        assert len(case.expected) > 1
    outcomes = list(case.expected.values())
    assert all(a != b for i, a in enumerate(outcomes) for b in outcomes[:i])
    for value, expected in case.expected.items():
        rows = {**RELEASE, **(case.context or {}), name: value}
        assert case.apart(rows) == expected, value
        assert case.same(rows) == case.common, value
