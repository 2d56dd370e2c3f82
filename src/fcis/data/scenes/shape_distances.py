"""The eight shapes of the synthetic scenes, as signed distances and as pixels.

Category and geometry only: it knows neither colours nor scenes. A shape lives in a frame of its
own, x to the right and y downwards, with its farthest points about 1 from the origin. Everything
is +, -, *, / and square roots of doubles, which IEEE 754 rounds the same way everywhere; sines
and cosines of the system's library are not used, so that a mask has the same pixels on every
machine.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Field = Float[np.ndarray, "h w"]

_SIN60 = 0.8660254037844386
_TAN30 = 0.5773502691896257
# Directions of the five points of a star, the first one upwards.
_STAR_POINTS = (
    (0.0, -1.0),
    (0.9510565162951535, -0.30901699437494745),
    (0.5877852522924731, 0.8090169943749475),
    (-0.5877852522924731, 0.8090169943749475),
    (-0.9510565162951535, -0.30901699437494745),
)
# A notch of the star, seen from the point beside it: 0.45 from the centre at 36 degrees, which
# leaves arms that are still 3 px wide when the star has 16 px.
_STAR_NOTCH = (0.45 * 0.5877852522924731, 0.45 * 0.8090169943749475)


def _radius(x: Field, y: Field) -> Field:
    return np.sqrt(x * x + y * y)


def _disc(x: Field, y: Field) -> Field:
    return _radius(x, y) - 1.0


def _square(x: Field, y: Field) -> Field:
    return np.maximum(np.abs(x), np.abs(y)) - 0.75


def _triangle(x: Field, y: Field) -> Field:
    return np.maximum(_SIN60 * np.abs(x) - 0.5 * y, y) - 0.5


def _star(x: Field, y: Field) -> Field:
    # Fold the plane onto one half of one point: `along` its axis, `aside` from it.
    along = np.maximum.reduce([x * px + y * py for px, py in _STAR_POINTS])
    aside = np.sqrt(np.maximum(x * x + y * y - along * along, 0.0))
    across, inward = _STAR_NOTCH[0], 1.0 - _STAR_NOTCH[1]
    length = math.sqrt(across * across + inward * inward)
    return (aside * inward + (along - 1.0) * across) / length


def _ring(x: Field, y: Field) -> Field:
    return np.abs(_radius(x, y) - 0.725) - 0.275


def _cross(x: Field, y: Field) -> Field:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.maximum(x, y) - 1.0, np.minimum(x, y) - 0.28)


def _crescent(x: Field, y: Field) -> Field:
    return np.maximum(_radius(x, y) - 1.0, 0.8 - _radius(x - 0.5, y))


def _hourglass(x: Field, y: Field) -> Field:
    x, y = np.abs(x), np.abs(y)
    slope = 0.7
    flank = (x - slope * y - 0.12) / math.sqrt(1.0 + slope * slope)
    return np.maximum(flank, y - 0.85)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A category of the scenes.

    Attributes:
        name: the category's name.
        distance: signed distance to the outline at (x, y), negative inside. Exact in sign, and
            next to straight or round outlines in size too; it grows by at most 1 per unit.
    """

    name: str
    distance: Callable[[Field, Field], Field]


SHAPES: tuple[Shape, ...] = (
    Shape(name="disc", distance=_disc),
    Shape(name="square", distance=_square),
    Shape(name="triangle", distance=_triangle),
    Shape(name="star", distance=_star),
    Shape(name="ring", distance=_ring),
    Shape(name="cross", distance=_cross),
    Shape(name="crescent", distance=_crescent),
    Shape(name="hourglass", distance=_hourglass),
)
"""The categories in the order of their labels: label l is `SHAPES[l - 1]`."""

# Farthest point of any shape from its origin (the tips of the hourglass: 0.715, 0.85).
_REACH = 1.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Silhouette:
    """A shape as pixels, cut to its own bounding box.

    Attributes:
        bits: the pixels whose centre is inside the shape; every border row and column has one.
        cover: the share of each pixel that the shape covers, for drawing; at least 0.5 where
            `bits` is set and at most 0.5 elsewhere.
    """

    bits: Bool[np.ndarray, "h w"]
    cover: Float[np.ndarray, "h w"]

    @property
    def sides(self) -> tuple[int, int]:
        """Return (height, width) of the bounding box in pixels."""
        return self.bits.shape[0], self.bits.shape[1]


