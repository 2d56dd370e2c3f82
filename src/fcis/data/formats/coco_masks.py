"""One COCO annotation's box, mask and area, checked (JSON values -> records).

Knows nothing of files and lists of annotations. What is wrong is a `Problem`, which says what
and where, and what to do. `where` names the annotation in it; height and width are the image's.
"""

from collections.abc import Mapping
from typing import TypeGuard

import numpy as np
from jaxtyping import Float64

from fcis.core.masks import RLE, rle_area, rle_from_counts
from fcis.data.dataset import Polygons

# COCO's own boxes pass the border of the image by fractions of a pixel.
_BORDER_TOLERANCE = 1.0
_LARGEST = 1e12
_LONGEST_RUN_BITS = 35  # 7 characters of an encoding; no image has longer runs


class Problem(ValueError):
    """What is wrong with one entry; `is_empty` if it is just an object without a pixel."""

    def __init__(self, message: str, *, is_empty: bool = False) -> None:
        super().__init__(message)
        self.is_empty = is_empty


def read_box(
    where: str, bbox: object, height: int, width: int
) -> tuple[float, float, float, float] | None:
    """Return a COCO box (x, y, width, height) as (x0, y0, x1, y1), clipped to its image.

    Returns None where there is none.

    Raises:
        Problem: not a box, without extent, or more than 1 px outside the image.
    """
    if bbox is None:
        return None
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_number, bbox)):
        raise Problem(f"{where} has the box {bbox!r}; use [x, y, width, height]")
    x, y, w, h = (float(value) for value in bbox)
    if w <= 0 or h <= 0:
        raise Problem(
            f"{where} has the box {bbox}, whose width or height is not positive; correct or "
            "remove the annotation",
            is_empty=min(w, h) == 0,
        )
    x0, y0 = max(x, 0.0), max(y, 0.0)
    x1, y1 = min(x + w, float(width)), min(y + h, float(height))
    passes = max(-x, -y, x + w - width, y + h - height)
    if passes > _BORDER_TOLERANCE or x0 >= x1 or y0 >= y1:
        raise Problem(
            f"{where} has the box {bbox}, which lies outside the image of {width} x "
            f"{height} (width x height); correct or remove the annotation"
        )
    return x0, y0, x1, y1


def read_area(where: str, area: object) -> float:
    """Return the stated area in pixels, 0 where there is none.

    Raises:
        Problem: not a number, or a negative one.
    """
    if area is None:
        return 0.0
    if not is_number(area) or area < 0:
        raise Problem(f"{where} has the area {area!r}; correct it or leave it out")
    return float(area)


