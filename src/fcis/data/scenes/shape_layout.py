"""Where the shapes of a synthetic scene stand, and which of their pixels can be seen.

Geometry only, the first half of a scene: an RNG in, the placed shapes and the map of
who owns which pixel out. It knows no colours, so annotations come without drawing anything.
Later shapes hide earlier ones.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16

from fcis.core.masks import MaskCrop, crop_from_mask
from fcis.data.scenes.shape_distances import (
    SHAPES,
    Silhouette,
    meeting_offset,
    rasterise,
    upright_vector,
)

MIN_SIDE = 16  # px, of an object's box before it is hidden or cut
MIN_IMAGE_SIDE = 4 * MIN_SIDE  # px, so that half of it leaves a choice of sizes
MIN_OBJECTS, MAX_OBJECTS = 3, 15
# Share of the scenes in which two objects of one category are made to meet (Paper: figure 2).
PAIR_SHARE = 0.75
# What must stay visible of every object: a share of its own pixels, and a number of them.
_VISIBLE_SHARE, _VISIBLE_PIXELS = 0.6, 48
_GAP = 2  # px between objects of one category that stay apart
_CUT_SHARE = 0.15  # share of the objects that may reach over the image's border
_SILHOUETTES, _POSITIONS = 8, 5  # tries for each object: sizes, then positions of each


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A shape in a scene; `top` and `left` are negative where the image cuts it.

    Attributes:
        label: the category, 1..8.
        silhouette: the whole shape, hidden and cut parts included.
        diameter: twice the length of the shape's unit, in pixels.
        top: image row of the silhouette's first row.
        left: image column of the silhouette's first column.
    """

    label: int
    silhouette: Silhouette
    diameter: float
    top: int
    left: int

    def window(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and columns of an image that the silhouette's box covers."""
        h, w = self.silhouette.sides
        return (
            slice(max(self.top, 0), min(self.top + h, height)),
            slice(max(self.left, 0), min(self.left + w, width)),
        )

    def inside(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and columns of the silhouette that lie in an image, as `window` does."""
        rows, columns = self.window(height, width)
        return (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The geometry of a scene.

    Attributes:
        objects: from the hindmost to the foremost.
        owner: for each pixel of the image the index of the object seen there, -1 for none.
    """

    objects: tuple[Placed, ...]
    owner: Int16[np.ndarray, "height width"]

    def visible(self, index: int) -> MaskCrop:
        """Return the pixels of one object that can be seen, cut to their bounding box."""
        rows, columns = self.objects[index].window(*self.owner.shape)
        crop = crop_from_mask(self.owner[rows, columns] == index)
        return MaskCrop(top=crop.top + rows.start, left=crop.left + columns.start, bits=crop.bits)


class _Canvas:
    """A scene in the making, to which objects are added if nothing gets lost by it."""

    def __init__(self, height: int, width: int, *, apart: bool = False) -> None:
        self.apart = apart
        self.owner = np.full((height, width), -1, dtype=np.int16)
        self.objects: list[Placed] = []
        self.pair: tuple[int, int] | None = None
        self._visible: list[int] = []
        self._needed: list[int] = []

    def add(self, new: Placed) -> bool:
        """Put an object in front, unless too little of it or of another would be visible.

        Nor is it put near one of its category where these are to stay apart.
        """
        rows, columns = new.window(*self.owner.shape)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return False
        bits = new.silhouette.bits[new.inside(*self.owner.shape)]
        seen = int(np.count_nonzero(bits))
        needed = max(_VISIBLE_PIXELS, math.ceil(_VISIBLE_SHARE * new.silhouette.bits.sum()))
        window = self.owner[rows, columns]
        hidden = np.bincount(window[bits] + 1, minlength=len(self.objects) + 1)[1:]
        left_over = [v - int(n) for v, n in zip(self._visible, hidden, strict=True)]
        if seen < needed or any(v < n for v, n in zip(left_over, self._needed, strict=True)):
            return False
        if self.apart and self._meets_its_like(new):
            return False
        before = window.copy()
        window[bits] = len(self.objects)
        if self.pair and hidden[list(self.pair)].any() and not self._pair_meets():
            window[...] = before
            return False
        self.objects.append(new)
        self._visible = [*left_over, seen]
        self._needed.append(needed)
        return True

    def _meets_its_like(self, new: Placed) -> bool:
        """Tell whether a visible pixel of another object of its category is near the new one."""
        like = [i for i, placed in enumerate(self.objects) if placed.label == new.label]
        if not like:
            return False
        height, width = self.owner.shape
        whole = np.zeros((height + 2 * _GAP, width + 2 * _GAP), dtype=bool)
        rows, columns = new.window(height, width)
        whole[rows.start + _GAP : rows.stop + _GAP, columns.start + _GAP : columns.stop + _GAP] = (
            new.silhouette.bits[new.inside(height, width)]
        )
        shifts = range(2 * _GAP + 1)
        near = np.zeros((height, width), dtype=bool)
        for down in shifts:
            for across in shifts:
                near |= whole[down : down + height, across : across + width]
        return bool(np.isin(self.owner[near], like).any())

    def _pair_meets(self) -> bool:
        """Tell whether the two objects of the pair share an edge of a pixel."""
        if self.pair is None:
            return False
        windows = [self.objects[index].window(*self.owner.shape) for index in self.pair]
        rows = slice(min(w[0].start for w in windows), max(w[0].stop for w in windows))
        columns = slice(min(w[1].start for w in windows), max(w[1].stop for w in windows))
        first, second = (self.owner[rows, columns] == index for index in self.pair)
        return bool(
            (first[1:] & second[:-1]).any()
            or (first[:-1] & second[1:]).any()
            or (first[:, 1:] & second[:, :-1]).any()
            or (first[:, :-1] & second[:, 1:]).any()
        )

    def close_pair(self) -> bool:
        """Take the last two objects for the pair, whose contact is kept from now on."""
        self.pair = len(self.objects) - 2, len(self.objects) - 1
        return self._pair_meets()


def often_small(rng: np.random.Generator) -> float:
    """Return u^1.5 for a uniform u, in operations that round the same way everywhere."""
    u = rng.random()
    return u * math.sqrt(u)


def _silhouette(
    rng: np.random.Generator, label: int, half: int, *, near: float | None = None
) -> tuple[Silhouette, float]:
    """Return a shape with sides between the smallest and half the image, and its diameter.

    Small sizes are more frequent, as in photographs. `near` is a diameter to resemble. Like the
    things of photographs, shapes stand upright or nearly so: a category has its parts in places
    of their own.
    """
    while True:
        if near is None:
            diameter = MIN_SIDE + (1.25 * half - MIN_SIDE) * often_small(rng)
        else:
            diameter = near * (0.7 + 0.7 * rng.random())
        direction = upright_vector(rng)
        phase = rng.random() - 0.5, rng.random() - 0.5
        # No shape is longer than 1.15 or shorter than 0.67 of its diameter: save the drawing.
        if diameter * 1.15 < MIN_SIDE or diameter * 0.67 > half:
            continue
        found = rasterise(SHAPES[label - 1], diameter / 2, direction=direction, phase=phase)
        if min(found.sides) >= MIN_SIDE and max(found.sides) <= half:
            return found, diameter


def _position(rng: np.random.Generator, sides: tuple[int, int], size: tuple[int, int]) -> list[int]:
    """Return a random (top, left); a few objects may be cut by up to a quarter of a side."""
    is_cut = rng.random() < _CUT_SHARE
    over = [side // 4 if is_cut else 0 for side in sides]
    return [
        int(rng.integers(-beyond, extent - side + beyond, endpoint=True))
        for side, extent, beyond in zip(sides, size, over, strict=True)
    ]


def _add_somewhere(rng: np.random.Generator, canvas: _Canvas, label: int) -> bool:
    """Add an object of a category at random; tell whether a place was found."""
    height, width = canvas.owner.shape
    for _ in range(_SILHOUETTES):
        shape, diameter = _silhouette(rng, label, min(height, width) // 2)
        for _ in range(_POSITIONS):
            top, left = _position(rng, shape.sides, (height, width))
            new = Placed(label=label, silhouette=shape, diameter=diameter, top=top, left=left)
            if canvas.add(new):
                return True
    return False


def _add_pair(rng: np.random.Generator, canvas: _Canvas, label: int) -> bool:
    """Add two objects of a category that meet; tell whether it worked."""
    if not _add_somewhere(rng, canvas, label):
        return False
    first = canvas.objects[-1]
    height, width = canvas.owner.shape
    for _ in range(_SILHOUETTES):
        shape, diameter = _silhouette(rng, label, min(height, width) // 2, near=first.diameter)
        for _ in range(_POSITIONS):
            down, across = meeting_offset(rng, first.silhouette.bits, shape.bits)
            top, left = first.top + down, first.left + across
            new = Placed(label=label, silhouette=shape, diameter=diameter, top=top, left=left)
            h, w = shape.sides
            if top < 0 or left < 0 or top + h > height or left + w > width:
                continue
            if canvas.add(new):
                # The contact may lie in a part of the first that others hide.
                return canvas.close_pair()
    return False


def draw_layout(
    rng: np.random.Generator, height: int, width: int, *, apart: bool = False
) -> Layout:
    """Return the geometry of a random scene.

    The scene has 3 to 15 objects, small numbers being more frequent, all categories being equally
    likely. Each object's box, before it is hidden or cut, has sides from 16 px to half the image's
    shorter side; at least 60 % of its pixels and 48 of them are visible. In three of four scenes
    two objects of one category touch or overlap visibly; with `apart` in none, and at least 2 px
    lie between such objects.

    Raises:
        ValueError: a side of the image is under 64 px, where the objects would find no room.
    """
    if min(height, width) < MIN_IMAGE_SIDE:
        raise ValueError(
            f"size: expected sides of {MIN_IMAGE_SIDE} px or more, got {height, width}"
        )
    count = MIN_OBJECTS + int((MAX_OBJECTS + 1 - MIN_OBJECTS) * often_small(rng))
    # How many objects stand behind the pair; beyond the end means that there is no pair.
    has_pair = rng.random() < PAIR_SHARE and not apart
    behind = int(rng.integers(0, count - 1)) if has_pair else count
    while True:
        canvas = _Canvas(height, width, apart=apart)
        is_good = True
        for _ in range(min(behind, count)):
            _add_somewhere(rng, canvas, int(rng.integers(1, len(SHAPES), endpoint=True)))
        if has_pair:
            is_good = _add_pair(rng, canvas, int(rng.integers(1, len(SHAPES), endpoint=True)))
        while is_good and len(canvas.objects) < count:
            if not _add_somewhere(rng, canvas, int(rng.integers(1, len(SHAPES), endpoint=True))):
                break
        if is_good and len(canvas.objects) >= MIN_OBJECTS:
            return Layout(objects=tuple(canvas.objects), owner=canvas.owner)
        # A crowded small image: fewer objects behind the pair leave it more room.
        behind = behind // 2
