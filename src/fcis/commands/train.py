"""`fcis train`: from annotated images to a run folder with weights."""

import argparse
import json
from pathlib import Path

from fcis.data.source import check_distinct, open_dataset
from fcis.errors import InputError
from fcis.predictor import choose_device
from fcis.recipe import Recipe
from fcis.recipe_json import from_json, with_setting
from fcis.recipes import named_recipe
from fcis.training.run import BEST, RunResult, for_dataset, train
from fcis.weights.catalog import resolve_weights


def run(options: argparse.Namespace) -> int:
    """Train, and say where the results are."""
    recipe = read_recipe(options.recipe)
    for setting in options.set:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: expected KEY=VALUE, e.g. steps=500")
        recipe = with_setting(recipe, key, value)
    device = choose_device(options.device)
    check_distinct(options.train, options.val)
    percentiles = recipe.model.preprocessing.high_depth
    train_set = open_dataset(options.train, options.train_images).reading(percentiles=percentiles)
    val_set = open_dataset(options.val, options.val_images)
    recipe = for_dataset(recipe, train_set)
    weights = resolve_weights(options.weights) if options.weights is not None else None
    folder = options.out or Path("runs") / recipe.name
    print(f"training {recipe.name} on {train_set.name}: {len(train_set)} images, run {folder}")
    result = train(
        recipe,
        train_set,
        val_set,
        folder,
        weights=weights,
        resume=options.resume,
        device=device,
    )
    print(summary(result))
    return 0


def read_recipe(text: str) -> Recipe:
    """Return a recipe by its name or from a recipe.json.

    Raises:
        InputError: no such recipe, or a file that is none.
    """
    if not text.endswith(".json"):
        return named_recipe(text)
    try:
        data = json.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{text}: cannot be read ({error.strerror}); give a recipe.json or the name of a recipe"
        ) from None
    except ValueError as error:
        raise InputError(f"{text}: not valid JSON ({error}); give a recipe.json") from None
    return from_json(Recipe, data, text)


def summary(result: RunResult) -> str:
    """Return what a person wants to know after a run."""
    lines = []
    if result.new_arrays:
        lines.append(
            f"began anew, because the given weights did not fit: {', '.join(result.new_arrays)}"
        )
    lines.append(
        f"best mask AP {result.best_ap:.3f} at step {result.best_step}, "
        f"{result.seconds / 60:.1f} min"
    )
    lines.append(f"weights: {result.folder / BEST}")
    lines.append(f"curves:  {result.folder / 'curves.png'}")
    lines.append(f"try it:  fcis predict IMAGES --weights {result.folder}")
    return "\n".join(lines)