def read_mask(where: str, segmentation: object, height: int, width: int) -> RLE | Polygons:
    """Return the mask of an annotation, from polygons or a run-length encoding.

    Polygons stay as they are; encodings become compressed ones.

    Raises:
        Problem: not a segmentation, not of this image, or without a pixel in it.
    """
    if isinstance(segmentation, dict):
        return _encoded(where, segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise Problem(
            f"{where} has no 'segmentation'; masks are needed, boxes alone are not enough"
        )
    polygons = Polygons(
        parts=tuple(_polygon(where, part, height, width) for part in segmentation),
        height=height,
        width=width,
    )
    if _is_empty(polygons):
        raise Problem(
            f"{where} has outlines without a pixel of the image in them; remove the annotation",
            is_empty=True,
        )
    return polygons


def _polygon(
    where: str, part: object, height: int, width: int
) -> Float64[np.ndarray, " coordinate"]:
    """Return the checked coordinates of one polygon."""
    try:
        points = np.array(part, dtype=np.float64) if isinstance(part, list) else None
    except (TypeError, ValueError):
        points = None
    if points is None or points.ndim != 1 or np.isnan(points).any():
        raise Problem(
            f"{where}: 'segmentation' is not a list of polygons, each a list of numbers; use "
            "[[x0, y0, x1, y1, ...], ...]"
        )
    if len(points) % 2:
        raise Problem(f"{where} has a polygon of an odd number of values; use x, y pairs")
    if len(points) < 6:  # the COCO API would take 2 points for a box
        raise Problem(
            f"{where} has a polygon of {len(points) // 2} points; it takes 3 or more: correct or "
            "remove it"
        )
    # Encoding takes time and memory in proportion to the outline, however far outside it runs.
    x0, y0, x1, y1 = _extent(points)
    if x0 < -width or y0 < -height or x1 > 2 * width or y1 > 2 * height:
        raise Problem(
            f"{where} has a polygon far outside the image of {width} x {height} "
            "(width x height); correct or remove the annotation"
        )
    return points


def _extent(points: Float64[np.ndarray, " coordinate"]) -> tuple[float, float, float, float]:
    """Return the box (x0, y0, x1, y1) around a polygon."""
    pairs = points.reshape(-1, 2)
    (x0, y0), (x1, y1) = pairs.min(axis=0).tolist(), pairs.max(axis=0).tolist()
    return x0, y0, x1, y1


def _is_empty(polygons: Polygons) -> bool:
    """Tell whether outlines enclose nothing, or no pixel of the image.

    Only thin ones, and those that leave the image, are encoded to find out: that takes longer
    than all the rest of reading a file.
    """
    extents = [_extent(points) for points in polygons.parts]
    if all(x0 == x1 or y0 == y1 for x0, y0, x1, y1 in extents):
        return True  # though the COCO API would give a pixel to a point
    is_inside = True
    twice_area, side = 0.0, 0.0
    for points, (x0, y0, x1, y1) in zip(polygons.parts, extents, strict=True):
        is_inside &= x0 >= 0 and y0 >= 0 and x1 <= polygons.width and y1 <= polygons.height
        # the shoelace formula; loops of opposite sense only lower it
        x, y = points[0::2], points[1::2]
        open_sum = np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:])
        twice_area += abs(open_sum + x[-1] * y[0] - y[-1] * x[0])
        side += max(x1 - x0, y1 - y0)
    is_thick = twice_area >= 4 * side  # 2 px on average
    return not (is_thick and is_inside) and rle_area(polygons.encode()) == 0


def _encoded(where: str, segmentation: Mapping[str, object], height: int, width: int) -> RLE:
    """Return the mask of a run-length encoding, compressed or not."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise Problem(
            f"{where} has an RLE of size {size!r}, but the image is [{height}, "
            f"{width}] (height, width); correct or remove the annotation"
        )
    if isinstance(counts, str):
        runs = _decompressed(counts)
    elif isinstance(counts, list) and all(whole_number(run) is not None for run in counts):
        runs = [int(run) for run in counts]
    else:
        runs = None
    if not runs or min(runs) < 0 or sum(runs) != height * width:
        raise Problem(
            f"{where} has an RLE whose runs do not add up to the pixels of the image; export it "
            "again or remove the annotation"
        )
    if not any(runs[1::2]):
        raise Problem(f"{where} has a mask without a pixel; remove the annotation", is_empty=True)
    if isinstance(counts, str):
        return {"size": [height, width], "counts": counts.encode("ascii")}
    return rle_from_counts(runs, height, width)


def _decompressed(counts: str) -> list[int] | None:
    """Return the runs of a compressed COCO encoding; None if it is not one.

    Each run is 5 bits a character, lowest first, bit 5 saying that more follow, with the sign in
    the last one's bit 4; from the fourth run on, what is stored is the difference from the run
    before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for code in counts.encode("utf-8"):
        bits = code - 48
        if not 0 <= bits < 64 or shift >= _LONGEST_RUN_BITS:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return None if shift else runs


def whole_number(value: object) -> int | None:
    """Return a number without a fraction as an integer, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        return None
    return int(value)


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a JSON value is a number, finite and of a size that an image can have."""
    return isinstance(value, int | float) and -_LARGEST < value < _LARGEST
