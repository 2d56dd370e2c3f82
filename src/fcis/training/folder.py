"""The folder of a run: whose it is, and how far the run has come."""

import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fcis.core.errors import InputError
from fcis.recipe.as_json import from_json, to_json
from fcis.recipe.types import Recipe
from fcis.training.checkpoints import CHECKPOINT

BEST = "best.safetensors"
RECIPE = "recipe.json"
# What has no influence on the weights of a step, and may be another when a run goes on.
_FREE = ("training.patience", "training.pictures")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """What a checkpoint says of a run.

    Attributes:
        path: of the checkpoint, none if the run has not got that far.
        steps: optimiser steps behind it.
        best: best figure on the validation set so far, below 0 before the first validation.
        best_step: the step it was found in.
        stale: validations since then.
        batch: that the run was begun with, if the recipe leaves it open; else 0.
    """

    path: Path | None = None
    steps: int = 0
    best: float = -1.0
    best_step: int = 0
    stale: int = 0
    batch: int = 0


def check_folder(folder: Path, recipe: Recipe, *, resume: bool) -> Progressed:
    """Return how far the run in a folder has come; nothing is written.

    Raises:
        InputError: the folder holds a run and `resume` is false, or another run, or a damaged
            checkpoint.
    """
    path, checkpoint = folder / RECIPE, folder / CHECKPOINT
    if not path.is_file():
        return Progressed()
    if not resume:
        raise InputError(
            f"{folder}: holds a training run; go on with --resume or choose another --out"
        )
    begun = _read_recipe(path)
    batch = 0 if recipe.training.batch else begun.training.batch
    if batch:
        recipe = replace(recipe, training=replace(recipe.training, batch=batch))
    _check_same(path, begun, recipe)
    progressed = _read_progress(checkpoint) if checkpoint.is_file() else Progressed()
    return replace(progressed, batch=batch)


def begin_folder(folder: Path, recipe: Recipe) -> None:
    """Make the run's folder, with the recipe in it.

    Raises:
        InputError: it cannot be written.
    """
    partial = folder / f"{RECIPE}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(to_json(recipe), indent=2) + "\n")
        partial.replace(folder / RECIPE)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another --out"
        ) from None


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


def _read_progress(path: Path) -> Progressed:
    """Return what a checkpoint says; nothing in it is executed."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        validation = checkpoint["callbacks"]["Validation"]
        return Progressed(
            path=path,
            steps=int(checkpoint["global_step"]),
            best=float(validation["best"]),
            best_step=int(validation["best_step"]),
            stale=int(validation.get("stale", 0)),
        )
    except (
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
        EOFError,
        pickle.PickleError,
    ):
        raise InputError(
            f"{path}: damaged; delete it to begin this run anew, or choose another --out"
        ) from None
