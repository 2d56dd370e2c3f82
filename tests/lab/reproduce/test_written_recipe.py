"""Recipes in the form of files that earlier versions have written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fcis.lab.reproduce.written_recipe import as_written
from fcis.recipe.as_json import from_json, to_json
from fcis.recipe.reading import with_settings
from fcis.recipe.types import Recipe

EARLIER = sorted((Path(__file__).parents[2] / "earlier").rglob("recipe.json"))


def read(path):
    data = json.loads(path.read_text())
    return data, from_json(Recipe, data, str(path))


@pytest.mark.parametrize("path", EARLIER, ids=lambda path: path.parent.name)
def test_the_same_recipe_is_written_as_it_stands(path):
    data, recipe = read(path)
    assert data.get("version", 1) < to_json(recipe)["version"]
    assert as_written(recipe, path) == data
    assert as_written(replace(recipe, description="in other words"), path) == data


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("steps=7", ("training", "steps")),
        ("batch=0", ("training", "batch")),
        ("training.targets.ohem=true", ("training", "targets", "ohem")),
        ("model.head.k=2", ("model", "head", "k")),
    ],
)
def test_another_value_is_written_at_its_place(setting, place):
    data, recipe = read(EARLIER[0])
    changed = with_settings(recipe, [setting])
    found = as_written(changed, EARLIER[0])
    assert found != data and from_json(Recipe, found, "") == changed
    *records, name = place
    part, was = found, data
    for record in records:
        part, was = part[record], was[record]
    part[name] = was[name]
    assert found == data


@pytest.mark.parametrize("setting", ["vote=binary", "mask_loss_weight=2", "network=other"])
def test_what_the_form_cannot_say_has_that_of_today(setting):
    data, recipe = read(EARLIER[0])
    changed = with_settings(recipe, [setting])
    found = as_written(changed, EARLIER[0])
    assert found != data and from_json(Recipe, found, "") == changed
    if setting != "network=other":  # a field that is new since has a place
        assert found == to_json(changed)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"version": 99}', '{"name": 3}', "\xff"])
def test_files_that_are_none(tmp_path, text):
    _, recipe = read(EARLIER[0])
    path = tmp_path / "recipe.json"
    assert as_written(recipe, path) == to_json(recipe)
    path.write_bytes(text.encode("latin-1"))
    assert as_written(recipe, path) == to_json(recipe)
    path.write_text(json.dumps(to_json(recipe)))
    assert as_written(recipe, path) == json.loads(json.dumps(to_json(recipe)))
