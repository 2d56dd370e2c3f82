"""A picture through the network tile by tile; knows the network as a function alone."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import Protocol, runtime_checkable

from fcis.core.errors import InputError
from fcis.imaging.instances import Instances
from fcis.imaging.strips.picture import Picture
from fcis.inference.tiling.join import Joiner
from fcis.inference.tiling.tile_grid import Tile, TileGrid
from fcis.inference.tiling.tile_reading import Pixels, tile_reads

Found = tuple[Tile, Instances | InputError]


@runtime_checkable
class Watch(Protocol):
    """What passes the tiles of an image on, and may show how far it is."""

    def __call__(self, items: Iterable[Found], *, total: int) -> Iterable[Found]:
        """Return the same items."""
        ...


def unwatched(items: Iterable[Found], *, total: int) -> Iterable[Found]:
    """Return the same items, and show nothing."""
    return items


def detect_tiles(
    picture: Picture,
    grid: TileGrid,
    detect: Callable[
        [Iterable[Callable[[], Pixels]]], Generator[Instances | InputError, None, None]
    ],
    *,
    watch: Watch = unwatched,
) -> Instances:
    """Return the instances of a picture, each once, without the picture itself.

    Args:
        picture: read row by row.
        grid: its tiles.
        detect: yields for each function that reads a tile what is found in it, in order.
        watch: called once with all tiles.

    Raises:
        InputError: the picture is damaged, or a tile could not be looked at.
    """
    joiner = Joiner(grid)
    with closing(detect(tile_reads(picture, grid))) as each:
        for tile, found in watch(zip(grid, each, strict=True), total=len(grid)):
            if isinstance(found, InputError):
                raise found
            joiner.add(tile, found)
    return joiner.finish()
