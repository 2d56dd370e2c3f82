"""One object's mask, as a file holds it -> what is wrong with it, and a mask without that.

Every fault is found, not only the first, and nothing is raised. Texts complete a sentence that
begins with the object. Outlines stay outlines; encoding them all takes longer than all the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from fcis.core.masks import RLE, rle_area, rle_from_counts
from fcis.data.checks import limits
from fcis.data.checks.faults import (
    BAD_POLYGON,
    DAMAGED_RLE,
    EMPTY_MASK,
    FAR_POLYGON,
    FLAT_POLYGON,
    NAN_COORDINATES,
    NO_MASK,
    NORMALISED_POLYGON,
    ODD_POLYGON,
    OUTSIDE_MASK,
    RLE_SIZE,
    SHORT_POLYGON,
    Changed,
    Dropped,
    Problem,
)
from fcis.data.dataset import Polygons
from fcis.data.formats.json_values import is_flat, whole_number

_REMOVED = Changed("outline removed")
_NOT_FINITE = Problem(NAN_COORDINATES, "has a polygon with NaN or infinite values")
_NO_PIXEL = Problem(
    EMPTY_MASK, "has a mask without a pixel", "remove the annotation", is_empty=True
)
_Points = Float64[np.ndarray, " _"]  # x0, y0, x1, y1, ...; their lengths differ
_Extent = tuple[float, float, float, float]  # x0, y0, x1, y1


class MaskCheck(NamedTuple):
    """What came of a mask: one that can be used, None if there is none, and what was wrong."""

    mask: RLE | Polygons | None
    problems: Sequence[Problem] = ()


def check_mask(segmentation: object, height: int, width: int, *, is_quick: bool) -> MaskCheck:
    """Return what is wrong with a mask of an image of that size, and a good one in its place.

    Args:
        segmentation: outlines or an encoding, see `RawObject`.
        height: of the image.
        width: of the image.
        is_quick: look only for what no training could use.
    """
    if isinstance(segmentation, dict):
        mask = _encoded(segmentation, height, width)
        return MaskCheck(None, (mask,)) if isinstance(mask, Problem) else MaskCheck(mask)
    if not isinstance(segmentation, list) or not segmentation:
        text, remedy = "has no 'segmentation'", "masks are needed, boxes alone are not enough"
        return MaskCheck(None, (Problem(NO_MASK, text, remedy),))
    problems: list[Problem] = []
    if isinstance(segmentation[0], int | float) and is_flat(segmentation):
        problems.append(_not_polygons(Changed("put into a list")))
        segmentation = [segmentation]
    parts, extents = _polygons(segmentation, problems, is_quick=is_quick)
    if not is_quick and parts and _is_normalised(extents, height, width):
        text = f"has all its coordinates within 0..1 in an image of {width} x {height} pixels"
        fix = Changed("multiplied by the image's size")
        problems.append(Problem(NORMALISED_POLYGON, text, fix=fix))
        parts = [part * np.tile([width, height], len(part) // 2) for part in parts]
        extents = [_extent(part) for part in parts]
    parts, extents = _placed(parts, extents, (height, width), problems, is_quick=is_quick)
    if problems and any(isinstance(problem.fix, Dropped) for problem in problems):
        return MaskCheck(None, problems)
    polygons = Polygons(parts=tuple(parts), height=height, width=width)
    if _is_empty(polygons, extents):
        text = "has outlines without a pixel of the image in them"
        problems.append(Problem(EMPTY_MASK, text, "remove the annotation", is_empty=True))
        return MaskCheck(None, problems)
    return MaskCheck(polygons, problems)


def _not_polygons(fix: Changed | Dropped) -> Problem:
    text = "has a 'segmentation' that is not a list of polygons, each a list of numbers"
    return Problem(BAD_POLYGON, text, fix=fix)


def _polygons(
    segmentation: Iterable[object], problems: list[Problem], *, is_quick: bool
) -> tuple[list[_Points], list[_Extent]]:
    """Return the outlines that are some, with their extents, noting what is wrong with others.

    One without an area can be left out of an object. A damaged one cannot: the object would lose
    a part.
    """
    parts: list[_Points] = []
    extents: list[_Extent] = []
    for part in segmentation:
        points = _points(part, is_quick=is_quick)
        if isinstance(points, Problem):
            problems.append(points)
        elif len(points) % 2:
            text = f"has a polygon of an odd number of values ({len(points)})"
            problems.append(Problem(ODD_POLYGON, text, "use x, y pairs"))
        elif len(points) < limits.FEWEST_VALUES:
            text = f"has a polygon of {len(points) // 2} points"
            remedy = "it takes 3 or more: correct or remove it"
            problems.append(Problem(SHORT_POLYGON, text, remedy, _REMOVED))
        else:
            extent = _extent(points)
            if isfinite(sum(extent)):
                parts.append(points)
                extents.append(extent)
            else:  # null is NaN to numpy
                is_null = isinstance(part, list) and None in part
                problems.append(_not_polygons(Dropped()) if is_null else _NOT_FINITE)
    return parts, extents


def _points(part: object, *, is_quick: bool) -> _Points | Problem:
    """Return the values of one outline, or why they are none."""
    if isinstance(part, np.ndarray):
        return part
    if isinstance(part, list) and (is_quick or is_flat(part)):
        try:
            points = np.array(part, dtype=np.float64)
        except OverflowError:
            return _NOT_FINITE
        except (TypeError, ValueError):
            return _not_polygons(Dropped())
        if points.ndim == 1:
            return points
    return _not_polygons(Dropped())


def _extent(points: _Points) -> _Extent:
    """Return the box (x0, y0, x1, y1) around a polygon."""
    x, y = points[0::2], points[1::2]
    low, high = np.minimum.reduce, np.maximum.reduce
    return float(low(x)), float(low(y)), float(high(x)), float(high(y))


def _placed(
    parts: Sequence[_Points],
    extents: Sequence[_Extent],
    size: tuple[int, int],
    problems: list[Problem],
    *,
    is_quick: bool,
) -> tuple[list[_Points], list[_Extent]]:
    """Return outlines that have an area and lie on the image, noting what was wrong with others."""
    height, width = size
    placed: list[_Points] = []
    around: list[_Extent] = []
    for part, extent in zip(parts, extents, strict=True):
        x0, y0, x1, y1 = extent
        far_x, far_y = limits.FAR * width, limits.FAR * height
        if x0 < -far_x or y0 < -far_y or x1 > width + far_x or y1 > height + far_y:
            text = (
                f"has a polygon far outside the image of {width} x {height} (width x height), "
                f"{_from_to(extent)}"
            )
            problems.append(Problem(FAR_POLYGON, text, "correct or remove the annotation"))
            continue
        # at most so many edges of at most so much; hardly any outline has to be measured
        if len(part) * (x1 - x0 + y1 - y0) > limits.LONGEST_OUTLINE and (
            (length := _length(part.reshape(-1, 2))) > limits.LONGEST_OUTLINE
        ):
            text = f"has a polygon whose edges are {length:g} px long in all"
            problems.append(Problem(BAD_POLYGON, text, "correct or remove the annotation"))
            continue
        if not is_quick and _is_line(part.reshape(-1, 2)):
            text = f"has a flat polygon {_from_to(extent)}"
            problems.append(Problem(FLAT_POLYGON, text, fix=_REMOVED))
            continue
        if not is_quick and max(-x0, -y0, x1 - width, y1 - height) > limits.OUTLINE_PASSES:
            text = f"has a polygon {_from_to(extent)} in an image of {width} x {height}"
            problems.append(Problem(OUTSIDE_MASK, text, fix=Changed("cut at the border")))
            points = _clipped(part.reshape(-1, 2), height, width)
            if len(points) < 3 or _is_line(points):
                continue
            part = points.ravel()
            extent = _extent(part)
        placed.append(part)
        around.append(extent)
    return placed, around


def _from_to(extent: _Extent) -> str:
    x0, y0, x1, y1 = extent
    return f"from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g})"


def _is_empty(polygons: Polygons, extents: Sequence[_Extent]) -> bool:
    """Tell whether outlines enclose nothing, or no pixel of the image."""
    is_inside, is_flat = True, True
    twice_area, side = 0.0, 0.0
    for points, (x0, y0, x1, y1) in zip(polygons.parts, extents, strict=True):
        is_inside &= x0 >= 0 and y0 >= 0 and x1 <= polygons.width and y1 <= polygons.height
        is_flat &= x0 == x1 or y0 == y1
        # the shoelace formula; loops of opposite sense only lower it
        x, y = points[0::2], points[1::2]
        open_sum = x[:-1].dot(y[1:]) - y[:-1].dot(x[1:])
        twice_area += abs(open_sum + x[-1] * y[0] - y[-1] * x[0])
        side += max(x1 - x0, y1 - y0)
    if is_flat:
        return True  # though the COCO API would give a pixel to a point
    is_thick = twice_area >= 2 * limits.THICK * side
    return not (is_thick and is_inside) and rle_area(polygons.encode()) == 0


def _is_normalised(extents: Sequence[_Extent], height: int, width: int) -> bool:
    """Tell whether coordinates are fractions of the image."""
    return min(height, width) > limits.UNITLESS_SIDE and all(
        min(x0, y0) >= 0 and max(x1, y1) <= limits.UNIT for x0, y0, x1, y1 in extents
    )


def _length(points: Float64[np.ndarray, "_ 2"]) -> float:
    """Return the length of all edges, the longer of across and down of each."""
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _is_line(points: Float64[np.ndarray, "_ 2"]) -> bool:
    """Tell whether all points are on one line."""
    arms = points - points[0]
    longest = arms[np.abs(arms).sum(axis=1).argmax()]
    cross = arms[:, 0] * longest[1] - arms[:, 1] * longest[0]
    return bool((np.abs(cross) < limits.STRAIGHT).all())


def _clipped(
    points: Float64[np.ndarray, "_ 2"], height: int, width: int
) -> Float64[np.ndarray, "_ 2"]:
    """Return what of a polygon is in the image, after Sutherland and Hodgman.

    A polygon that leaves the image and comes back stays one, joined along the border.
    """
    for axis, bound, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        kept: list[Float64[np.ndarray, " 2"]] = []
        for start, end in zip(np.roll(points, 1, axis=0), points, strict=True):
            a, b = sign * (start[axis] - bound), sign * (end[axis] - bound)
            if (a < 0) != (b < 0):
                kept.append(start + (end - start) * (a / (a - b)))
            if b >= 0:
                kept.append(end)
        points = np.array(kept, dtype=np.float64).reshape(-1, 2)
    return points


def _encoded(segmentation: Mapping[str, object], height: int, width: int) -> RLE | Problem:
    """Return the mask of a run-length encoding, compressed or not."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        text = f"has an RLE of size {size!r}, but the image is [{height}, {width}] (height, width)"
        return Problem(RLE_SIZE, text, "correct or remove the annotation")
    if isinstance(counts, bytes):  # made by a reader
        rle = RLE(size=[height, width], counts=counts)
        return rle if rle_area(rle) else _NO_PIXEL
    runs = None
    if isinstance(counts, str):
        runs = _decompressed(counts)
    elif isinstance(counts, list) and all(whole_number(run) is not None for run in counts):
        runs = [int(run) for run in counts]
    if not runs or min(runs) < 0 or sum(runs) != height * width:
        text = "has an RLE whose runs do not add up to the pixels of the image"
        return Problem(DAMAGED_RLE, text, "export it again or remove the annotation")
    if not any(runs[1::2]):
        return _NO_PIXEL
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
        if not 0 <= bits < 64 or shift >= limits.LONGEST_RUN_BITS:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return None if shift else runs
