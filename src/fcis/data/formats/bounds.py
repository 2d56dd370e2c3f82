"""Whether outlines lie on their image."""

import numpy as np
from jaxtyping import Float64

from fcis.data.checks.limits import MARGIN
from fcis.data.dataset import Polygons


def is_within(polygons: Polygons) -> bool:
    """Return whether no point of the outlines lies outside the image."""
    return all(
        (part >= 0).all()
        and (part[0::2] <= polygons.width).all()
        and (part[1::2] <= polygons.height).all()
        for part in polygons.parts
    )


def far_outside(points: Float64[np.ndarray, " coordinate"], size: tuple[int, int]) -> bool:
    """Return whether an outline leaves an image by more than a margin, or is not finite.

    Args:
        points: x0, y0, x1, y1, ... in pixels.
        size: (height, width) of the image.
    """
    height, width = size
    x, y = points[0::2] / width, points[1::2] / height
    inside = (x >= -MARGIN) & (x <= 1 + MARGIN) & (y >= -MARGIN) & (y <= 1 + MARGIN)
    return not bool(inside.all())
