"""What users write for a recipe -> `Recipe`: a name or a file, and settings."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fcis.core.errors import InputError
from fcis.core.guard import parse_json
from fcis.recipe.as_json import from_json, with_setting
from fcis.recipe.named import named_recipe
from fcis.recipe.types import ModelRecipe, Recipe


def read_recipe(text: str, settings: Iterable[str] = ()) -> Recipe:
    """Return a recipe by its name or from a recipe.json.

    Args:
        text: the name, or a path that ends in `.json`.
        settings: as `with_settings` takes them.

    Raises:
        InputError: no such recipe, a file that is none, or a setting that does not fit.
    """
    if not text.endswith(".json"):
        return with_settings(named_recipe(text), settings)
    try:
        written = Path(text).read_bytes()
    except OSError as error:
        raise InputError(
            f"{text}: cannot be read ({error.strerror}); give a recipe.json or the name of a recipe"
        ) from None
    data = parse_json(written, text, "give a recipe.json")
    return with_settings(from_json(Recipe, data, f"{text}: "), settings)


def with_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Return the recipe with fields changed.

    Args:
        recipe: as it is.
        settings: KEY=VALUE of each, as `with_setting` takes them.

    Raises:
        InputError: a setting is not of this form, names no field, or its value does not fit.
    """
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: expected KEY=VALUE, e.g. steps=500")
        recipe = with_setting(recipe, key, value)
    return recipe


def with_size(recipe: ModelRecipe, text: str) -> ModelRecipe:
    """Return the recipe with the sides that `--size SHORT[:LONG]` names; no LONG, no bound.

    Raises:
        InputError: not one or two whole numbers.
    """
    short, colon, long = text.partition(":")
    good = _is_number(short) and int(short) >= 16 and (not colon or _is_number(long))
    if not good or (colon and int(long) < int(short)):
        raise InputError(
            f"--size {text}: expected SHORT or SHORT:LONG in pixels, at least 16, e.g. 600:1000"
        )
    changed = replace(
        recipe.preprocessing, short_side=int(short), long_side=int(long) if colon else 0
    )
    return replace(recipe, preprocessing=changed)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
