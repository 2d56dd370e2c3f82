"""Pictures whose values are the numbers of objects -> crops, one an object.

Reads raw values, where `fcis.imaging.reading` reads what a person would see.
"""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, Integer, Shaped
from scipy import ndimage

from fcis.core.errors import InputError
from fcis.core.masks import MaskCrop
from fcis.data.checks.faults import DAMAGED_RLE, NO_MASK, RLE_SIZE
from fcis.data.checks.raw import FileProblem
from fcis.imaging.reading import read_values

LARGEST_ID = 2**20 - 1
"""The largest number that an object may have in a picture."""


def read_ids(path: Path) -> Int32[np.ndarray, "height width"]:
    """Return the values of a picture of one channel: grey of any depth, or palette indices.

    Colour pictures are taken if their channels are equal.

    Raises:
        FileProblem: it cannot be read, shows colours, or holds negative, fractional or very
            large values.
    """
    values = _load(path)
    if values.ndim == 3:
        channels = values[..., : 3 if values.shape[2] >= 3 else 1]  # without transparency
        if (channels != channels[..., :1]).any():
            text = "is a picture in colours"
            remedy = "save them as PNG in grey, 8 or 16 bits, or with a palette"
            raise FileProblem(path, DAMAGED_RLE, text, f"masks need one number a pixel: {remedy}")
        values = channels[..., 0]
    if values.size == 0 or not np.isfinite(values).all():
        text = "holds values that are no numbers"
        raise FileProblem(path, DAMAGED_RLE, text, "save it as 16-bit PNG")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > LARGEST_ID or (values.dtype.kind == "f" and (values % 1).any()):
        whole = f"the numbers of objects are whole and from 0 (background) to {LARGEST_ID}"
        text, remedy = f"holds values from {low:g} to {high:g}", f"{whole}: save it as 16-bit PNG"
        raise FileProblem(path, DAMAGED_RLE, text, remedy)
    return values.astype(np.int32)


def read_foreground(path: Path) -> Bool[np.ndarray, "height width"]:
    """Return where a picture of one object is not black; transparency is left aside.

    Raises:
        FileProblem: it cannot be read.
    """
    values = _load(path)
    if values.ndim == 2:
        return values != 0
    return (values[..., : 3 if values.shape[2] >= 3 else 1] != 0).any(axis=2)


def crops_of(ids: Integer[np.ndarray, "height width"]) -> list[tuple[int, MaskCrop]]:
    """Return each number but 0 with the pixels that have it, in ascending order.

    The numbers are from 0 to `LARGEST_ID`.
    """
    numbers = np.flatnonzero(np.bincount(ids.ravel()))
    numbers = numbers[numbers > 0]
    if len(numbers) == 0:
        return []
    rank = np.zeros(int(numbers[-1]) + 1, dtype=np.int32)
    rank[numbers] = np.arange(1, len(numbers) + 1)
    ranks = rank[ids]
    found: list[tuple[int, MaskCrop]] = []
    for number, window in enumerate(ndimage.find_objects(ranks), start=1):
        if window is None:  # no rank is left out
            continue
        rows, columns = window
        crop = MaskCrop(top=rows.start, left=columns.start, bits=ranks[window] == number)
        found.append((int(numbers[number - 1]), crop))
    return found


def check_size(path: Path, size: tuple[int, int], image: Path, expected: tuple[int, int]) -> None:
    """Check that a mask has the size of its image; sizes are (height, width).

    Raises:
        FileProblem: it has not.
    """
    if size != expected:
        text = f"is {size[1]} x {size[0]} pixels (width x height)"
        text += f", but {image} is {expected[1]} x {expected[0]}"
        raise FileProblem(path, RLE_SIZE, text, "make the mask as large as its image")


def _load(path: Path) -> Shaped[np.ndarray, "..."]:
    """Return the values of a picture as Pillow stores them."""
    if not os.path.isfile(path):
        raise FileProblem(path, NO_MASK, "no such file", "restore it")
    try:
        return read_values(path)
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ").partition("; ")[0]
        text = f"cannot be read as a picture ({reason})"
        raise FileProblem(path, DAMAGED_RLE, text, "export it again") from error
