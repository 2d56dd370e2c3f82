"""What several commands need: weights, sizes, progress, files that may not be writable."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from fcis.core.devices import choose_device
from fcis.core.errors import InputError
from fcis.inference.load_predictor import load_any
from fcis.inference.predictor import Predictor
from fcis.inference.test_time.ensemble import Averaging
from fcis.inference.test_time.scales import read_scales
from fcis.inference.tiling.tile_grid import Tiling, make_tiling
from fcis.recipe.types import ModelRecipe
from fcis.weights.catalog import default_weights, zoo
from fcis.weights.weights_file import read_info

T = TypeVar("T")
_LOG_INTERVAL = 30.0  # seconds between lines of progress where nobody watches
_KIB, _MIB = 2**10, 2**20  # bytes


def open_predictor(
    weights: str | Sequence[str] | None,
    size: str | None,
    device: str,
    averaging: Averaging | None = None,
) -> Predictor:
    """Return the predictor that options ask for; of several weights, an ensemble.

    Without weights, says which ones of the package it takes.

    Raises:
        InputError: the weights or an option cannot be used, or there are none to take.
    """
    device = choose_device(device)
    if weights is None:
        weights = default_weights()
        about = read_info(zoo()[weights]).about
        print(f"weights: {weights} ({about}); --weights names others", file=sys.stderr)
    change = partial(with_size, text=size) if size is not None else None
    return load_any(weights, device=device, averaging=averaging, change=change)


def averaging_of(options: argparse.Namespace) -> Averaging:
    """Return what `--scales`, `--flip` and `--roi-side` ask for.

    Raises:
        InputError: one of them makes no sense.
    """
    scales = () if options.scales is None else read_scales(options.scales.split(","))
    return Averaging(scales=scales, flip=options.flip, roi_side=options.roi_side)


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


def tiling_of(options: argparse.Namespace) -> Tiling | None:
    """Return what `--tile` and `--overlap` ask for, None if images go through in one piece.

    Raises:
        InputError: no such tiles are possible.
    """
    if options.tile is not None:
        return make_tiling(options.tile, options.overlap)
    if options.overlap is not None:
        raise InputError(f"--overlap {options.overlap}: is for tiles; add --tile SIZE")
    return None


def progress(
    items: Iterable[T], *, total: int | None, what: str, unit: str = "image"
) -> Iterable[T]:
    """Return the same items with a bar on standard error, if they take longer than a second."""
    watched = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        desc=what,
        unit=unit,
        delay=1.0,
        mininterval=0.1 if watched else _LOG_INTERVAL,
    )


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


def check_file(option: str, path: Path) -> None:
    """Make the folder of a file that is to be written after long work.

    Raises:
        InputError: the file could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{option} {path}: cannot be written ({error.strerror}); choose another file"
        ) from None
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; name a file in it")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path}: its folder cannot be written; choose another file")


def write_json(path: Path, data: object) -> None:
    """Write a JSON file in one step.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); make room or choose another place"
        ) from None


def size_text(size: int) -> str:
    """Return a number of bytes for people, rounded."""
    return f"{size / _MIB:.1f} MiB" if size >= _MIB else f"{size / _KIB:.0f} KiB"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
