"""The shape of one object, from a file -> `Annotation`, with the box and area of its pixels.

For formats that state neither. Both come from the encoded mask, so that they are exact.
"""

import numpy as np
from jaxtyping import Float64

from fcis.core.coco_types import ImageId
from fcis.core.masks import MaskCrop, rle_area, rle_box, rle_from_crop
from fcis.data.dataset import Annotation, Polygons

_MARGIN = 0.01  # of a side of the image


def annotation_of_polygons(
    polygons: Polygons, *, id: ImageId, category_id: int, is_crowd: bool = False
) -> Annotation | None:
    """Return the object of some outlines, which are kept; None if they hold no pixel's centre."""
    rle = polygons.encode()
    area = rle_area(rle)
    if area == 0:
        return None
    return Annotation(
        id=id,
        category_id=category_id,
        box=rle_box(rle),
        mask=polygons,
        area=float(area),
        is_crowd=is_crowd,
    )


def annotation_of_crop(
    crop: MaskCrop,
    size: tuple[int, int],
    *,
    id: ImageId,
    category_id: int,
    is_crowd: bool = False,
) -> Annotation:
    """Return the object of a mask, which must have a pixel; `size` is (height, width)."""
    rle = rle_from_crop(crop, *size)
    return Annotation(
        id=id,
        category_id=category_id,
        box=rle_box(rle),
        mask=rle,
        area=float(crop.area),
        is_crowd=is_crowd,
    )


def is_within(polygons: Polygons) -> bool:
    """Return whether no point of the outlines lies outside the image."""
    return all(
        (part >= 0).all()
        and (part[0::2] <= polygons.width).all()
        and (part[1::2] <= polygons.height).all()
        for part in polygons.parts
    )


def far_outside(points: Float64[np.ndarray, " coordinate"], size: tuple[int, int]) -> bool:
    """Return whether an outline leaves the image by more than 1 % of a side, or is not finite.

    Programs let outlines pass the border by fractions of a pixel; more is a mistake in the units.
    """
    height, width = size
    x, y = points[0::2] / width, points[1::2] / height
    inside = (x >= -_MARGIN) & (x <= 1 + _MARGIN) & (y >= -_MARGIN) & (y <= 1 + _MARGIN)
    return not bool(inside.all())
