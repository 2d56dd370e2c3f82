"""The instances of overlapping tiles -> those of the image, each object once.

A piece that a border cuts is let go where another tile sees it uncut. Pieces that are left, of
one category and in two tiles, are one object if their masks agree on what both tiles see of
them; an object may have a piece in each of many tiles. What was seen whole is taken as it was
seen; other pieces are joined to one mask. Pieces of one tile are never joined: the network has
told them apart.

Tiles come row by row, and what lies above the next row is settled and kept as its mask alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from fcis.core.masks import MaskCrop, common_box, crop_box, pixels_in, pixels_in_both
from fcis.imaging.instances import Instances
from fcis.inference.tiling.pieces import Piece, blend, tile_box
from fcis.inference.tiling.tile_grid import Tile, TileGrid

_AGREEMENT = 0.5  # least mask IoU, in what two tiles see of two pieces, of one object
_CONFLICT = 0.5  # share of the smaller mask in the larger one from which one of them is wrong
_PARTIAL = 0.5  # weight of its score where what one tile alone saw, and cut, is in a conflict
_OUTSIDE = 0.1  # share of an object beyond a tile that refutes that the tile saw it whole


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An object of the image.

    Attributes:
        pieces: all that were taken for it.
        is_partial: one tile alone saw it, and cut.
    """

    pieces: tuple[Piece, ...]
    crop: MaskCrop
    area: int
    label: int
    score: float
    is_partial: bool


class Joiner:
    """Collects the instances of tiles, which must come in the order of their grid."""

    def __init__(self, grid: TileGrid) -> None:
        self._grid = grid
        self._class_names: tuple[str, ...] = ()
        self._category_ids: tuple[int, ...] = ()
        self._live: dict[Tile, list[Piece]] = {}
        self._found: list[tuple[float, int, MaskCrop]] = []

    @property
    def num_pieces(self) -> int:
        """Return how many pieces later tiles may still change."""
        return sum(map(len, self._live.values()))

    def add(self, tile: Tile, instances: Instances) -> None:
        """Take what was found in a tile, in pixels of the tile.

        Raises:
            ValueError: the instances are not of an image of the tile's size.
        """
        size = (tile.bottom - tile.top, tile.right - tile.left)
        if instances.size != size:
            raise ValueError(f"instances: expected a size of {size}, got {instances.size}")
        self._class_names = instances.class_names
        self._category_ids = instances.category_ids
        pieces = [
            self._piece(tile, crop, label, score)
            for crop, label, score in zip(
                instances.crops,
                instances.labels.tolist(),
                instances.scores.tolist(),
                strict=True,
            )
            if crop.bits.any()
        ]
        self._live[tile] = [
            piece
            for piece in pieces
            if not (piece.is_cut and self._grid.is_better_elsewhere(tile, piece.box))
        ]
        if tile.column == len(self._grid.columns) - 1:
            self._settle(tile.row)

    def finish(self) -> Instances:
        """Return the instances of the image, best first; all tiles must have come.

        The score of an object that was joined from pieces is their mean by area: a sliver counts
        little, and an object does not get a higher score for having been cut more often, as the
        highest of them would give it. One that was seen whole has the highest score of the tiles
        that saw it so, as of boxes that suppress each other.
        """
        order = sorted(
            range(len(self._found)),
            key=lambda i: (-self._found[i][0], self._found[i][2].top, self._found[i][2].left),
        )
        found = [self._found[i] for i in order]
        return Instances(
            size=self._grid.size,
            scores=np.array([score for score, _, _ in found], dtype=np.float32),
            labels=np.array([label for _, label, _ in found], dtype=np.int64),
            crops=tuple(crop for _, _, crop in found),
            class_names=self._class_names,
            category_ids=self._category_ids,
        )

    def _piece(self, tile: Tile, crop: MaskCrop, label: int, score: float) -> Piece:
        crop = MaskCrop(top=crop.top + tile.top, left=crop.left + tile.left, bits=crop.bits)
        box = crop_box(crop)
        return Piece(
            tile=tile,
            crop=crop,
            box=box,
            label=label,
            score=score,
            area=crop.area,
            is_cut=self._grid.is_cut(tile, box),
        )

    def _settle(self, row: int) -> None:
        """Finish the objects that the rows of tiles after this one do not reach."""
        is_last = row == len(self._grid.rows) - 1
        next_top = self._grid.size[0] if is_last else self._grid.rows[row + 1][0]
        pieces = [piece for tile_pieces in self._live.values() for piece in tile_pieces]
        links = _links(self._live)
        kept: defaultdict[Tile, list[Piece]] = defaultdict(list)
        for members in _components(len(pieces), links):
            if max(pieces[m].box[2] for m in members) <= next_top:
                for found in _objects(members, pieces, links, self._grid.size):
                    self._found.append((found.score, found.label, found.crop))
            else:
                for member in members:
                    kept[pieces[member].tile].append(pieces[member])
        self._live = dict(kept)


_Links = dict[int, list[tuple[int, float]]]
_Boxes = Int64[np.ndarray, "_ 4"]


