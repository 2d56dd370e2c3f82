"""What several commands need: devices, weights, sizes, files that may not be writable."""

import json
import os
from dataclasses import replace
from pathlib import Path

import torch

from fcis.errors import InputError
from fcis.predictor import Predictor, load_predictor
from fcis.recipe import ModelRecipe
from fcis.weights.catalog import resolve_weights
from fcis.weights.file import read_info


def choose_device(text: str) -> str:
    """Return the device that an option names; `auto` takes the fastest there is.

    Raises:
        InputError: no such device on this machine.
    """
    if text == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = text.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise InputError(f"--device {text}: must be auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"--device {text}: torch sees no CUDA device; use --device cpu")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise InputError(f"--device {text}: there are {torch.cuda.device_count()} CUDA devices")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"--device {text}: torch sees no MPS device; use --device cpu")
    return text


def open_predictor(weights: str, size: str | None, device: str) -> Predictor:
    """Return the predictor that options ask for.

    Raises:
        InputError: the weights or an option cannot be used.
    """
    path = resolve_weights(weights)
    recipe = with_size(read_info(path).model, size) if size else None
    return load_predictor(path, device=choose_device(device), recipe=recipe)


def with_size(recipe: ModelRecipe, text: str) -> ModelRecipe:
    """Return the recipe with the sides that `--size SHORT[:LONG]` names.

    Raises:
        InputError: not one or two whole numbers.
    """
    short, _, long = text.partition(":")
    good = short.isdigit() and int(short) >= 16 and (not long or long.isdigit())
    if not good or (long and int(long) < int(short)):
        raise InputError(f"--size {text}: expected SHORT or SHORT:LONG in pixels, e.g. 600:1000")
    changed = replace(
        recipe.preprocessing, short_side=int(short), long_side=int(long) if long else 0
    )
    return replace(recipe, preprocessing=changed)


def make_folder(path: Path) -> None:
    """Make an output folder.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: the folder cannot be made ({error.strerror}); choose another --out"
        ) from None
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: the folder cannot be written; choose another --out")


def write_json(path: Path, data: object) -> None:
    """Write a JSON file in one step.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(data, indent=1) + "\n")
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
