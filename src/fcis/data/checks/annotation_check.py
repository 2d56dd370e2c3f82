"""One annotation, as JSON holds it -> what is wrong with it, and the annotation without that.

The mask is what counts: boxes and areas that disagree with it are taken from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fcis.core.coco_types import ImageId
from fcis.core.masks import RLE, rle_area, rle_box
from fcis.data.checks.faults import AREA_MASK, BAD_ANNOTATION, BAD_AREA, BAD_BOX, BOX_MASK, Issue
from fcis.data.checks.mask_check import check_mask, rescaled
from fcis.data.formats.coco_masks import Problem, read_area, read_box

_LEAST_BOX_IOU = 0.7
_BOX_TOLERANCE = 2.0  # px a side; small boxes have a low IoU from rounding alone
_AREA_TOLERANCE = 0.1  # beside what half the outline's pixels make

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What an image is to its annotations.

    Attributes:
        id: the image's.
        file_name: as in the dataset.
        size: (height, width) in a corrected copy.
        stated: (height, width) that the masks were made for.
        index: of its entry in the dataset.
        is_kept: whether a corrected copy has it.
        unturned: whether a corrected copy has it without the file's EXIF rotation.
    """

    id: ImageId
    file_name: str
    size: tuple[int, int]
    stated: tuple[int, int]
    index: int
    is_kept: bool = True
    unturned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of an annotation.

    Attributes:
        entry: for a corrected copy; None if it is dropped.
        rle: its mask; None if it is dropped.
        issues: what was wrong.
    """

    entry: Mapping[str, object] | None
    rle: RLE | None
    issues: tuple[Issue, ...]


def check_annotation(entry: Mapping[str, object], frame: Frame) -> Checked:
    """Return what is wrong with mask, box, area and crowd flag of an annotation of an image.

    An entry without faults comes back as it is, but for the sizes of an image that changed.
    """
    height, width = frame.size
    changed = dict(entry)
    if frame.stated != frame.size:
        changed = _rescaled_entry(changed, frame)
    issues: list[Issue] = []
    if changed.get("iscrowd", 0) not in (0, 1):
        text = f"has 'iscrowd' {changed['iscrowd']!r}"
        issues.append(Issue(BAD_ANNOTATION, text, "'iscrowd' set to 0"))
        changed["iscrowd"] = 0
    mask = check_mask(changed.get("segmentation"), height, width)
    issues += mask.issues
    changed["segmentation"] = mask.segmentation
    is_crowd = changed.get("iscrowd") == 1
    tight = rle_box(mask.rle) if mask.rle else None
    issue = _check_box(changed.get("bbox"), tight, is_crowd, height, width)
    if issue:
        issues.append(issue)
        x0, y0, x1, y1 = tight or (0.0, 0.0, 0.0, 0.0)
        changed["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    issue = _check_area(changed.get("area"), mask.rle, is_crowd)
    if issue:
        issues.append(issue)
        changed["area"] = rle_area(mask.rle) if mask.rle else 0
    if "segmentation" not in entry:
        del changed["segmentation"]
    return Checked(entry=changed if mask.rle else None, rle=mask.rle, issues=tuple(issues))


def _check_box(
    bbox: object, tight: Box | None, is_crowd: bool, height: int, width: int
) -> Issue | None:
    """Return what is wrong with a box; None stands for none, which comes from the mask."""
    repair = "box taken from the mask" if tight else "dropped"
    try:
        box = read_box("", bbox, height, width)
    except Problem as problem:
        return Issue(BAD_BOX, str(problem).partition(";")[0].strip(), repair)
    if box is None or tight is None or is_crowd:
        return None
    off = max(abs(a - b) for a, b in zip(box, tight, strict=True))
    iou = _iou(box, tight)
    if iou >= _LEAST_BOX_IOU or off <= _BOX_TOLERANCE:
        return None
    x0, y0, x1, y1 = tight
    around = [x0, y0, x1 - x0, y1 - y0]
    text = f"has the box {bbox}, but the one around its mask is {around} (IoU {iou:.2f})"
    return Issue(BOX_MASK, text, repair)


def _check_area(area: object, rle: RLE | None, is_crowd: bool) -> Issue | None:
    """Return what is wrong with an area; none, or 0, comes from the mask."""
    repair = "area taken from the mask" if rle else "dropped"
    try:
        stated = read_area("", area)
    except Problem as problem:
        return Issue(BAD_AREA, str(problem).partition(";")[0].strip(), repair)
    if rle is None or stated == 0 or is_crowd:
        return None
    pixels = rle_area(rle)
    x0, y0, x1, y1 = rle_box(rle)
    # outlines enclose up to half a pixel less or more all around than the pixels they are drawn as
    if abs(stated - pixels) <= _AREA_TOLERANCE * pixels + (x1 - x0) + (y1 - y0):
        return None
    return Issue(AREA_MASK, f"has the area {area}, but its mask has {pixels} pixels", repair)


def _rescaled_entry(entry: Mapping[str, object], frame: Frame) -> dict[str, object]:
    """Return an annotation for its image in another size."""
    down, across = (new / old for new, old in zip(frame.size, frame.stated, strict=True))
    changed = dict(entry)
    if "segmentation" in entry:
        changed["segmentation"] = rescaled(entry["segmentation"], frame.stated, frame.size)
    # what is no box or area is left for the checks to find
    bbox, area = entry.get("bbox"), entry.get("area")
    if isinstance(bbox, list) and all(isinstance(v, int | float) for v in bbox):
        changed["bbox"] = [v * (down if i % 2 else across) for i, v in enumerate(bbox)]
    if isinstance(area, int | float):
        changed["area"] = area * down * across
    return changed


def _iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes with an area."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (both - shared)
