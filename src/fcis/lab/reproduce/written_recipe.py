"""A recipe in the form in which a run folder has it, which an earlier version may have written.

Lines of a table's journal were made with that form. A later version has other fields, and yet has
to know them again; the version in a recipe.json, and its migrations, say what is the same.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcis.recipe.as_json import JSON, from_json, to_json
from fcis.recipe.types import Recipe


def as_written(recipe: Recipe, path: Path) -> JSON:
    """Return the JSON of a recipe, with the fields that a recipe.json has.

    Where its recipe has another value, the value is changed at the same place, so that two
    recipes have the same JSON in no form. Descriptions are for people, and stay as they are.

    Args:
        recipe: any.
        path: of the recipe.json. If it is not there or cannot be read, or if its form cannot say
            what the recipe says, the form is that of this version.
    """
    now = to_json(recipe)
    assert isinstance(now, dict)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        there = to_json(replace(from_json(Recipe, data, ""), description=recipe.description))
        _change(data, there, now)
        again = replace(from_json(Recipe, data, ""), description=recipe.description)
    except (OSError, ValueError):
        return now
    return data if again == recipe else now


def _change(data: dict[str, Any], there: Any, now: Any) -> None:  # noqa: ANN401
    """Give the JSON of a record the values of `now` where those of `there` are others."""
    for name, value in now.items():
        if isinstance(value, dict) and isinstance(data.get(name), dict):
            _change(data[name], there[name], value)
        elif value != there[name]:
            data[name] = value