def _links(live: dict[Tile, list[Piece]]) -> _Links:
    """Return for each piece those of other tiles that overlap it much, with their agreement.

    Pieces are numbered in the order of `live`. An agreement of 0 is a conflict: two masks of
    which at most one is right.
    """
    links: _Links = defaultdict(list)
    first: dict[Tile, int] = {}
    total = 0
    for tile, pieces in live.items():
        first[tile] = total
        total += len(pieces)
    boxes = {
        tile: np.array([piece.box for piece in pieces], dtype=np.int64).reshape(-1, 4)
        for tile, pieces in live.items()
    }
    tiles = sorted(live, key=lambda t: (t.row, t.column))
    for index, one in enumerate(tiles):
        for two in tiles[index + 1 :]:
            common = common_box(tile_box(one), tile_box(two))
            if common is None:
                continue
            for i, j in _near(boxes[one], boxes[two], common):
                link = _agreement(live[one][i], live[two][j], common)
                if link is not None:
                    links[first[one] + i].append((first[two] + j, link))
                    links[first[two] + j].append((first[one] + i, link))
    return links


def _near(one: _Boxes, two: _Boxes, common: tuple[int, int, int, int]) -> Iterable[tuple[int, int]]:
    """Yield the pairs of boxes of two tiles that overlap in what the tiles have in common."""
    low, high = np.array(common[:2]), np.array(common[2:])
    a, b = (
        np.flatnonzero((boxes[:, :2] < high).all(axis=1) & (boxes[:, 2:] > low).all(axis=1))
        for boxes in (one, two)
    )
    first, second = one[a][:, None], two[b][None]
    meet = (first[..., :2] < second[..., 2:]) & (second[..., :2] < first[..., 2:])
    for i, j in np.argwhere(meet.all(axis=2)).tolist():
        yield int(a[i]), int(b[j])


def _agreement(one: Piece, two: Piece, common: tuple[int, int, int, int]) -> float | None:
    """Return the mask IoU in what both tiles see, 0 for a conflict, None if neither."""
    if one.label != two.label:
        return None
    both = pixels_in_both(one.crop, two.crop)
    if both == 0:
        return None
    smaller = min(one.area, two.area)
    # A corner of a few pixels in common agrees by chance; what a border cuts in both tiles
    # goes through all of the overlap
    least = min(smaller / 4, min(common[2] - common[0], common[3] - common[1]))
    either = pixels_in(one.crop, common) + pixels_in(two.crop, common) - both
    if both >= least and both >= _AGREEMENT * either:
        return both / either
    return 0.0 if both >= _CONFLICT * smaller else None


def _components(count: int, links: _Links) -> Iterable[list[int]]:
    """Yield the pieces that hang together, in the order of the first of each."""
    seen = np.zeros(count, dtype=bool)
    for start in range(count):
        if seen[start]:
            continue
        seen[start] = True
        members = [start]
        for member in members:  # grows as it goes
            for other, _ in links.get(member, ()):
                if not seen[other]:
                    seen[other] = True
                    members.append(other)
        yield members


def _objects(
    members: Sequence[int], pieces: Sequence[Piece], links: _Links, size: tuple[int, int]
) -> list[_Found]:
    """Return the objects of pieces that hang together, each once."""
    if len(members) == 1:
        return [_object([pieces[members[0]]], size)]
    groups = [[pieces[m] for m in group] for group in _groups(members, pieces, links)]
    found = [_object(group, size) for group in groups]
    # what one tile alone saw, and cut, is trusted half as much
    found.sort(key=lambda f: -f.score * (_PARTIAL if f.is_partial else 1))
    kept: list[_Found] = []
    for candidate in found:
        if not any(_in_conflict(candidate, other) for other in kept):
            kept.append(candidate)
    return kept


def _groups(members: Sequence[int], pieces: Sequence[Piece], links: _Links) -> list[list[int]]:
    """Return which pieces are one object: those that agree best first, one of each tile."""
    agreements = sorted(
        (-agreement, one, two)
        for one in members
        for two, agreement in links.get(one, ())
        if one < two and agreement > 0
    )
    group_of = {member: [member] for member in members}
    for _, one, two in agreements:
        first, second = group_of[one], group_of[two]
        if first is second:
            continue
        tiles = {pieces[m].tile for m in first}
        if any(pieces[m].tile in tiles for m in second):
            continue
        first += second
        for member in second:
            group_of[member] = first
    return list({id(group): group for group in group_of.values()}.values())


def _object(group: list[Piece], size: tuple[int, int]) -> _Found:
    """Return the object that pieces of different tiles belong to."""
    whole = [piece for piece in group if not piece.is_cut]
    if whole or len(group) == 1:
        best = max(whole or group, key=lambda piece: piece.score)
        box = tile_box(best.tile)
        beyond = max(piece.area - pixels_in(piece.crop, box) for piece in group)
        if beyond <= _OUTSIDE * (best.area + beyond):
            return _Found(
                pieces=tuple(group),
                crop=best.crop,
                area=best.area,
                label=best.label,
                score=best.score,
                is_partial=best.is_cut,
            )
    areas = sum(piece.area for piece in group)
    largest = max(group, key=lambda piece: piece.area)
    crop = blend(group, size) or largest.crop
    return _Found(
        pieces=tuple(group),
        crop=crop,
        area=crop.area,
        label=largest.label,
        score=sum(piece.area * piece.score for piece in group) / areas,
        is_partial=False,
    )


def _in_conflict(one: _Found, two: _Found) -> bool:
    """Return whether two masks overlap so much that one of them must be wrong.

    Not where a tile has itself found two objects that lie in each other so much.
    """
    if one.label != two.label:
        return False
    if pixels_in_both(one.crop, two.crop) < _CONFLICT * min(one.area, two.area):
        return False
    others = {piece.tile: piece for piece in two.pieces}
    return not any(
        piece.tile in others
        and pixels_in_both(piece.crop, others[piece.tile].crop)
        >= _CONFLICT * min(piece.area, others[piece.tile].area)
        for piece in one.pieces
    )
