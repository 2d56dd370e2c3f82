"""Masks as COCO run-length encodings and as crops; never an array of all full-size masks.

An RLE is the COCO dictionary `{"size": [height, width], "counts": bytes}` in its compressed
form. Runs go down the columns and start with background.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict, cast

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from jaxtyping import Bool

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in whole pixels, bottom and right exclusive."""


class RLE(TypedDict):
    """A compressed COCO run-length encoding."""

    size: list[int]
    counts: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskCrop:
    """A mask inside a window of an image: row `top` and column `left` are its first pixel."""

    top: int
    left: int
    bits: Bool[np.ndarray, "h w"]

    @property
    def area(self) -> int:
        """Return the number of pixels that are set."""
        return int(np.count_nonzero(self.bits))


def rle_from_polygons(polygons: Sequence[Sequence[float | int]], height: int, width: int) -> RLE:
    """Return the union of polygons, each a flat list x0, y0, x1, y1, ..., as the COCO API does."""
    parts = coco_mask.frPyObjects([list(map(float, p)) for p in polygons], height, width)
    return cast(RLE, coco_mask.merge(cast(list[dict], parts)))


def rle_from_counts(counts: Sequence[int], height: int, width: int) -> RLE:
    """Return the compressed form of an uncompressed COCO RLE."""
    plain = {"counts": list(map(int, counts)), "size": [height, width]}
    return cast(RLE, coco_mask.frPyObjects(plain, height, width))


def rle_from_mask(mask: Bool[np.ndarray, "height width"]) -> RLE:
    """Return the encoding of a full-size mask."""
    return cast(RLE, coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)))


def rle_from_crop(crop: MaskCrop, height: int, width: int) -> RLE:
    """Return the encoding of a crop as a mask of the whole image, without building that mask.

    Raises:
        ValueError: the crop does not lie inside the image.
    """
    rows, columns = crop.bits.shape
    if crop.top < 0 or crop.left < 0 or crop.top + rows > height or crop.left + columns > width:
        raise ValueError(
            f"crop: {rows} x {columns} at ({crop.top}, {crop.left}) is not inside "
            f"an image of {height} x {width}"
        )
    # Runs of each column, then joined: a run that touches both image borders goes on in the
    # next column, so boundaries that meet cancel.
    padded = np.zeros((columns, rows + 1), dtype=bool)
    padded[:, :rows] = crop.bits.T
    flat = padded.ravel()
    change = np.concatenate(([flat[:1].any()], flat[1:] != flat[:-1]))  # a run starts or is over
    column, row = np.divmod(np.flatnonzero(change), rows + 1)
    position = (column + crop.left) * height + row + crop.top
    keep = np.ones(len(position), dtype=bool)
    joined = np.nonzero(position[1:] == position[:-1])[0]
    keep[joined] = keep[joined + 1] = False
    edges = np.concatenate(([0], position[keep], [height * width]))
    counts = np.diff(edges)
    if len(counts) > 1 and counts[-1] == 0:  # the last run ends with the image
        counts = counts[:-1]
    return rle_from_counts(counts.tolist(), height, width)


def rle_union(masks: Sequence[RLE]) -> RLE:
    """Return the encoding of the union of masks of one image."""
    return cast(RLE, coco_mask.merge(cast(list[dict], list(masks))))


def mask_from_rle(rle: RLE) -> Bool[np.ndarray, "height width"]:
    """Return the full-size mask of an encoding."""
    return coco_mask.decode(_plain(rle)).view(bool)


def crop_from_rle(rle: RLE) -> MaskCrop:
    """Return the mask cut to its own bounding box (1 x 1 and empty if nothing is set)."""
    x, y, w, h = (int(v) for v in coco_mask.toBbox(_plain(rle)))
    if w == 0 or h == 0:
        return MaskCrop(top=0, left=0, bits=np.zeros((1, 1), dtype=bool))
    bits = coco_mask.decode(_plain(rle))[y : y + h, x : x + w].astype(bool)
    return MaskCrop(top=y, left=x, bits=np.ascontiguousarray(bits))


def crop_from_mask(mask: Bool[np.ndarray, "height width"]) -> MaskCrop:
    """Return a full-size mask cut to its own bounding box (1 x 1 and empty if nothing is set)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return MaskCrop(top=0, left=0, bits=np.zeros((1, 1), dtype=bool))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return MaskCrop(top=int(top), left=int(left), bits=mask[top:bottom, left:right].copy())


def rle_area(rle: RLE) -> int:
    """Return the number of pixels that are set."""
    return int(coco_mask.area(_plain(rle)))


def rle_box(rle: RLE) -> tuple[float, float, float, float]:
    """Return the tight box (x0, y0, x1, y1) of a mask; all zero if it is empty."""
    x, y, w, h = (float(v) for v in coco_mask.toBbox(_plain(rle)))
    return x, y, x + w, y + h


def crop_box(crop: MaskCrop) -> Box:
    """Return (top, left, bottom, right) of a crop."""
    rows, columns = crop.bits.shape
    return crop.top, crop.left, crop.top + rows, crop.left + columns


def common_box(one: Box, two: Box) -> Box | None:
    """Return what two boxes have in common, None if nothing."""
    top, left = max(one[0], two[0]), max(one[1], two[1])
    bottom, right = min(one[2], two[2]), min(one[3], two[3])
    return (top, left, bottom, right) if top < bottom and left < right else None


def pixels_in(crop: MaskCrop, box: Box) -> int:
    """Return how many pixels of a mask lie in a box."""
    common = common_box(crop_box(crop), box)
    return 0 if common is None else int(np.count_nonzero(_window(crop, common)))


def pixels_in_both(one: MaskCrop, two: MaskCrop) -> int:
    """Return how many pixels two masks have in common."""
    common = common_box(crop_box(one), crop_box(two))
    if common is None:
        return 0
    return int(np.count_nonzero(_window(one, common) & _window(two, common)))


def _plain(rle: RLE) -> dict:
    """Return the same object as the API's annotations name it."""
    return cast(dict, rle)


def _window(crop: MaskCrop, box: Box) -> Bool[np.ndarray, "h w"]:
    """Return the bits of a crop in a box inside it."""
    return crop.bits[box[0] - crop.top : box[2] - crop.top, box[1] - crop.left : box[3] - crop.left]
