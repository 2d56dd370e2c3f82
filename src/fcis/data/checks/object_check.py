"""One object, as a file holds it -> `Annotation`, and what was wrong with it.

The mask is what counts: boxes and areas that disagree with it are taken from it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from fcis.core.masks import RLE, mask_from_rle, rle_area, rle_box, rle_from_mask
from fcis.data.checks import limits
from fcis.data.checks.faults import (
    AREA_MASK,
    BAD_ANNOTATION,
    BAD_AREA,
    BAD_BOX,
    BOX_MASK,
    Changed,
    Dropped,
    Problem,
)
from fcis.data.checks.mask_check import check_mask
from fcis.data.checks.raw import RawObject, Size
from fcis.data.dataset import Annotation, Polygons
from fcis.data.formats.json_values import is_number

Box = tuple[float, float, float, float]
_NOTHING: frozenset[str] = frozenset()


class ObjectCheck(NamedTuple):
    """What came of an object.

    Attributes:
        annotation: one that can be used, with the category that was given; None if there is none.
        problems: what was wrong.
        changed: the fields of a COCO file that differ in the annotation.
        rle: its mask, unless the check was a quick one.
    """

    annotation: Annotation | None
    problems: Sequence[Problem]
    changed: frozenset[str] = _NOTHING
    rle: RLE | None = None


def check_object(
    raw: RawObject, category_id: int, size: Size, *, is_quick: bool = False
) -> ObjectCheck:
    """Return what is wrong with an object of an image, and one without that.

    Args:
        raw: the object.
        category_id: its category, which is known.
        size: (height, width) of the image.
        is_quick: look only for what no training could use.
    """
    if raw.problems and any(isinstance(problem.fix, Dropped) for problem in raw.problems):
        return ObjectCheck(None, raw.problems)
    mask, found = check_mask(raw.segmentation, *size, is_quick=is_quick)
    box, area = read_box(raw.bbox, *size), read_area(raw.area)
    is_crowd, rle = raw.is_crowd == 1, None
    if mask is not None and (not is_quick or not area or box is None):
        rle = mask.encode() if isinstance(mask, Polygons) else mask
        if not is_quick and not is_crowd:
            box, area = _compared_box(box, raw.bbox, rle), _compared_area(area, rle)
    problems, changed = raw.problems, _NOTHING
    is_bad = isinstance(box, Problem) or isinstance(area, Problem)
    if found or is_bad or raw.is_crowd not in (0, 1):
        fields = _faulty(raw.is_crowd, box, area, found, has_mask=mask is not None)
        problems = (*raw.problems, *(problem for each in fields.values() for problem in each))
        changed = frozenset(fields)
    if mask is None or (is_quick and problems):
        return ObjectCheck(None, problems)
    if rle is not None:
        box = box if isinstance(box, tuple) else rle_box(rle)
        area = area if isinstance(area, float) and area else float(rle_area(rle))
    assert isinstance(box, tuple) and isinstance(area, float)
    annotation = Annotation(
        id=raw.id, category_id=category_id, box=box, mask=mask, area=area, is_crowd=is_crowd
    )
    return ObjectCheck(annotation, problems, changed, rle)


def _faulty(
    is_crowd: object,
    box: Box | Problem | None,
    area: float | Problem,
    mask: Sequence[Problem],
    *,
    has_mask: bool,
) -> dict[str, Sequence[Problem]]:
    """Return the fields of a COCO file that have problems, with these."""
    fields: dict[str, Sequence[Problem]] = {}
    if is_crowd not in (0, 1):
        text, fix = f"has 'iscrowd' {is_crowd!r}", Changed("'iscrowd' set to 0")
        fields["iscrowd"] = (Problem(BAD_ANNOTATION, text, "use 0 or 1", fix),)
    for field, name, value in (("bbox", "box", box), ("area", "area", area)):
        if isinstance(value, Problem):
            fix = Changed(f"{name} taken from the mask") if has_mask else Dropped()
            fields[field] = (replace(value, fix=fix),)
    if mask:
        fields["segmentation"] = mask
    return fields


def read_box(bbox: object, height: int, width: int) -> Box | Problem | None:
    """Return a COCO box (x, y, width, height) as (x0, y0, x1, y1), clipped to its image.

    None stands for none, which comes from the mask.
    """
    if bbox is None:
        return None
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_number, bbox)):
        return Problem(BAD_BOX, f"has the box {bbox!r}", "use [x, y, width, height]")
    x, y, w, h = (float(value) for value in bbox)
    remedy = "correct or remove the annotation"
    if w <= 0 or h <= 0:
        text = f"has the box {bbox}, whose width or height is not positive"
        return Problem(BAD_BOX, text, remedy, is_empty=min(w, h) == 0)
    x0, y0 = max(x, 0.0), max(y, 0.0)
    x1, y1 = min(x + w, float(width)), min(y + h, float(height))
    passes = max(-x, -y, x + w - width, y + h - height)
    if passes > limits.BOX_PASSES or x0 >= x1 or y0 >= y1:
        text = f"has the box {bbox}, which lies outside the image of {width} x {height}"
        return Problem(BAD_BOX, f"{text} (width x height)", remedy)
    return x0, y0, x1, y1


def read_area(area: object) -> float | Problem:
    """Return the stated area in pixels; 0 stands for none, which comes from the mask."""
    if area is None:
        return 0.0
    if not is_number(area) or area < 0:
        return Problem(BAD_AREA, f"has the area {area!r}", "correct it or leave it out")
    return float(area)


def rescaled(annotation: Annotation, size: Size, new: Size) -> Annotation:
    """Return an object of an image of one (height, width) for the same image of another."""
    down, across = (after / before for after, before in zip(new, size, strict=True))
    mask = annotation.mask
    if isinstance(mask, Polygons):
        parts = (part * np.tile([across, down], len(part) // 2) for part in mask.parts)
        mask = Polygons(parts=tuple(parts), height=new[0], width=new[1])
    else:
        bits = Image.fromarray(mask_from_rle(mask))
        resized = bits.resize((new[1], new[0]), Image.Resampling.NEAREST)
        mask = rle_from_mask(np.asarray(resized, dtype=bool))
    x0, y0, x1, y1 = annotation.box
    box = (x0 * across, y0 * down, x1 * across, y1 * down)
    return replace(annotation, mask=mask, box=box, area=annotation.area * down * across)


def _compared_box(box: Box | Problem | None, bbox: object, rle: RLE) -> Box | Problem | None:
    """Return a box that agrees with the mask, or in what it does not."""
    if not isinstance(box, tuple):
        return box
    tight = rle_box(rle)
    off = max(abs(a - b) for a, b in zip(box, tight, strict=True))
    iou = _iou(box, tight)
    if iou >= limits.LEAST_BOX_IOU or off <= limits.BOX_DIFFERS:
        return box
    x0, y0, x1, y1 = tight
    around = [x0, y0, x1 - x0, y1 - y0]
    text = f"has the box {bbox}, but the one around its mask is {around} (IoU {iou:.2f})"
    return Problem(BOX_MASK, text)


def _compared_area(area: float | Problem, rle: RLE) -> float | Problem:
    """Return an area that agrees with the mask, or in what it does not."""
    if isinstance(area, Problem) or area == 0:
        return area
    pixels = rle_area(rle)
    x0, y0, x1, y1 = rle_box(rle)
    if abs(area - pixels) <= limits.AREA_DIFFERS * pixels + (x1 - x0) + (y1 - y0):
        return area
    return Problem(AREA_MASK, f"has the area {area:g}, but its mask has {pixels} pixels")


def _iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes with an area."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (both - shared)
