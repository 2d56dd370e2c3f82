"""Masks -> polygons along the edges of pixels, exact both ways.

Each polygon is one closed line of x0, y0, x1, y1, ... in pixels of the image. Formats that know
neither holes nor several pieces still hold them: a cut of no width leads from one ring to the next
and back, so that whoever fills by the even-odd rule, as the COCO API does, gets the mask again.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import ndimage
from scipy.spatial import KDTree

from fcis.core.masks import MaskCrop

Ring = Int64[np.ndarray, "corner 2"]


def pieces_of(crop: MaskCrop) -> list[MaskCrop]:
    """Return the pieces of a mask whose pixels share edges, in no order to rely on."""
    numbers = np.zeros(crop.bits.shape, dtype=np.int32)
    ndimage.label(crop.bits, output=numbers)
    pieces: list[MaskCrop] = []
    for number, window in enumerate(ndimage.find_objects(numbers), start=1):
        if window is not None:  # no number is left out
            top, left = (crop.top + window[0].start, crop.left + window[1].start)
            pieces.append(MaskCrop(top=top, left=left, bits=numbers[window] == number))
    return pieces


def outline(crop: MaskCrop) -> Float64[np.ndarray, " coordinate"]:
    """Return a single polygon for a mask, which must have a pixel."""
    joined, *others = rings(crop.bits)
    for ring in others:
        distances, nearest = KDTree(joined).query(ring)
        on_ring = int(np.argmin(distances))
        on_joined = int(np.asarray(nearest)[on_ring])
        closed = np.roll(ring, -on_ring, axis=0)
        joined = np.concatenate([joined[: on_joined + 1], closed, closed[:1], joined[on_joined:]])
    return (joined + np.array([crop.left, crop.top])).astype(np.float64).ravel()


def rings(bits: Bool[np.ndarray, "h w"]) -> list[Ring]:
    """Return the borders of a mask as (x, y) of their corners, outer ones and those of holes.

    Pixels that only share a corner are apart. The first ring is the one that has the topmost
    corner, and is an outer one.
    """
    padded = np.pad(bits, 1).astype(np.int8)
    northwest, northeast = padded[:-1, :-1], padded[:-1, 1:]
    southwest, southeast = padded[1:, :-1], padded[1:, 1:]
    around = northwest + northeast + southwest + southeast
    is_double = (around == 2) & (northwest == southeast)  # two rings meet there, or one itself
    falls = is_double & (northwest == 1)
    # Every corner ends one horizontal and one vertical edge; a double one is two corners.
    first = np.argwhere((around % 2 == 1) | is_double)
    second = np.argwhere(is_double)
    places = np.concatenate([first, second])
    row, column = places.T
    copy = np.repeat([0, 1], [len(first), len(second)])
    # Of a double corner, copy 0 belongs to the edge from the left, and to the one from above
    # where the pixels are those to the northwest and southeast, else to the one from below.
    vertical_copy = np.where(is_double[row, column] & ~falls[row, column], 1 - copy, copy)
    beside = _partners(np.lexsort((copy, column, row)))
    above = _partners(np.lexsort((vertical_copy, row, column)))
    found: list[Ring] = []
    is_open = [True] * len(places)
    for start in range(len(places)):
        corners: list[int] = []
        here = start
        while is_open[here]:
            other = beside[here]
            is_open[here] = is_open[other] = False
            corners += [here, other]
            here = above[other]
        if corners:
            found.append(places[corners][:, ::-1])
    return found


def _partners(order: Int64[np.ndarray, " corner"]) -> list[int]:
    """Return the other end of the edge of each corner, given the corners in order along lines."""
    partners = np.empty(len(order), dtype=np.int64)
    partners[order[0::2]] = order[1::2]
    partners[order[1::2]] = order[0::2]
    return partners.tolist()
