"""Where the nuclei of a drawn fluorescence image lie, and which pixels are theirs.

Geometry only, the first half of such an image: an RNG in, the placed nuclei and the map
of who owns which pixel out. Like the scenes it uses arithmetic that is rounded the same way on
every machine. Where two nuclei overlap, the earlier one has the pixels.
"""

import numpy as np
from jaxtyping import Float

from fcis.data.scenes.shape_distances import Shape, meeting_offset, rasterise, unit_vector
from fcis.data.scenes.shape_layout import Layout, Placed, often_small

Field = Float[np.ndarray, "h w"]

MIN_IMAGE_SIDE = 64  # px
MIN_RADIUS, MAX_RADIUS = 6.0, 24.0  # px, of the usual nucleus of an image
_LARGEST_SHARE = 1 / 8  # of the image's shorter side, what that radius may be
_MOST_NUCLEI = 250
# How much of an image nuclei would cover, and how many of them lie against another one.
_LOW_COVER, _HIGH_COVER = 0.04, 0.3
_LOW_TOUCH, _HIGH_TOUCH = 0.15, 0.75
# Of a nucleus's own pixels: what others may hide, and what must be seen at the image's edge.
_HIDDEN_SHARE, _SEEN_SHARE = 0.12, 0.3
_THINNEST = 0.6  # shorter axis by longer axis
# Of the radius. Four waves of this height are 1.12 radii from the centre at most.
_WAVE = 0.04
_TRIES = 6  # for each nucleus


class _Dish:
    """An image in the making, to which nuclei are added where there is room."""

    def __init__(self, height: int, width: int) -> None:
        self.owner = np.full((height, width), -1, dtype=np.int16)
        self.nuclei: list[Placed] = []

    def add(self, new: Placed, *, apart: bool) -> bool:
        """Put a nucleus behind the others, unless they hide too much of it; with `apart`, any."""
        size = self.owner.shape
        bits = new.silhouette.bits[new.inside(*size)]
        window = self.owner[new.window(*size)]
        free = bits & (window < 0)
        area, seen = int(new.silhouette.bits.sum()), int(free.sum())
        hidden = int(bits.sum()) - seen
        if seen < _SEEN_SHARE * area or hidden > (0.0 if apart else _HIDDEN_SHARE * area):
            return False
        window[free] = len(self.nuclei)
        self.nuclei.append(new)
        return True


def _outline(rng: np.random.Generator) -> Shape:
    """Return an ellipse with a slightly wavy outline, its longer axis along x."""
    ratio = _THINNEST + (1.0 - _THINNEST) * rng.random()
    heights = [_WAVE * (2.0 * rng.random() - 1.0) for _ in range(4)]

    def distance(x: Field, y: Field) -> Field:
        y = y / ratio
        radius = np.sqrt(x * x + y * y)
        # cosine and sine of the angle, then of its double and triple
        u, v = x / (radius + 1e-9), y / (radius + 1e-9)
        u2, v2 = u * u - v * v, 2.0 * u * v
        u3, v3 = u * u2 - v * v2, u * v2 + v * u2
        waves = heights[0] * u2 + heights[1] * v2 + heights[2] * u3 + heights[3] * v3
        return (radius - 1.0 - waves) * ratio

    return Shape(name="nucleus", distance=distance)


def _nucleus(rng: np.random.Generator, usual: float) -> Placed:
    """Return a nucleus of about the usual radius, placed nowhere yet."""
    radius = usual * (0.7 + 0.6 * rng.random())
    phase = rng.random() - 0.5, rng.random() - 0.5
    silhouette = rasterise(_outline(rng), radius, direction=unit_vector(rng), phase=phase)
    return Placed(label=1, silhouette=silhouette, diameter=2.0 * radius, top=0, left=0)


def _moved(nucleus: Placed, top: int, left: int) -> Placed:
    return Placed(
        label=nucleus.label,
        silhouette=nucleus.silhouette,
        diameter=nucleus.diameter,
        top=top,
        left=left,
    )


def _anywhere(rng: np.random.Generator, nucleus: Placed, size: tuple[int, int]) -> Placed:
    """Return the nucleus at a random place, a third of each side at most beyond the image."""
    top, left = (
        int(rng.integers(-(side // 3), extent - side + side // 3, endpoint=True))
        for side, extent in zip(nucleus.silhouette.sides, size, strict=True)
    )
    return _moved(nucleus, top, left)


def _beside(rng: np.random.Generator, nucleus: Placed, other: Placed) -> Placed:
    """Return the nucleus against another one, which it may overlap."""
    down, across = meeting_offset(rng, other.silhouette.bits, nucleus.silhouette.bits)
    return _moved(nucleus, other.top + down, other.left + across)


def draw_cells(rng: np.random.Generator, height: int, width: int) -> Layout:
    """Return the geometry of a random image of nuclei.

    The usual radius of its nuclei is 6 to 24 px, at most an eighth of the shorter side, small ones
    being more frequent. There is at least one nucleus; they cover up to 30 % of the image, less
    where they find no room, and 15 to 75 % of them are put against another one. The image's edge
    cuts some. What others hide is at most 12 % of a nucleus.

    Raises:
        ValueError: a side of the image is under 64 px.
    """
    if min(height, width) < MIN_IMAGE_SIDE:
        raise ValueError(
            f"size: expected sides of {MIN_IMAGE_SIDE} px or more, got {height}, {width}"
        )
    largest = min(MAX_RADIUS, _LARGEST_SHARE * min(height, width))
    usual = MIN_RADIUS + (largest - MIN_RADIUS) * often_small(rng)
    cover = _LOW_COVER + (_HIGH_COVER - _LOW_COVER) * rng.random()
    touch = _LOW_TOUCH + (_HIGH_TOUCH - _LOW_TOUCH) * rng.random()
    count = min(_MOST_NUCLEI, max(1, int(cover * height * width / (3.0 * usual * usual))))
    dish = _Dish(height, width)
    for _ in range(count):
        for _ in range(_TRIES):
            new, others = _nucleus(rng, usual), dish.nuclei
            is_apart = not others or rng.random() >= touch
            if is_apart:
                new = _anywhere(rng, new, (height, width))
            else:
                new = _beside(rng, new, others[rng.integers(len(others))])
            if _is_within(new, height, width) and dish.add(new, apart=is_apart):
                break
    return Layout(objects=tuple(dish.nuclei), owner=dish.owner)


def _is_within(nucleus: Placed, height: int, width: int) -> bool:
    """Tell whether a part of its box lies in the image."""
    rows, columns = nucleus.window(height, width)
    return rows.stop > rows.start and columns.stop > columns.start
