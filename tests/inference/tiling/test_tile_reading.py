import threading

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.imaging.strips.picture import ArrayPicture
from fcis.inference.tiling.tile_grid import Tiling, plan_tiles
from fcis.inference.tiling.tile_reading import tile_reads

GRID = plan_tiles((250, 180), Tiling(size=100, overlap=20))


class Rows:
    """A picture in blocks of 30 rows, which notes where decoding is."""

    def __init__(self, image, fail_at=10**9):
        self.image, self.fail_at = image, fail_at
        self.size = image.shape[:2]
        self.top = 0
        self.threads = set()

    def read(self):
        return self.image

    def blocks(self):
        for top in range(0, len(self.image), 30):
            self.top = top
            self.threads.add(threading.get_ident())
            if self.top >= self.fail_at:
                raise InputError("damaged")
            yield self.image[self.top : self.top + 30]


def noise():
    return np.random.default_rng(0).integers(0, 256, (250, 180, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", [ArrayPicture, Rows])
def test_tiles_are_cut_from_their_rows(kind):
    image = noise()
    reads = list(tile_reads(kind(image), GRID))
    assert len(reads) == len(GRID) == 6
    for tile, read in zip(GRID, reads, strict=True):
        pixels = read()
        np.testing.assert_array_equal(pixels, image[tile.top : tile.bottom, tile.left : tile.right])
        assert pixels.flags.c_contiguous


def test_rows_are_decoded_ahead_but_not_all():
    grid = plan_tiles((3000, 100), Tiling(size=100, overlap=20))
    picture = Rows(np.zeros((3000, 100, 3), dtype=np.uint8))
    reads = tile_reads(picture, grid)
    for tile in grid:
        next(reads)
        assert tile.bottom - 30 <= picture.top <= tile.bottom + 3 * 100
    assert threading.get_ident() not in picture.threads


def test_damage_is_raised_in_its_turn():
    reads = tile_reads(Rows(noise(), fail_at=120), GRID)
    assert next(reads)().shape == (100, 100, 3)
    assert next(reads)().shape == (100, 100, 3)
    with pytest.raises(InputError, match="damaged"):
        list(reads)
