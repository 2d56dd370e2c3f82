"""The folder of a run: whose it is, and how far the run has come."""

import json
from dataclasses import replace
from pathlib import Path

from fcis.core.errors import InputError
from fcis.core.output_files import put_file
from fcis.recipe.as_json import from_json, to_json
from fcis.recipe.types import Recipe

BEST = "best.safetensors"
CHECKPOINT = "last.ckpt"
RECIPE = "recipe.json"
REMEDY = "make room and go on with --resume"
"""Where a file of a run cannot be written."""
# What has no influence on the weights of a step, and may be another when a run goes on.
_FREE = ("training.patience", "training.pictures", "training.workers", "training.checkpoint_every")


def check_folder(folder: Path, recipe: Recipe, *, resume: bool) -> tuple[Recipe, Path | None]:
    """Return what a run in a folder goes on with; nothing is written.

    Returns:
        The recipe, a batch that it leaves open found if the run was begun, and the checkpoint,
        if the run has got that far.

    Raises:
        InputError: the folder holds a run and `resume` is false, or another run.
    """
    path, checkpoint = folder / RECIPE, folder / CHECKPOINT
    if not path.is_file():
        return recipe, None
    if not resume:
        raise InputError(
            f"{folder}: holds a training run; go on with --resume or choose another --out"
        )
    begun = _read_recipe(path)
    if not recipe.training.batch:
        training = replace(recipe.training, batch=begun.training.batch)
        recipe = replace(recipe, training=training)
    _check_same(path, begun, recipe)
    return recipe, checkpoint if checkpoint.is_file() else None


def begin_folder(folder: Path, recipe: Recipe) -> None:
    """Make the run's folder, with the recipe in it; one that says the same stays as it is.

    Raises:
        InputError: it cannot be written.
    """
    path = folder / RECIPE
    if path.is_file() and _read_recipe(path) == recipe:
        return
    text = json.dumps(to_json(recipe), indent=2) + "\n"
    put_file(path, lambda file: file.write(text.encode()), remedy="choose another --out")


def _read_recipe(path: Path) -> Recipe:
    """Return the recipe that a run was begun with."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        raise InputError(f"{path}: not JSON; begin again with another --out") from None
    return from_json(Recipe, data, f"{path}: ")


def _check_same(path: Path, begun: Recipe, recipe: Recipe) -> None:
    """Refuse to go on with another recipe than the run was begun with."""
    old, new = (dict(_flat(to_json(replace(r, description="")))) for r in (begun, recipe))
    changed = [name for name in new if name not in _FREE and old.get(name) != new[name]]
    if changed:
        raise InputError(
            f"{path}: the run was begun with {changed[0]} = {old.get(changed[0])}, "
            f"not {new[changed[0]]}; resume with the same settings and data, or choose another "
            "--out"
        )


def _flat(data: object, prefix: str = "") -> list[tuple[str, object]]:
    if not isinstance(data, dict):
        return [(prefix, data)]
    return [p for k, v in data.items() for p in _flat(v, f"{prefix}.{k}" if prefix else k)]
