"""The three sets of conventions as users choose them: every row by `--set`, and through a file."""

import json

from fcis.recipe.as_json import from_json, to_json
from fcis.recipe.conventions import named_conventions, row_paths
from fcis.recipe.reading import read_recipe
from fcis.recipe.types import Recipe


def preset(name, *settings):
    """The release's recipe for COCO with a set of conventions, and with other settings."""
    rows = named_conventions(name)
    paths = list(row_paths(read_recipe("coco-resnet101")))
    own = [f"{path}={json.dumps(rows[row])}" for row, path in paths]
    recipe = read_recipe("coco-resnet101", [*own, *settings])
    return from_json(Recipe, json.loads(json.dumps(to_json(recipe))), name)
