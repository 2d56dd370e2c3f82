"""A picture and its grid -> the pixels of each tile, read while the network works."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from jaxtyping import UInt8

from fcis.core.read_ahead import read_ahead
from fcis.imaging.strips.picture import Picture, bands
from fcis.inference.tiling.tile_grid import Tile, TileGrid

Pixels = UInt8[np.ndarray, "_ _ _"]


def tile_reads(picture: Picture, grid: TileGrid) -> Iterator[Callable[[], Pixels]]:
    """Yield for each tile, in the order of the grid, a function that returns its pixels.

    The rows of the next tiles are decoded meanwhile; about three rows of tiles are held at once.

    Raises:
        InputError: the picture is truncated or damaged.
    """
    rows = bands(picture, grid.rows)
    # one thread, so that the rows come in their order
    ahead = read_ahead((partial(next, rows) for _ in grid.rows), threads=1)
    for row, future in enumerate(ahead):
        band = future.result()
        for tile in grid.row_tiles(row):
            yield partial(_cut, band, tile)


def _cut(band: UInt8[np.ndarray, "rows width channel"], tile: Tile) -> Pixels:
    return np.ascontiguousarray(band[:, tile.left : tile.right])
