"""Images read as a network asks: RGB, or any channels, as microscopes and satellites write them."""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.guard import guarded
from fcis.core.image_reading import ImageReading
from fcis.imaging.bit_depth import to_levels, value_limits
from fcis.imaging.in_memory import Readable
from fcis.imaging.reading import (
    MAX_PIXELS,
    as_rgb,
    check_pixels,
    damaged,
    decode,
    open_header,
    read_image,
)


def read_as(
    image: Readable, reading: ImageReading, *, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "height width channel"]:
    """Return an image the way a network takes it: RGB, or its channels as they are stored.

    RGB, and PIL images, are read as `fcis.imaging.reading` says. The channels of a file are the
    pages of a TIFF, each grey, or the bands of a single picture (RGBA has four). Each of more than
    8 bits is scaled by itself, because fluorescence channels differ in brightness by orders of
    magnitude.

    Args:
        image: a file, a PIL image, or an array with its channels last.
        reading: how it is read.
        max_pixels: the most pixels that are accepted, of a page where there are several.

    Raises:
        InputError: no such file, not an image, damaged, too large, or of other channels.
    """
    percentiles = reading.percentiles
    if isinstance(image, str | Path):
        # it is the file that says how much is needed, in our own steps too
        with guarded(partial(damaged, str(image)), MemoryError):
            if reading.is_rgb:
                return read_image(image, max_pixels=max_pixels, percentiles=percentiles)
            return _read_pages(image, reading, max_pixels)
    if reading.is_rgb or isinstance(image, Image.Image):
        return as_rgb(image, max_pixels=max_pixels, percentiles=percentiles)
    if image.ndim != 3 or image.shape[2] != reading.channels or image.size == 0:
        raise InputError(
            f"image: got an array of shape {image.shape}; the network takes height x width x "
            f"{reading.channels} channels (from channels first: array.transpose(1, 2, 0))"
        )
    check_pixels((image.shape[1], image.shape[0]), max_pixels, "image")
    return _levels(image, percentiles)


def _read_pages(
    path: str | Path, reading: ImageReading, max_pixels: int
) -> UInt8[np.ndarray, "height width {reading.channels}"]:
    """Return the channels that a file stores."""
    name = str(path)
    with open_header(path) as image:
        check_pixels(image.size, max_pixels, name)
        pages = _count(image, name)
        if pages == 1 and len(image.getbands()) == reading.channels:
            return _bands(image, reading.percentiles, name)
        if pages != reading.channels:
            found = f"{pages} pages" if pages > 1 else f"{len(image.getbands())} channel(s)"
            raise InputError(
                f"{name}: has {found}, the network takes {reading.channels}; write a TIFF with one "
                "grey page a channel"
            )
        return _stacked(image, pages, reading.percentiles, name)


def _count(image: Image.Image, name: str) -> int:
    with guarded(partial(damaged, name)):
        return int(getattr(image, "n_frames", 1))


def _bands(
    image: Image.Image, percentiles: tuple[float, float], name: str
) -> UInt8[np.ndarray, "height width channel"]:
    values = _values(image, name)
    return _levels(values if values.ndim == 3 else values[:, :, None], percentiles)


def _stacked(
    image: Image.Image, count: int, percentiles: tuple[float, float], name: str
) -> UInt8[np.ndarray, "height width channel"]:
    pages: list[Num[np.ndarray, "height width"]] = []
    size = image.size
    for number in range(count):
        with guarded(partial(damaged, name)):
            image.seek(number)
        # looked at before the page is decoded: its size is another part of the file
        values = _values(image, name) if image.size == size else None
        if values is None or values.ndim != 2 or values.shape[::-1] != size:
            raise InputError(
                f"{name}: page {number + 1} is not grey or has another size than the first; write "
                "a TIFF with one grey page a channel"
            )
        pages.append(values)
    return np.concatenate([_levels(page[:, :, None], percentiles) for page in pages], axis=2)


def _values(image: Image.Image, name: str) -> Num[np.ndarray, "height width *channel"]:
    """Return the stored values of one page, whose size is known to be no larger than allowed."""
    decode(image, image.width * image.height, name)
    with guarded(partial(damaged, name)):
        if image.mode in ("1", "P", "PA"):
            image = image.convert("L")
        return np.asarray(image)


def _levels(
    values: Num[np.ndarray, "height width channel"], percentiles: tuple[float, float]
) -> UInt8[np.ndarray, "height width channel"]:
    if values.dtype == np.uint8:
        return values
    return np.stack(
        [to_levels(v, value_limits(v, percentiles)) for v in np.moveaxis(values, 2, 0)], axis=2
    )
