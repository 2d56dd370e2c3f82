"""An image of which some rows are in memory at a time: what tiles are cut from.

Rows are the same as those of `fcis.imaging.multichannel.read_as`, but for 32-bit and float images
of more than 16 million pixels, whose percentiles are those of a part of the pixels.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Num, UInt8
from PIL import Image

from fcis.core.image_reading import RGB, ImageReading
from fcis.imaging.bit_depth import passing_limits, to_levels
from fcis.imaging.channel_counts import as_picture, fit_channels
from fcis.imaging.multichannel import read_as
from fcis.imaging.reading import (
    MAX_TILED_PIXELS,
    check_claims,
    check_pixels,
    deep_values,
    open_header,
    orientation,
    shallow_to_rgb,
)
from fcis.imaging.strips.png import png_layout, png_parts
from fcis.imaging.strips.tiff import tiff_layout, tiff_parts

_PART_PIXELS = 2**22  # decoded at once
_COUNTED_ROWS = 16  # at once, because counting widens each level to 8 bytes


@runtime_checkable
class Picture(Protocol):
    """An image of 8 bits, RGB or of a network's own channels, read from top to bottom."""

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        ...

    def blocks(self) -> Iterator[UInt8[np.ndarray, "_ width channel"]]:
        """Yield all rows, some at a time; from the top again at each call."""
        ...

    def read(self) -> UInt8[np.ndarray, "height width channel"]:
        """Return the whole image."""
        ...


class ArrayPicture:
    """An image that is in memory."""

    def __init__(self, image: UInt8[np.ndarray, "height width channel"]) -> None:
        self._image = image

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self._image.shape[0], self._image.shape[1]

    def blocks(self) -> Iterator[UInt8[np.ndarray, "_ width channel"]]:
        """Yield the whole image."""
        yield self._image

    def read(self) -> UInt8[np.ndarray, "height width channel"]:
        """Return the image itself."""
        return self._image


class FilePicture:
    """An image file that is decoded anew at each pass, some rows at a time."""

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        *,
        parts: Callable[[], Iterator[Image.Image]],
        reading: ImageReading,
    ) -> None:
        self._path = path
        self._size = size
        self._parts = parts
        self._reading = reading
        self._limits: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self._size

    def blocks(self) -> Iterator[UInt8[np.ndarray, "_ width channel"]]:
        """Yield all rows, some at a time.

        Raises:
            InputError: the file is truncated or damaged.
        """
        for part in self._parts():
            values = deep_values(part)
            if values is None:
                yield shallow_to_rgb(part, str(self._path))
                continue
            if self._limits is None:
                percentiles = self._reading.percentiles
                self._limits = passing_limits(self._values(), self._size, percentiles)
            yield np.repeat(to_levels(values, self._limits)[:, :, None], 3, axis=2)

    def read(self) -> UInt8[np.ndarray, "height width channel"]:
        """Return the whole image as `read_as` does.

        Raises:
            InputError: the file is truncated or damaged.
        """
        pixels = self._size[0] * self._size[1]
        return read_as(self._path, self._reading, max_pixels=pixels)

    def _values(self) -> Iterator[Num[np.ndarray, "_ width"]]:
        """Yield the values of a deep image."""
        for part in self._parts():
            values = deep_values(part)
            if values is not None:
                yield values


def open_picture(
    path: str | Path, reading: ImageReading = RGB, *, max_pixels: int = MAX_TILED_PIXELS
) -> Picture:
    """Return an image file as a picture; PNG and TIFF stay on the disk, others are read here.

    Interlaced PNGs, those with colours of 16 bits, and TIFFs that are turned or have their
    channels apart are read whole, too, as 3 bytes a pixel; so are channels other than RGB.

    Args:
        path: a file in one of the usual formats.
        reading: how it is read.
        max_pixels: the most pixels that are accepted.

    Raises:
        InputError: no such file, not an image, damaged, truncated or too large.
    """
    path = Path(path)
    with open_header(path) as image:
        check_pixels(image.size, max_pixels, str(path))
        width, height = image.size
        is_plain = reading.is_rgb and orientation(image) == 1
        parts = _parts(path, image) if is_plain else None
    if parts is None:
        return ArrayPicture(read_as(path, reading, max_pixels=max_pixels))
    return FilePicture(path, (height, width), parts=parts, reading=reading)


def _parts(path: Path, image: Image.Image) -> Callable[[], Iterator[Image.Image]] | None:
    """Return what yields the rows of a file, None if it can be read as a whole alone."""
    check_claims(image, str(path))
    if not getattr(image, "tile", None):  # Pillow has found no pixels, and will say so
        return None
    rows = max(1, _PART_PIXELS // image.width)
    tiff = tiff_layout(path) if image.format == "TIFF" else None
    if tiff is not None:
        return lambda: tiff_parts(path, tiff, rows)
    png = png_layout(path) if image.format == "PNG" else None
    return None if png is None else lambda: png_parts(path, png, rows)


def bands(
    picture: Picture, spans: Iterable[tuple[int, int]]
) -> Iterator[UInt8[np.ndarray, "_ width channel"]]:
    """Yield the rows of each span (top, bottom) in turn; both ends must ascend.

    Rows that no later span needs are let go.
    """
    blocks = picture.blocks()
    held: list[np.ndarray] = []
    start = end = 0  # rows that are held
    for top, bottom in spans:
        while end < bottom:
            block = next(blocks)
            held.append(block)
            end += len(block)
        while held and start + len(held[0]) <= top:
            start += len(held.pop(0))
        rows = held[0] if len(held) == 1 else np.concatenate(held)
        yield rows[top - start : bottom - start]


def level_counts(picture: Picture, channels: int = 3) -> Int64[np.ndarray, " level"]:
    """Return how often each of the 256 levels occurs, all channels together.

    Args:
        picture: read once.
        channels: of the network that looks at it.

    Raises:
        InputError: the picture has another number of channels.
    """
    counts = np.zeros(256, dtype=np.int64)
    for block in picture.blocks():
        for top in range(0, len(block), _COUNTED_ROWS):
            rows = fit_channels(block[top : top + _COUNTED_ROWS], channels)
            counts += np.bincount(rows.reshape(-1), minlength=256)
    return counts


def reduced(picture: Picture, factor: int) -> UInt8[np.ndarray, "height width 3"]:
    """Return what is shown of the picture, each `factor` x `factor` pixels as their mean."""
    height, _ = picture.size
    step = max(1, 256 // factor) * factor
    spans = [(top, min(top + step, height)) for top in range(0, height, step)]
    parts = [
        np.asarray(Image.fromarray(np.ascontiguousarray(as_picture(rows))).reduce(factor))
        for rows in bands(picture, spans)
    ]
    return np.concatenate(parts)
