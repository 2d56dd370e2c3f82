"""The size of an image -> the tiles that cover it, and what a tile cannot know at its borders.

All tiles have the same size and lie on a grid; those at the right and at the bottom end with the
image. Neighbours overlap by at least what was asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fcis.core.errors import InputError

LEAST_TILE = 64
LEAST_OVERLAP = 8
_MOST_USUAL_OVERLAP = 256
_NEIGHBOURS = 4  # tiles of one axis further apart never overlap
# What ends so close to a border, px and share of its own length, may go on behind it: masks are
# as sharp as the network's grid, which is finer for small objects.
_BORDER = 3.0
_BORDER_SHARE = 0.03

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How an image is cut.

    Attributes:
        size: side of a tile, px of the original image.
        overlap: of neighbouring tiles, at least; px of the original image.
    """

    size: int
    overlap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A window of the image: its place in the grid, and its box in pixels of the image."""

    row: int
    column: int
    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """The tiles of one image.

    Attributes:
        size: (height, width) of the image.
        rows: (top, bottom) of each row of tiles.
        columns: (left, right) of each column of tiles.
        overlap: of neighbours, at least.
    """

    size: tuple[int, int]
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    overlap: int

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles row by row."""
        for row in range(len(self.rows)):
            yield from self.row_tiles(row)

    def row_tiles(self, row: int) -> list[Tile]:
        """Return the tiles of one row."""
        top, bottom = self.rows[row]
        return [
            Tile(row=row, column=column, top=top, left=left, bottom=bottom, right=right)
            for column, (left, right) in enumerate(self.columns)
        ]

    def is_cut(self, tile: Tile, box: tuple[int, int, int, int]) -> bool:
        """Return whether an object that a tile sees at (top, left, bottom, right) may go on."""
        return self._axis_cut(self.rows, tile.row, (box[0], box[2])) or self._axis_cut(
            self.columns, tile.column, (box[1], box[3])
        )

    def is_better_elsewhere(self, tile: Tile, box: tuple[int, int, int, int]) -> bool:
        """Return whether another tile sees more of an object that this one cuts.

        That is so where, along one axis, this tile's border cuts it and the border of another
        tile of the same row or column does not.
        """
        return self._axis_better(self.rows, tile.row, (box[0], box[2])) or self._axis_better(
            self.columns, tile.column, (box[1], box[3])
        )

    def _axis_cut(self, spans: tuple[Span, ...], index: int, extent: Span) -> bool:
        margin = _BORDER + _BORDER_SHARE * (extent[1] - extent[0])
        margin = max(1.0, min(margin, self.overlap / 4))
        start, end = spans[index]
        at_start = index > 0 and extent[0] - start < margin
        return at_start or (index < len(spans) - 1 and end - extent[1] < margin)

    def _axis_better(self, spans: tuple[Span, ...], index: int, extent: Span) -> bool:
        if not self._axis_cut(spans, index, extent):
            return False
        first, behind = max(0, index - _NEIGHBOURS), min(len(spans), index + _NEIGHBOURS + 1)
        return any(
            spans[other][0] <= extent[0]
            and extent[1] <= spans[other][1]
            and not self._axis_cut(spans, other, extent)
            for other in range(first, behind)
            if other != index
        )


def make_tiling(size: int, overlap: int | None = None) -> Tiling:
    """Return a tiling of checked numbers; without an overlap, a quarter of a tile, at most 256.

    Raises:
        InputError: a tile or an overlap that is too small, or an overlap above half a tile.
    """
    if size < LEAST_TILE:
        raise InputError(
            f"tile {size}: expected the side of a tile in pixels, at least {LEAST_TILE}"
        )
    if overlap is None:
        overlap = min(size // 4, _MOST_USUAL_OVERLAP)
    if not LEAST_OVERLAP <= overlap <= size // 2:
        raise InputError(
            f"overlap {overlap}: expected {LEAST_OVERLAP} to {size // 2} pixels for tiles of "
            f"{size}; more than the usual object's length is best"
        )
    return Tiling(size=size, overlap=overlap)


def read_tiling(tile: int | None, overlap: int | None) -> Tiling | None:
    """Return the tiling that a tile's side and an overlap ask for; None without a tile.

    Raises:
        InputError: no such tiles are possible, or there is an overlap of none.
    """
    if tile is not None:
        return make_tiling(tile, overlap)
    if overlap is not None:
        raise InputError(f"--overlap {overlap}: is for tiles; add --tile SIZE")
    return None


def plan_tiles(size: tuple[int, int], tiling: Tiling) -> TileGrid:
    """Return the fewest tiles that cover an image of (height, width), evenly spread.

    A side that is not longer than a tile has one tile of its own length.
    """
    rows, columns = (_spans(length, tiling) for length in size)
    return TileGrid(size=size, rows=rows, columns=columns, overlap=tiling.overlap)


def _spans(length: int, tiling: Tiling) -> tuple[Span, ...]:
    free = length - tiling.size
    if free <= 0:
        return ((0, length),)
    steps = -(-free // (tiling.size - tiling.overlap))
    starts = [free * step // steps for step in range(steps + 1)]
    return tuple((start, start + tiling.size) for start in starts)
