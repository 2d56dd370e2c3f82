"""What one tile sees of an object, and how much two tiles agree on what they both see."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from fcis.core.masks import Box, MaskCrop, common_box
from fcis.inference.tiling.tile_grid import Tile


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An object as one tile sees it, whole or cut.

    Attributes:
        tile: that sees it.
        crop: its mask, in pixels of the image.
        box: (top, left, bottom, right) of the crop.
        area: pixels of the mask.
        is_cut: it may go on behind a border of the tile.
    """

    tile: Tile
    crop: MaskCrop
    box: Box
    label: int
    score: float
    area: int
    is_cut: bool


def tile_box(tile: Tile) -> Box:
    """Return (top, left, bottom, right) of a tile."""
    return tile.top, tile.left, tile.bottom, tile.right


def blend(pieces: list[Piece], size: tuple[int, int]) -> MaskCrop | None:
    """Return one mask of pieces of the same object, None if no pixel is left.

    Where several tiles see a pixel, that one counts in which it lies deepest: masks are the worse
    the closer they are to a border behind which the network saw nothing. The image's own borders
    are none in this sense.

    Args:
        pieces: in tiles that differ.
        size: (height, width) of the image.
    """
    top, left = (min(piece.box[side] for piece in pieces) for side in (0, 1))
    bottom, right = (max(piece.box[side] for piece in pieces) for side in (2, 3))
    bits = np.zeros((bottom - top, right - left), dtype=bool)
    deepest = np.full(bits.shape, -1, dtype=np.int32)
    for piece in pieces:
        box = common_box(tile_box(piece.tile), (top, left, bottom, right))
        if box is None:
            continue
        own = np.zeros((box[2] - box[0], box[3] - box[1]), dtype=bool)
        y, x = piece.box[0] - box[0], piece.box[1] - box[1]
        own[y : y + piece.crop.bits.shape[0], x : x + piece.crop.bits.shape[1]] = piece.crop.bits
        window = np.s_[box[0] - top : box[2] - top, box[1] - left : box[3] - left]
        depth = np.minimum(
            _depth((box[0], box[2]), (piece.tile.top, piece.tile.bottom), size[0])[:, None],
            _depth((box[1], box[3]), (piece.tile.left, piece.tile.right), size[1])[None],
        )
        nearer = depth > deepest[window]
        bits[window] = np.where(nearer, own, bits[window])
        deepest[window] = np.maximum(depth, deepest[window])
    rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    if len(rows) == 0:
        return None
    tight = bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return MaskCrop(top=top + int(rows[0]), left=left + int(columns[0]), bits=tight)


def _depth(
    places: tuple[int, int], span: tuple[int, int], length: int
) -> Int32[np.ndarray, " place"]:
    """Return how far inside a tile rows or columns are; its ends at the image's do not count."""
    place = np.arange(*places, dtype=np.int32)
    far = np.full(len(place), np.iinfo(np.int32).max, dtype=np.int32)
    first = place - span[0] if span[0] > 0 else far
    last = span[1] - 1 - place if span[1] < length else far
    return np.minimum(first, last)
