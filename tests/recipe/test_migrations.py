"""Recipes as earlier versions wrote them, and settings as they were called then."""

import copy
import json
import warnings
from operator import attrgetter

import pytest

from fcis.core.errors import InputError
from fcis.recipe.as_json import from_json, to_json, with_setting
from fcis.recipe.conventions import MODEL_ROWS, RELEASE, row_paths, with_conventions
from fcis.recipe.migrations import MOVED, VERSION, migrate
from fcis.recipe.named import RECIPES, named_recipe
from fcis.recipe.types import ModelRecipe, Recipe

# of each row of the conventions, all fields of one record in version 1, a value that is not the
# release's
OTHER = {
    "sampling": "align", "round_rois": False, "box_slots": 1, "stem_eps": 2e-5,
    "anchor_rounding": False, "proposal_grid": "full", "proposal_rank": "logit",
    "pad_proposals": False, "min_size_in_original": True, "nms_at_equal": True,
    "box_clip": "edge", "box_end": "edge", "box_rounding": "edge", "mask_category": "voted",
    "assignment": "best-category", "vote": "probability", "store_grid": False,
    "merge_at_equal": False, "foreground_at_equal": False, "stored_at_equal": False,
    "resize": "float", "size_rounding": "down", "mask_loss_weight": 1.5, "negative_low": 0.1,
    "fill_negatives": False, "positive_at_equal": False, "truth_as_rois": False,
    "mask_loss_norm": "positives", "loss_rois": "actual", "rpn_box_norm": "labelled",
    "decay_biases": True,
}  # fmt: skip


def test_every_row_of_version_1():
    assert len(OTHER) == 31 and OTHER.keys() == RELEASE.keys()
    assert all(OTHER[name] != RELEASE[name] for name in OTHER)
    assert MOVED.keys() == {f"model.conventions.{name}" for name in OTHER}
    places = list(row_paths(Recipe(name="")))
    for name in OTHER:
        assert MOVED[f"model.conventions.{name}"] == tuple(p for row, p in places if row == name)


# Files

OLD = {
    "name": "n",
    "model": {
        "rpn": {"nms": 0.6},
        "conventions": {"box_clip": "edge", "negative_low": 0.1, "vote": "probability"},
    },
    "training": {"steps": 5},
}


def test_from_1_to_2_by_hand():
    before = copy.deepcopy(OLD)
    assert VERSION == 2
    new = {
        "name": "n",
        "model": {
            "rpn": {"nms": 0.6, "box_clip": "edge"},
            "detection": {"box_clip": "edge", "vote": "probability"},
        },
        "training": {"steps": 5, "targets": {"negative_low": 0.1}},
    }
    assert migrate(OLD, "w") == migrate({**OLD, "version": 1}, "w") == new
    assert before == OLD, "what was read has changed"
    assert migrate({**new, "version": 2}, "w") == new


def test_a_model_alone():
    model = migrate(OLD["model"], "w", of_model=True)
    assert model == {
        "rpn": {"nms": 0.6, "box_clip": "edge"},
        "detection": {"box_clip": "edge", "vote": "probability"},
    }
    assert migrate({**model, "version": 2}, "w", of_model=True) == model


@pytest.mark.parametrize("name", OTHER)
def test_each_row_lands_in_its_record(name):
    rows = {name: OTHER[name]}
    recipe = from_json(Recipe, {"name": "n", "model": {"conventions": rows}}, "w")
    assert recipe == with_conventions(Recipe(name="n"), rows) != Recipe(name="n")
    for path in MOVED[f"model.conventions.{name}"]:
        assert attrgetter(path)(recipe) == OTHER[name]
    model = from_json(ModelRecipe, {"conventions": rows}, "w")
    assert model == with_conventions(ModelRecipe(), rows)
    assert (model != ModelRecipe()) == (name in MODEL_ROWS)


def as_version_1(recipe):
    """The JSON of a recipe as it was written when the conventions were a record of the model."""
    data = to_json(recipe)
    del data["version"]
    conventions = {}
    for path in (path for paths in MOVED.values() for path in paths):
        *records, name = path.split(".")
        part = data
        for record in records:
            part = part[record]
        conventions[name] = part.pop(name)
    assert data["training"].pop("losses") == {}
    data["model"]["conventions"] = conventions
    return json.loads(json.dumps(data))


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_as_version_1_wrote_them(name):
    recipe, data = named_recipe(name), as_version_1(named_recipe(name))
    assert data["model"]["conventions"].keys() == OTHER.keys()
    assert from_json(Recipe, data, "w") == recipe
    assert from_json(ModelRecipe, data["model"], "w") == recipe.model


