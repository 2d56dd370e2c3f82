"""One annotation's mask, as JSON holds it -> what is wrong with it, and a mask without that.

Every fault is found, not only the first. Texts complete a sentence that begins with the
annotation. Nothing is raised for bad values; they are what is looked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Bool, Float64
from PIL import Image

from fcis.core.masks import RLE, mask_from_rle, rle_area, rle_from_mask, rle_from_polygons
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
    Issue,
)
from fcis.data.formats.coco_masks import Problem, is_number, read_mask

DROPPED = "dropped"

_Points = Float64[np.ndarray, "_ 2"]  # outlines of one object differ in length
_BORDER_TOLERANCE = 1.0  # px; tools differ in whether the last pixel ends at width or width - 1
_UNIT = 1.001  # fractions may pass 1 by rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskCheck:
    """What came of a mask.

    Attributes:
        segmentation: the mask for a corrected copy; what was given if that is good.
        rle: the same encoded; None if the annotation must be dropped.
        issues: what was wrong.
    """

    segmentation: object
    rle: RLE | None
    issues: tuple[Issue, ...] = ()


def check_mask(segmentation: object, height: int, width: int) -> MaskCheck:
    """Return what is wrong with a mask of an image of that size, and a good one in its place."""
    if isinstance(segmentation, dict):
        return _check_rle(cast(Mapping[str, object], segmentation), height, width)
    if not isinstance(segmentation, list) or not segmentation:
        return _lost(segmentation, [Issue(NO_MASK, "has no 'segmentation'", DROPPED)])
    return _check_polygons(segmentation, height, width)


def rescaled(segmentation: object, stated: tuple[int, int], size: tuple[int, int]) -> object:
    """Return a mask of an image of one (height, width) for the same image of another.

    What cannot be read as a mask of the first size is returned as it is.
    """
    factors = (size[1] / stated[1], size[0] / stated[0])
    if isinstance(segmentation, list):
        return [_scaled(part, factors) if _is_flat(part) else part for part in segmentation]
    try:
        mask = read_mask("", segmentation, *stated)
    except Problem:
        return segmentation
    bits = Image.fromarray(mask_from_rle(cast(RLE, mask)))
    resized = bits.resize((size[1], size[0]), Image.Resampling.NEAREST)
    return _json_rle(np.asarray(resized, dtype=bool))


def numbers_of(part: object) -> Sequence[float]:
    """Return the finite numbers of an outline, none if it is something else."""
    if not _is_flat(part):
        return ()
    return [float(v) for v in cast(list[float], part) if is_number(v)]


def _lost(segmentation: object, issues: Sequence[Issue]) -> MaskCheck:
    return MaskCheck(segmentation=segmentation, rle=None, issues=tuple(issues))


def _check_rle(segmentation: Mapping[str, object], height: int, width: int) -> MaskCheck:
    """Check a run-length encoding; there is no repair."""
    try:
        mask = read_mask("", segmentation, height, width)
    except Problem as problem:
        kind = EMPTY_MASK if problem.is_empty else DAMAGED_RLE
        if segmentation.get("size") != [height, width]:
            kind = RLE_SIZE
        text = str(problem).partition(";")[0].strip()
        return _lost(segmentation, [Issue(kind, text, DROPPED)])
    return MaskCheck(segmentation=segmentation, rle=cast(RLE, mask))


def _check_polygons(segmentation: list[object], height: int, width: int) -> MaskCheck:
    """Check outlines: first their form, then where they are, then what they enclose."""
    issues: list[Issue] = []
    if _is_flat(segmentation):
        issues.append(Issue(BAD_POLYGON, "has an outline outside of a list", "put into a list"))
        segmentation = [segmentation]
    parts: list[_Points] = []
    for part in segmentation:
        issue = _form_of(part)
        if issue is None:
            parts.append(np.array(part, dtype=np.float64).reshape(-1, 2))
        else:
            issues.append(issue)
    if any(issue.repair == DROPPED for issue in issues):
        return _lost(segmentation, issues)
    if parts and _is_normalised(parts, height, width):
        parts = [part * (width, height) for part in parts]
        text = f"has all its coordinates within 0..1 in an image of {width} x {height} pixels"
        issues.append(Issue(NORMALISED_POLYGON, text, "multiplied by the image's size"))
    placed, more = _placed(parts, height, width)
    issues += more
    if placed is None:
        return _lost(segmentation, issues)
    return _enclosed(segmentation, placed, issues, height, width)


def _form_of(part: object) -> Issue | None:
    """Return what is wrong with the values of one outline.

    An outline without an area can be left out of an object. A damaged one cannot: the object
    would lose a part.
    """
    if not _is_flat(part):
        return Issue(BAD_POLYGON, f"has the outline {_short(part)}", DROPPED)
    values = cast(list[float], part)
    if not all(map(is_number, values)):
        return Issue(NAN_COORDINATES, "has an outline with NaN or infinite values", DROPPED)
    if len(values) % 2:
        return Issue(ODD_POLYGON, f"has an outline of {len(values)} values", DROPPED)
    if len(values) < 6:
        text = f"has an outline of {len(values) // 2} point{'s' * (len(values) != 2)}"
        return Issue(SHORT_POLYGON, text, "outline removed")
    return None


def _placed(
    parts: Sequence[_Points], height: int, width: int
) -> tuple[list[_Points] | None, list[Issue]]:
    """Return outlines cut to the image, None where they are too far away to be trusted."""
    issues: list[Issue] = []
    placed: list[_Points] = []
    for part in parts:
        (x0, y0), (x1, y1) = part.min(axis=0).tolist(), part.max(axis=0).tolist()
        passes = max(-x0, -y0, x1 - width, y1 - height)
        extent = f"from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) in an image of {width} x {height}"
        # the limits of the reader
        if x0 < -width or y0 < -height or x1 > 2 * width or y1 > 2 * height:
            return None, [Issue(FAR_POLYGON, f"has an outline {extent}", DROPPED)]
        if _is_line(part):
            issues.append(Issue(FLAT_POLYGON, f"has a flat outline {extent}", "outline removed"))
        elif passes > _BORDER_TOLERANCE:
            issues.append(Issue(OUTSIDE_MASK, f"has an outline {extent}", "cut at the border"))
            part = _clipped(part, height, width)
            placed += [part] if len(part) >= 3 and not _is_line(part) else []
        else:
            placed.append(part)
    return placed, issues


def _enclosed(
    segmentation: list[object],
    parts: Sequence[_Points],
    issues: list[Issue],
    height: int,
    width: int,
) -> MaskCheck:
    """Return the outcome for outlines in their place."""
    good = [part.reshape(-1).tolist() for part in parts]
    rle = rle_from_polygons(good, height, width) if good else None
    if rle is None or rle_area(rle) == 0:
        text = "has outlines without a pixel of the image in them"
        return _lost(segmentation, [*issues, Issue(EMPTY_MASK, text, DROPPED)])
    return MaskCheck(segmentation=good if issues else segmentation, rle=rle, issues=tuple(issues))


def _clipped(points: _Points, height: int, width: int) -> _Points:
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


def _is_line(points: _Points) -> bool:
    """Return whether all points are on one line."""
    arms = points - points[0]
    longest = arms[np.abs(arms).sum(axis=1).argmax()]
    cross = arms[:, 0] * longest[1] - arms[:, 1] * longest[0]
    return bool((np.abs(cross) < 1e-9).all())


def _is_normalised(parts: Sequence[_Points], height: int, width: int) -> bool:
    """Return whether coordinates are fractions of the image; one of a few pixels cannot tell."""
    values = np.concatenate(parts)
    return min(height, width) > 2 and bool(values.min() >= 0 and values.max() <= _UNIT)


def _is_flat(part: object) -> bool:
    """Return whether a JSON value is a list of numbers."""
    return isinstance(part, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in part
    )


def _scaled(part: object, factors: tuple[float, float]) -> list[float]:
    return [float(v) * factors[i % 2] for i, v in enumerate(cast(list[float], part))]


def _json_rle(mask: Bool[np.ndarray, "height width"]) -> dict[str, object]:
    """Return a mask as JSON holds it."""
    rle = rle_from_mask(mask)
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