def unit_vector(rng: np.random.Generator) -> tuple[float, float]:
    """Return a direction, all directions being equally likely."""
    while True:
        x, y = 2.0 * rng.random() - 1.0, 2.0 * rng.random() - 1.0
        square = x * x + y * y
        if 0.01 < square <= 1.0:
            length = math.sqrt(square)
            return x / length, y / length


def upright_vector(rng: np.random.Generator) -> tuple[float, float]:
    """Return a direction within about 30 degrees of the x axis."""
    y = _TAN30 * (2.0 * rng.random() - 1.0)
    length = math.sqrt(1.0 + y * y)
    return 1.0 / length, y / length


def rasterise(
    shape: Shape,
    radius: float,
    *,
    direction: tuple[float, float] = (1.0, 0.0),
    phase: tuple[float, float] = (0.0, 0.0),
) -> Silhouette:
    """Return a shape of a given size and rotation as pixels.

    `radius` is the length in pixels of the shape's unit, `direction` the unit vector to which its
    x axis turns, `phase` where its origin lies from a corner where four pixels meet, in pixels.

    Raises:
        ValueError: the radius is under 2 px, where a shape may have no pixel at all.
    """
    if radius < 2:
        raise ValueError(f"radius: expected at least 2 px, got {radius}")
    reach = math.ceil(radius * _REACH) + 1
    steps = np.arange(-reach, reach) + 0.5  # pixel centres
    across = ((steps - phase[1]) / radius)[None, :]
    down = ((steps - phase[0]) / radius)[:, None]
    cosine, sine = direction
    distance = shape.distance(across * cosine + down * sine, down * cosine - across * sine)
    inside = distance <= 0.0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    cover = np.clip(0.5 - distance[window] * radius, 0.0, 1.0)
    return Silhouette(bits=inside[window].copy(), cover=cover.astype(np.float32))


def meeting_offset(
    rng: np.random.Generator, first: Bool[np.ndarray, "h w"], second: Bool[np.ndarray, "h2 w2"]
) -> tuple[int, int]:
    """Return a random (row, column) for a second mask, relative to a first that it shall meet.

    The two overlap or share an edge of a pixel. From an offset where two random pixels of the
    masks coincide, the second is pushed in a random direction as far as it goes without losing
    contact; in two of three cases it is then pulled back by up to 0.3 of the shortest side.
    Neither mask may be empty.
    """
    grown = np.pad(first, 1)
    inner = grown.copy()
    for axis in (0, 1):
        grown = grown | np.roll(inner, 1, axis) | np.roll(inner, -1, axis)
    a, b = np.argwhere(first), np.argwhere(second)
    start = a[rng.integers(len(a))] - b[rng.integers(len(b))]
    direction = unit_vector(rng)

    def offset(distance: float) -> tuple[int, int]:
        down, across = (math.floor(distance * d + 0.5) for d in direction)
        return int(start[0]) + down, int(start[1]) + across

    def meets(distance: float) -> bool:
        top, left = (v + 1 for v in offset(distance))  # in the frame of `grown`
        (h, w), (h2, w2) = grown.shape, second.shape
        rows = slice(max(top, 0), min(top + h2, h))
        columns = slice(max(left, 0), min(left + w2, w))
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return False
        part = second[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        return bool((grown[rows, columns] & part).any())

    near, far = 0.0, float(sum(first.shape) + sum(second.shape))
    while far - near > 0.5:
        middle = (near + far) / 2
        near, far = (middle, far) if meets(middle) else (near, middle)
    is_overlapping = rng.random() < 2 / 3
    depth = 0.3 * min(*first.shape, *second.shape) * rng.random() if is_overlapping else 0.0
    pulled = max(near - depth, 0.0)
    return offset(pulled if meets(pulled) else near)
