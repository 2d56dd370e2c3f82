"""`fcis train`: from annotated images to a run folder with weights."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fcis.core.devices import choose_device
from fcis.core.errors import InputError
from fcis.data.checks.before_training import check_before_training, open_for_training
from fcis.data.source import check_distinct
from fcis.recipe.as_json import from_json, with_setting
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Recipe
from fcis.training.folder import BEST
from fcis.training.metrics import CURVES, METRICS, read_metrics
from fcis.training.ranks import started_devices
from fcis.training.run import RunResult, for_dataset, train
from fcis.training.validation_pictures import sheet_path
from fcis.weights.catalog import resolve_weights


def run(options: argparse.Namespace) -> int:
    """Train, and say where the results are."""
    recipe = read_recipe(options.recipe)
    for setting in options.set:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: expected KEY=VALUE, e.g. steps=500")
        recipe = with_setting(recipe, key, value)
    recipe = _as_started(recipe)
    device = choose_device(options.device)
    check_distinct(options.train, options.val)
    percentiles = recipe.model.preprocessing.high_depth
    images = (options.train_images, options.val_images)
    train_set = open_for_training(options.train, images[0]).reading(
        percentiles=percentiles, channels=recipe.model.backbone.in_channels
    )
    val_set = open_for_training(options.val, images[1])
    check_before_training(options.train, train_set, options.val, val_set, images=images)
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
    print(summary(result, options.val))
    return 0


def _as_started(recipe: Recipe) -> Recipe:
    """Return the recipe for as many devices as `torchrun` has started processes."""
    started = started_devices()
    if started is None:
        return recipe
    return replace(
        recipe, training=replace(recipe.training, devices=started[0], num_nodes=started[1])
    )


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


def summary(result: RunResult, val: str) -> str:
    """Return what a person wants to know after a run.

    Args:
        result: of the run.
        val: the argument that names the validation set.
    """
    training, folder = result.recipe.training, result.folder
    lines = []
    if result.new_arrays:
        lines.append(
            f"began anew, because the given weights did not fit: {', '.join(result.new_arrays)}"
        )
    if result.images:
        rate = result.images / max(result.seconds, 1e-9)
        lines.append(
            f"trained on {result.images} images in {result.seconds / 60:.1f} min, "
            f"{rate:.3g} a second, validations included"
        )
    if result.stopped_early:
        before = "" if result.images else "nothing to do: the run has "
        lines.append(
            f"{before}stopped early at step {result.steps} of {training.steps}, because "
            f"{training.metric} had not become better since step {result.best_step}; to go on, "
            "add --resume --set patience=0"
        )
    elif not result.images:
        lines.append(f"nothing to do: all {training.steps} steps were made before")
    lines += _figure_lines(result)
    lines.append(f"weights: {folder / BEST}")
    lines.append(f"curves:  {folder / CURVES}, from {folder / METRICS}")
    if (sheet := sheet_path(folder, result.steps)).is_file():
        lines.append(f"found:   {sheet}, beside what is annotated")
    lines.append(f"all:     tensorboard --logdir {folder}")
    lines.append(f"measure: fcis evaluate --data {val} --weights {folder}")
    lines.append(f"try it:  fcis predict IMAGES --weights {folder}")
    return "\n".join(lines)


def _figure_lines(result: RunResult) -> list[str]:
    """Return the figures of the best and of the last validation."""
    metric = result.recipe.training.metric
    name = metric if metric in ("loss", "box_AP") else f"mask {metric}"
    best = f"best {name} {result.best:.3f} at step {result.best_step}"
    rows = [row for row in read_metrics(result.folder) if row["val_AP"]]
    figures = {int(row["step"]): _figures(row) for row in rows}
    if result.best_step not in figures:
        return [best]
    lines = [f"{best}: {figures[result.best_step]}"]
    last = max(figures)
    if last != result.best_step:
        lines.append(f"last, at step {last}: {figures[last]}")
    elif not result.stopped_early and len(figures) > 1:
        lines.append("it was still becoming better: more steps may give more")
    return lines


def _figures(row: Mapping[str, str]) -> str:
    found = {
        name.removeprefix("val_"): float(value)
        for name, value in row.items()
        if name.startswith("val_") and value
    }
    return ", ".join(f"{name} {value:.3f}" for name, value in found.items())
