"""What users write for a recipe. Files that are none are tested with `fcis train`."""

import json

import pytest

from fcis.core.errors import InputError
from fcis.recipe.as_json import to_json
from fcis.recipe.named import named_recipe
from fcis.recipe.reading import read_recipe, with_settings, with_size


def test_names_files_and_settings(tmp_path):
    tiny = named_recipe("tiny")
    assert read_recipe("tiny") == tiny
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(to_json(tiny) | {"name": "mine"}))
    for text, name in (("tiny", "tiny"), (str(path), "mine")):
        recipe = read_recipe(text, ["steps=7", "training.optimiser.lr=0.5"])
        assert (recipe.name, recipe.training.steps) == (name, 7)
        assert recipe.training.optimiser.lr == 0.5


def test_the_last_of_two_settings_holds():
    tiny = named_recipe("tiny")
    assert with_settings(tiny, []) == tiny
    assert with_settings(tiny, ["steps=7", "steps=8"]).training.steps == 8
    with pytest.raises(InputError, match=r"^--set steps: expected KEY=VALUE, e\.g\. steps=500"):
        with_settings(tiny, ["steps"])


@pytest.mark.parametrize(
    ("text", "expected"), [("600", (600, 0)), ("600:1000", (600, 1000)), ("16:16", (16, 16))]
)
def test_with_size(text, expected):
    before = named_recipe("tiny").model
    after = with_size(before, text)
    assert (after.preprocessing.short_side, after.preprocessing.long_side) == expected
    assert after.backbone == before.backbone
    assert after.preprocessing.mean == before.preprocessing.mean


@pytest.mark.parametrize("text", ["", "15", "x", "600:", ":600", "600:500", "-5", "6e2", "²"])
def test_bad_sizes(text):
    with pytest.raises(InputError, match=r"^--size .*: expected SHORT or SHORT:LONG in pixels"):
        with_size(named_recipe("tiny").model, text)