@pytest.mark.parametrize("version", [0, 3, -1, 1.0, 2.0, "2", True, None, [2]])
def test_versions_that_nobody_knows(version):
    for where in ("w", "w: "):
        with pytest.raises(InputError) as error:
            migrate({"name": "n", "version": version}, where)
        assert str(error.value) == f"w: version {version!r} is not known; update fcis"
    for kind, data in ((Recipe, {"name": "n"}), (ModelRecipe, {})):
        with pytest.raises(InputError, match=r"^w: version .* is not known; update fcis$"):
            from_json(kind, {**data, "version": version}, "w")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"w: expected an object, got \[\]"),
        ({"name": "n", "model": 3}, r"w: model: expected an object, got 3"),
        ({"name": "n", "model": {"conventions": 3}}, "w: model: unknown field 'conventions'; .*"),
        (
            {"name": "n", "model": {"conventions": {"x": 3}}},
            "w: model: unknown field 'x'; there .*",
        ),
        (
            {"name": "n", "model": {"conventions": {"box_end": "edge"}, "detection": 5}},
            r"w: model\.detection: expected an object, got 5",
        ),
        (
            {"name": "n", "model": {"conventions": {"decay_biases": True}}, "training": 5},
            r"w: training: expected an object, got 5",
        ),
        (
            {
                "name": "n",
                "model": {"conventions": {"loss_rois": "actual"}},
                "training": {"losses": []},
            },
            r"w: training\.losses: expected an object, got \[\]",
        ),
        (
            {"name": "n", "model": {"conventions": {"vote": "none"}}},
            r"w: model\.detection\.vote: 'none' is not one of binary, probability",
        ),
        (
            {"name": "n", "model": {"conventions": {"negative_low": 2}}},
            r"w: training\.targets\.negative_low: is 2\.0, expected 0 to 1",
        ),
        # what this version writes has no such record
        (
            {"name": "n", "version": 2, "model": {"conventions": {}}},
            "w: model: unknown field 'conv.*",
        ),
    ],
)
def test_what_cannot_be_moved_is_told_as_ever(data, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        from_json(Recipe, data, "w: ")


# Settings


def set_quietly(recipe, key, value):
    """The recipe with a setting, and what was warned of."""
    text = value if isinstance(value, str) else json.dumps(value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        changed = with_setting(recipe, key, text)
    return changed, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("name", OTHER)
def test_settings_of_before(name):
    recipe = Recipe(name="n")
    expected = with_conventions(recipe, {name: OTHER[name]})
    now = MOVED[f"model.conventions.{name}"]
    for key in (f"model.conventions.{name}", f"conventions.{name}"):
        changed, warned = set_quietly(recipe, key, OTHER[name])
        assert changed == expected
        assert warned == [f"--set {key}: is {' and '.join(now)} now"]
    changed, warned = set_quietly(recipe, name, OTHER[name])
    assert changed == expected
    assert warned == ([f"--set {name}: is {' and '.join(now)} now"] if len(now) > 1 else [])
    for path in now:
        one, warned = set_quietly(recipe, path, OTHER[name])
        assert attrgetter(path)(one) == OTHER[name] and warned == []
        assert (one == expected) == (len(now) == 1)


@pytest.mark.filterwarnings("ignore:--set")
def test_a_setting_of_before_that_does_not_fit():
    for key, text, message in (
        (
            "conventions.vote",
            "none",
            "model.detection.vote: 'none' is not one of binary, probability",
        ),
        ("model.conventions.stem_eps", "2", "model.backbone.stem_eps: is 2.0, expected 0 to 1"),
        ("nms_at_equal", "3", "model.rpn.nms_at_equal: expected true or false, got 3"),
    ):
        with pytest.raises(InputError) as error:
            with_setting(Recipe(name="n"), key, text)
        assert str(error.value) == f"--set {message}"
    with pytest.raises(
        InputError, match=r"^--set conventions\.votes: conventions\.votes is not in"
    ):
        with_setting(Recipe(name="n"), "conventions.votes", "3")
