"""What an image's file is, whatever the dataset says of it: image source -> `ImageFacts`.

Nothing is raised for bad files; they are what is looked for.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fcis.core.errors import InputError
from fcis.data.checks.faults import MISSING_FILE, UNREADABLE_FILE, Problem
from fcis.data.checks.raw import problem_of
from fcis.data.dataset import FileSource, ImageSource
from fcis.imaging.reading import image_size, open_header, orientation, read_image

_READ_AT_ONCE = 1 << 20
_UNFILED, _NOTHING = -1, -2  # in place of sizes of files


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What a look at an image found.

    Attributes:
        size: (height, width) as viewers show it; None if it cannot be read.
        stored: (height, width) before the file's EXIF rotation.
        orientation: the EXIF orientation that is applied in reading, 1 for none.
        is_deep: 16 bits or floats, which are scaled in reading.
        problem: why it cannot be read; None if it can.
    """

    size: tuple[int, int] | None = None
    stored: tuple[int, int] | None = None
    orientation: int = 1
    is_deep: bool = False
    problem: Problem | None = None


def look_at(source: ImageSource, *, is_quick: bool = False) -> ImageFacts:
    """Return what one image is, having decoded all of it, or only read its file's header."""
    if isinstance(source, FileSource) and not os.path.isfile(source.path):
        return ImageFacts(problem=Problem(MISSING_FILE, f"has no file {source.path}"))
    try:
        if not isinstance(source, FileSource):
            height, width, _ = source.read().shape
            return ImageFacts(size=(height, width), stored=(height, width))
        if is_quick:
            # Pillow decodes a PNG to look for EXIF behind its pixels; PNGs are hardly ever turned
            is_png = source.path.suffix.lower() == ".png"
            return ImageFacts(size=image_size(source.path, exif=not is_png))
        height, width, _ = read_image(source.path, max_pixels=source.max_pixels).shape
        stored = image_size(source.path, exif=False)
        turned, is_deep = _header(source)
    except InputError as error:
        problem = problem_of(error, source, UNREADABLE_FILE)
        return ImageFacts(problem=replace(problem, text=f"cannot be read: {problem.text}"))
    return ImageFacts(size=(height, width), stored=stored, orientation=turned, is_deep=is_deep)


def _header(source: FileSource) -> tuple[int, bool]:
    """Return the orientation and whether the values are deep, of a file that was read before."""
    with open_header(source.path) as image:
        is_deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
        return orientation(image), is_deep


def same_content(
    sources: Sequence[ImageSource | None], others: Sequence[ImageSource | None]
) -> dict[int, int]:
    """Return which of the sources have the content of one of the others: index -> index.

    Files are compared byte by byte (through their hashes, and only where their sizes agree),
    images without files by their pixels.
    """
    sizes = {_bytes(other) for other in others} - {_NOTHING}
    candidates = {i: source for i, source in enumerate(sources) if _bytes(source) in sizes}
    mine = {_bytes(source) for source in candidates.values()}
    known: dict[bytes, int] = {}
    for index, other in enumerate(others):
        if _bytes(other) in mine and (digest := _digest(other)):
            known.setdefault(digest, index)
    found = {i: known.get(_digest(source)) for i, source in candidates.items()}
    return {i: index for i, index in found.items() if index is not None}


def _bytes(source: ImageSource | None) -> int:
    """Return the size of a file, `_UNFILED` for images without one, `_NOTHING` for no bytes."""
    if source is None:
        return _NOTHING
    if not isinstance(source, FileSource):
        return _UNFILED
    try:
        return source.path.stat().st_size or _NOTHING
    except OSError:
        return _NOTHING


def _digest(source: ImageSource | None) -> bytes:
    """Return a hash of the content, nothing for what cannot be read."""
    digest = hashlib.sha256()
    if source is None:
        return b""
    try:
        if not isinstance(source, FileSource):
            pixels = np.ascontiguousarray(source.read())
            digest.update(str(pixels.shape).encode())
            digest.update(pixels.tobytes())
            return digest.digest()
        with source.path.open("rb") as file:
            while block := file.read(_READ_AT_ONCE):
                digest.update(block)
    except (OSError, InputError):
        return b""
    return digest.digest()
