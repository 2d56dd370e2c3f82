"""Image files of any number of channels, as microscopes and satellites write them."""

from pathlib import Path

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image, ImageSequence

from fcis.core.errors import InputError
from fcis.imaging.bit_depth import to_levels, value_limits
from fcis.imaging.reading import (
    DAMAGED,
    MAX_PIXELS,
    PERCENTILES,
    check_pixels,
    damaged,
    open_header,
)


def read_pages(
    path: str | Path,
    channels: int,
    *,
    max_pixels: int = MAX_PIXELS,
    percentiles: tuple[float, float] = PERCENTILES,
) -> UInt8[np.ndarray, "height width {channels}"]:
    """Return an image with its channels as they are stored.

    They are the pages of a TIFF, each grey, or the bands of a single picture (RGBA has four).
    Each channel of more than 8 bits is scaled by itself, because fluorescence channels differ
    in brightness by orders of magnitude.

    Args:
        path: the file.
        channels: how many the network takes.
        max_pixels: the most pixels of a page that are accepted.
        percentiles: of the values of a deep channel, what becomes 0 and 255.

    Raises:
        InputError: no such file, not an image, damaged, too large, or of other channels.
    """
    name = str(path)
    with open_header(path) as image:
        check_pixels(image.size, max_pixels, name)
        pages = _count(image, name)
        if pages == 1 and len(image.getbands()) == channels:
            return _bands(image, percentiles, name)
        if pages != channels:
            found = f"{pages} pages" if pages > 1 else f"{len(image.getbands())} channel(s)"
            raise InputError(
                f"{name}: has {found}, the network takes {channels}; write a TIFF with one grey "
                "page a channel"
            )
        return _stacked(image, percentiles, name)


def as_channels(
    image: Num[np.ndarray, "height width *channel"],
    channels: int,
    *,
    max_pixels: int = MAX_PIXELS,
    percentiles: tuple[float, float] = PERCENTILES,
) -> UInt8[np.ndarray, "height width {channels}"]:
    """Return an array in memory as `read_pages` returns a file.

    Raises:
        InputError: an array of other axes or channels, without pixels, or with too many.
    """
    if image.ndim != 3 or image.shape[2] != channels or image.size == 0:
        raise InputError(
            f"image: got an array of shape {image.shape}; the network takes height x width x "
            f"{channels} channels (from channels first: array.transpose(1, 2, 0))"
        )
    check_pixels((image.shape[1], image.shape[0]), max_pixels, "image")
    return _levels(image, percentiles)


def _count(image: Image.Image, name: str) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except DAMAGED as error:
        raise damaged(name, error) from error


def _bands(
    image: Image.Image, percentiles: tuple[float, float], name: str
) -> UInt8[np.ndarray, "height width channel"]:
    values = _values(image, name)
    return _levels(values if values.ndim == 3 else values[:, :, None], percentiles)


def _stacked(
    image: Image.Image, percentiles: tuple[float, float], name: str
) -> UInt8[np.ndarray, "height width channel"]:
    pages: list[Num[np.ndarray, "height width"]] = []
    try:
        for page in ImageSequence.Iterator(image):
            values = _values(page, name)
            if values.ndim != 2 or (pages and values.shape != pages[0].shape):
                raise InputError(
                    f"{name}: page {len(pages) + 1} is not grey or has another size than the "
                    "first; write a TIFF with one grey page a channel"
                )
            pages.append(values)
    except DAMAGED as error:
        raise damaged(name, error) from error
    return np.concatenate([_levels(page[:, :, None], percentiles) for page in pages], axis=2)


def _values(image: Image.Image, name: str) -> Num[np.ndarray, "height width *channel"]:
    """Return the stored values of one page."""
    try:
        if image.mode in ("1", "P", "PA"):
            image = image.convert("L")
        return np.asarray(image)
    except DAMAGED as error:
        raise damaged(name, error) from error


def _levels(
    values: Num[np.ndarray, "height width channel"], percentiles: tuple[float, float]
) -> UInt8[np.ndarray, "height width channel"]:
    if values.dtype == np.uint8:
        return values
    return np.stack(
        [to_levels(v, value_limits(v, percentiles)) for v in np.moveaxis(values, 2, 0)], axis=2
    )
