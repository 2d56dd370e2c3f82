import json
from dataclasses import dataclass, replace

import pytest

from fcis.core.errors import InputError
from fcis.recipe.as_json import from_json, to_json, with_setting
from fcis.recipe.named import RECIPES, named_recipe
from fcis.recipe.types import BackboneRecipe, HeadRecipe, ModelRecipe, Recipe, TrainingRecipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_the_way_through_json(name):
    recipe = named_recipe(name)
    recipe = replace(
        recipe, model=replace(recipe.model, class_names=("a", "b"), category_ids=(3, 7))
    )
    text = json.dumps(to_json(recipe), allow_nan=False)
    again = from_json(Recipe, json.loads(text), "recipe")
    assert again == recipe
    assert json.dumps(to_json(again)) == text


def test_json_by_hand():
    assert to_json(HeadRecipe(k=3)) == {
        "reduction": 1024,
        "k": 3,
        "out_size": 21,
        "box_stds": [0.2, 0.2, 0.5, 0.5],
        "init": "small",
        "sampling": "pool",
        "round_rois": True,
        "box_slots": 2,
    }
    assert to_json((1, (2.5, "x"))) == [1, [2.5, "x"]]


def test_absent_fields_keep_their_default_and_whole_numbers_may_stand_for_others():
    head = from_json(HeadRecipe, {"k": 5, "box_stds": [1, 2, 3, 4]}, "head")
    assert head == HeadRecipe(k=5, box_stds=(1.0, 2.0, 3.0, 4.0))
    assert all(type(v) is float for v in head.box_stds)
    assert from_json(Recipe, {"name": "n"}, "recipe") == Recipe(name="n")


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (HeadRecipe, [], r"w: expected an object, got \[\]"),
        (HeadRecipe, {"K": 3}, "w: unknown field 'K'; there are reduction, k, out_size, box_stds"),
        (HeadRecipe, {"k": "3"}, r"w\.k: expected a whole number, got '3'"),
        (HeadRecipe, {"k": 3.0}, r"w\.k: expected a whole number, got 3\.0"),
        (HeadRecipe, {"k": True}, r"w\.k: expected a whole number, got True"),
        (HeadRecipe, {"k": None}, r"w\.k: expected a whole number, got None"),
        (HeadRecipe, {"box_stds": 1}, r"w\.box_stds: expected a list such as \[1, 2\], got 1"),
        (HeadRecipe, {"box_stds": [1, 2]}, r"w\.box_stds: expected 4 values, got 2"),
        (HeadRecipe, {"box_stds": [1, 2, 3, "x"]}, r"w\.box_stds\[3\]: expected a finite number"),
        (HeadRecipe, {"box_stds": [1, 2, 3, True]}, r"w\.box_stds\[3\]: expected a finite number"),
        (TrainingRecipe, {"optimiser": {"lr": float("nan")}}, r"w\.optimiser\.lr: expected a fin"),
        (TrainingRecipe, {"optimiser": {"lr": 10**400}}, r"w\.optimiser\.lr: expected a finite n"),
        (TrainingRecipe, {"optimiser": 3}, r"w\.optimiser: expected an object, got 3"),
        (TrainingRecipe, {"targets": {"ohem": 1}}, r"w\.targets\.ohem: expected true or false"),
        (BackboneRecipe, {"norm": "instance"}, r"w\.norm: 'instance' is not one of frozen, batch"),
        (BackboneRecipe, {"stride": 8.0}, r"w\.stride: 8\.0 is not one of 8, 16"),
        (BackboneRecipe, {"pretrained": 5}, r"w\.pretrained: expected text, got 5"),
        (ModelRecipe, {"class_names": ["a", 3]}, r"w\.class_names\[1\]: expected text, got 3"),
        (Recipe, {}, "w: the field 'name' is missing"),
    ],
)
def test_what_does_not_fit_is_named(kind, data, message):
    with pytest.raises(InputError, match=message):
        from_json(kind, data, "w")


def test_true_is_not_the_choice_one():
    with pytest.raises(InputError, match=r"w\.detection\.passes: True is not one of 1, 2"):
        from_json(ModelRecipe, {"detection": {"passes": True}}, "w")


