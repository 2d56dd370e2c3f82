"""The pictures that `fcis predict` leaves of an image: overlay, masks as numbers, score maps."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8, UInt16
from PIL import Image

from fcis.core.masks import MaskCrop
from fcis.core.output_files import put_file
from fcis.imaging.channel_counts import as_picture
from fcis.imaging.instances import Instances
from fcis.imaging.strips.picture import Picture, reduced
from fcis.inference.explain.score_map_pictures import draw_score_maps
from fcis.inference.explain.scores import ImageScores

OVERLAY = ".overlay.png"
MASKS = ".masks.png"
MANY_MASKS = ".masks.tif"
MAPS = ".maps.png"
_MOST_DRAWN = 36_000_000  # pixels of an overlay, unless the image was in memory anyway
_MOST_NUMBERED = 65_535  # instances in a picture of 16 bits


def write_overlay(path: Path, shown: Instances) -> None:
    """Write the overlay of an image, as large as the image that the instances hold.

    Raises:
        InputError: it cannot be written.
    """
    picture = shown.draw(scale=1)
    put_file(path, lambda file: picture.save(file, format="PNG"))


def write_masks(folder: Path, name: str, shown: Instances) -> None:
    """Write the picture of masks: of 16 bits as PNG, with too many instances of 32 as TIFF.

    Raises:
        InputError: it cannot be written.
    """
    suffix = MASKS if len(shown) <= _MOST_NUMBERED else MANY_MASKS
    picture = Image.fromarray(number_image(shown))
    form = {"format": "PNG"}
    if suffix == MANY_MASKS:
        form = {"format": "TIFF", "compression": "tiff_adobe_deflate"}
    put_file(folder / f"{name}{suffix}", lambda file: picture.save(file, **form))


def write_maps(path: Path, scores: ImageScores, shown: Instances) -> None:
    """Write the score maps of the best instances of an image; nothing if there are none.

    Raises:
        InputError: it cannot be written.
    """
    if not any(crop.area for crop in shown.crops):
        return
    picture = draw_score_maps(scores, shown)
    put_file(path, lambda file: picture.save(file, format="PNG"))


def number_image(
    instances: Instances,
) -> UInt16[np.ndarray, "height width"] | Int32[np.ndarray, "height width"]:
    """Return a picture whose value is the number of the instance at a pixel, 0 where none is.

    Instances count from 1 in their order, which is that of `predictions.json`. Where masks
    overlap, the one with the lower number is in front.
    """
    kind = np.uint16 if len(instances) <= _MOST_NUMBERED else np.int32
    picture = np.zeros(instances.size, dtype=kind)
    for i in range(len(instances) - 1, -1, -1):
        crop = instances.crops[i]
        rows, columns = crop.bits.shape
        window = picture[crop.top : crop.top + rows, crop.left : crop.left + columns]
        window[crop.bits] = i + 1
    return picture


def with_image(instances: Instances, picture: Picture) -> Instances:
    """Return instances with the image they were found in, both reduced where it is very large.

    A picture of more than 36 million pixels becomes a whole number of times as small.
    """
    factor = math.ceil(math.sqrt(math.prod(picture.size) / _MOST_DRAWN))
    if factor <= 1:
        return replace(instances, image=as_picture(picture.read()))
    return shrunk(instances, factor, reduced(picture, factor))


def shrunk(
    instances: Instances, factor: int, image: UInt8[np.ndarray, "height width 3"]
) -> Instances:
    """Return instances on an image that is `factor` times as small, none of them empty."""
    return replace(
        instances,
        size=(image.shape[0], image.shape[1]),
        crops=tuple(_shrunk(crop, factor) for crop in instances.crops),
        image=image,
    )


def _shrunk(crop: MaskCrop, factor: int) -> MaskCrop:
    """Return the squares of pixels of which at least half are set, or else those with any."""
    (top, y), (left, x) = divmod(crop.top, factor), divmod(crop.left, factor)
    rows, columns = crop.bits.shape
    height, width = -(-(y + rows) // factor), -(-(x + columns) // factor)
    bits = np.zeros((height * factor, width * factor), dtype=bool)
    bits[y : y + rows, x : x + columns] = crop.bits
    share = bits.reshape(height, factor, width, factor).mean(axis=(1, 3))
    half = share >= 0.5
    return MaskCrop(top=top, left=left, bits=half if half.any() else share > 0)
