import numpy as np

from fcis.core.masks import MaskCrop, crop_box
from fcis.inference.tiling.pieces import Piece, blend, tile_box
from fcis.inference.tiling.tile_grid import Tile


def crop(top, left, bits):
    return MaskCrop(top=top, left=left, bits=np.array(bits, dtype=bool))


def full(top, left, bottom, right):
    return crop(top, left, np.ones((bottom - top, right - left)))


def tile(left, right):
    return Tile(row=0, column=left, top=0, left=left, bottom=10, right=right)


def piece(where, mask, score=0.5):
    return Piece(
        tile=where,
        crop=mask,
        box=crop_box(mask),
        label=1,
        score=score,
        area=mask.area,
        is_cut=True,
    )


def test_the_box_of_a_tile():
    assert tile_box(tile(5, 9)) == (0, 5, 10, 9)


def test_each_pixel_is_taken_from_the_tile_in_which_it_lies_deepest():
    """Tiles 0..12 and 6..18 of 18 columns: columns 6, 7, 8 lie deeper in the first."""
    first = piece(tile(0, 12), full(2, 4, 4, 12))
    second = piece(tile(6, 18), full(2, 6, 3, 16))  # one row less
    mask = blend([first, second], (10, 18))
    assert (mask.top, mask.left, mask.bits.shape) == (2, 4, (2, 12))
    assert mask.bits[0].all()
    np.testing.assert_array_equal(np.flatnonzero(mask.bits[1]) + 4, [4, 5, 6, 7, 8])
    # a tie is the first one's
    assert blend([second, first], (10, 18)).area == mask.area


def test_the_borders_of_the_image_are_none():
    """In a single row of tiles, only columns decide; at the edge the tile knows all there is."""
    first = piece(tile(0, 12), full(0, 0, 10, 12))
    second = piece(tile(6, 18), full(0, 6, 10, 18))
    assert blend([first, second], (10, 18)).area == 180


def test_nothing_may_be_left():
    first = piece(tile(0, 12), full(2, 11, 3, 12))
    second = piece(tile(6, 18), full(2, 6, 3, 7))
    assert blend([first, second], (10, 18)) is None