@pytest.fixture
def recipe():
    return named_recipe("tiny")


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("steps", "500", lambda r: r.training.steps == 500),
        ("training.steps", "500", lambda r: r.training.steps == 500),
        ("lr", "1e-4", lambda r: r.training.optimiser.lr == 1e-4),
        ("optimiser.lr", "1", lambda r: r.training.optimiser.lr == 1.0),
        ("rpn.nms", "0.5", lambda r: r.model.rpn.nms == 0.5 and r.model.detection.nms == 0.3),
        ("kind", "sgd", lambda r: r.training.optimiser.kind == "sgd"),
        ("kind", '"sgd"', lambda r: r.training.optimiser.kind == "sgd"),
        ("ohem", "true", lambda r: r.training.targets.ohem is True),
        ("round_rois", "false", lambda r: r.model.head.round_rois is False),
        ("milestones", "[5, 9]", lambda r: r.training.optimiser.milestones == (5, 9)),
        ("category_ids", "[]", lambda r: r.model.category_ids == ()),
        ("scale", "[0.5, 2]", lambda r: r.training.augmentation.scale == (0.5, 2.0)),
        ("depths", "[2, 2, 2, 2]", lambda r: r.model.backbone.depths == (2, 2, 2, 2)),
        ("pretrained", "", lambda r: r.model.backbone.pretrained == ""),
        ("pretrained", "resnet18.a1_in1k", lambda r: "18" in r.model.backbone.pretrained),
        ("pretrained", "123", lambda r: r.model.backbone.pretrained == "123"),
        ("name", "null", lambda r: r.name == "null"),
        ("name", "true", lambda r: r.name == "true"),
        ("name", "a=b", lambda r: r.name == "a=b"),
        ("class_names", '["cell"]', lambda r: r.model.class_names == ("cell",)),
    ],
)
def test_one_setting(recipe, key, text, found):
    assert not found(recipe) or text in ("", "[]")  # empty before, too
    changed = with_setting(recipe, key, text)
    assert found(changed)
    flat, before = _flat(to_json(changed)), _flat(to_json(recipe))
    assert sum(flat[k] != before[k] for k in flat) <= 1


def _flat(data, prefix=""):
    if not isinstance(data, dict):
        return {prefix: data}
    return {k: v for n, d in data.items() for k, v in _flat(d, f"{prefix}.{n}").items()}


STEPS, LR, SCALE = "training.steps", "training.optimiser.lr", "training.augmentation.scale"


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("nms", "0.5", "nms: nms is one of model.rpn.nms, model.detection.nms; write it out"),
        ("stepz", "5", "stepz: stepz is not in the recipe; did you mean training.steps?"),
        (
            "training.lrr",
            "5",
            f"training.lrr: training.lrr is not in the recipe; did you mean {LR}?",
        ),
        ("zzzzzz", "5", "zzzzzz: zzzzzz is not in the recipe"),
        ("model", "{}", "model: model is not in the recipe"),
        ("eps", "1", "eps: eps is not in the recipe; did you mean training.steps?"),
        ("steps", "many", f"{STEPS}: expected a whole number, got 'many'"),
        ("steps", "1e3", f"{STEPS}: expected a whole number, got 1000.0"),
        ("steps", "", f"{STEPS}: expected a whole number, got ''"),
        ("steps", "0", f"{STEPS}: is 0, expected 1 to 1,000,000,000"),
        ("lr", "NaN", f"{LR}: expected a finite number, got nan"),
        ("lr", "0", f"{LR}: is 0.0, expected above 0, at most 1,000,000,000"),
        ("ohem", "True", "training.targets.ohem: expected true or false, got 'True'"),
        ("kind", "adam", "training.optimiser.kind: 'adam' is not one of sgd, adamw"),
        ("scale", "0.5,2", f"{SCALE}: expected a list such as [1, 2], got '0.5,2'"),
        ("scale", "[1]", f"{SCALE}: expected 2 values, got 1"),
        ("scale", "[2, 1]", f"{SCALE}: is (2.0, 1.0), expected rising values"),
    ],
)
def test_a_setting_that_does_not_fit(recipe, key, text, message):
    with pytest.raises(InputError) as error:
        with_setting(recipe, key, text)
    assert str(error.value) == f"--set {message}"


def test_recipes_and_models_have_a_version():
    recipe = Recipe(name="n")
    data, model = to_json(recipe), to_json(recipe.model)
    assert data["version"] == model["version"] == 2
    assert "version" not in data["model"] and "version" not in to_json(recipe.training)
    assert from_json(Recipe, data, "w") == recipe
    assert from_json(ModelRecipe, model, "w") == recipe.model


def test_bounds_are_kept_and_messages_begin_with_the_file():
    with pytest.raises(InputError, match=r"^r\.json: training\.steps: is 0, expected 1 to 1,000,"):
        from_json(Recipe, {"name": "n", "training": {"steps": 0}}, "r.json: ")
    with pytest.raises(
        InputError, match=r"^w: model\.rpn\.post_nms: is 9, expected at most pre_nm"
    ):
        from_json(ModelRecipe, {"rpn": {"pre_nms": 8, "post_nms": 9}}, "w: model")
    with pytest.raises(InputError, match=r"^r\.json: the field 'name' is missing$"):
        from_json(Recipe, {}, "r.json: ")
    with pytest.raises(InputError, match=r"^r\.json: expected an object, got \[\]$"):
        from_json(Recipe, [], "r.json: ")


def test_an_exact_path_wins_over_the_end_of_a_longer_one():
    @dataclass(frozen=True, kw_only=True)
    class Inner:
        size: int = 1

    @dataclass(frozen=True, kw_only=True)
    class Outer:
        size: int = 2
        inner: Inner = Inner()

    assert with_setting(Outer(), "size", "5") == Outer(size=5)
    assert with_setting(Outer(), "inner.size", "5") == Outer(inner=Inner(size=5))
