import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.inference.tiling.tile_grid import Tiling, make_tiling, plan_tiles, read_tiling


@pytest.mark.parametrize("length", [1, 99, 100, 101, 130, 180, 181, 1000, 1001])
@pytest.mark.parametrize("overlap", [8, 20, 50])
def test_tiles_of_full_size_cover_the_image_and_overlap(length, overlap):
    grid = plan_tiles((length, 60), Tiling(size=100, overlap=overlap))
    assert grid.columns == ((0, 60),)
    covered = np.zeros(length, dtype=int)
    for top, bottom in grid.rows:
        assert bottom - top == min(100, length)
        covered[top:bottom] += 1
    assert covered.min() >= 1
    assert (grid.rows[0][0], grid.rows[-1][1]) == (0, length)
    for (_, end), (start, _) in zip(grid.rows[:-1], grid.rows[1:], strict=True):
        assert end - start >= overlap
    # one tile less would not do
    count = len(grid.rows)
    assert count == 1 or (count - 1) * 100 - (count - 2) * overlap < length


def test_tiles_by_hand():
    grid = plan_tiles((180, 250), Tiling(size=100, overlap=20))
    assert grid.rows == ((0, 100), (80, 180))
    assert grid.columns == ((0, 100), (75, 175), (150, 250))
    assert len(grid) == 6
    tiles = list(grid)
    assert [(t.row, t.column) for t in tiles[:4]] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    last = tiles[-1]
    assert (last.top, last.left, last.bottom, last.right) == (80, 150, 180, 250)
    assert grid.row_tiles(1) == tiles[3:]


def test_what_a_border_cuts():
    grid = plan_tiles((100, 180), Tiling(size=100, overlap=20))
    left, right = grid
    assert not grid.is_cut(left, (0, 0, 100, 90))  # the image's own borders cut nothing
    assert grid.is_cut(left, (10, 80, 20, 100)) and grid.is_cut(left, (10, 80, 20, 99))
    assert not grid.is_cut(left, (10, 80, 20, 96))
    assert grid.is_cut(right, (10, 80, 20, 90)) and not grid.is_cut(right, (10, 85, 20, 180))
    # the longer, the less sharp
    assert grid.is_cut(left, (10, 0, 20, 96)) and not grid.is_cut(left, (10, 80, 20, 96))


def test_what_another_tile_sees_better():
    grid = plan_tiles((100, 180), Tiling(size=100, overlap=20))
    left, right = grid
    assert grid.is_better_elsewhere(right, (10, 80, 20, 90))  # the left one sees all of it
    assert not grid.is_better_elsewhere(right, (10, 80, 20, 110))  # that is cut in both
    assert not grid.is_better_elsewhere(right, (10, 80, 20, 100))  # so is that
    assert not grid.is_better_elsewhere(left, (10, 80, 20, 90))  # not cut here


def test_at_a_corner_one_better_axis_is_enough():
    grid = plan_tiles((180, 180), Tiling(size=100, overlap=20))
    first, _, _, last = grid
    assert grid.is_better_elsewhere(last, (80, 80, 90, 170))  # the row above sees its top
    assert not grid.is_better_elsewhere(first, (10, 10, 100, 100))


def test_usual_overlap():
    assert make_tiling(512) == Tiling(size=512, overlap=128)
    assert make_tiling(4096).overlap == 256
    assert make_tiling(64, 32) == Tiling(size=64, overlap=32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((63,), "tile 63: expected the side of a tile in pixels, at least 64"),
        ((-5, 10), "tile -5: expected the side"),
        ((100, 51), "overlap 51: expected 8 to 50 pixels for tiles of 100; more than the usual"),
        ((100, 7), "overlap 7: expected 8 to 50 pixels"),
    ],
)
def test_impossible_tiles(arguments, message):
    with pytest.raises(InputError, match=message):
        make_tiling(*arguments)


def test_read_tiling():
    assert read_tiling(None, None) is None
    assert read_tiling(512, 100) == Tiling(size=512, overlap=100)
    assert read_tiling(512, None).overlap == 128
    with pytest.raises(InputError, match=r"--overlap 100: is for tiles; add --tile SIZE"):
        read_tiling(None, 100)
