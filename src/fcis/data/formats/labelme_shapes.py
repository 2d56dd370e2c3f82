"""The shapes of a LabelMe file -> one `RawObject` an object.

Knows nothing of files and images but their names and sizes.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float64

from fcis.core.coco_types import ImageId
from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of
from fcis.core.masks import MaskCrop, rle_from_crop, rle_union
from fcis.data.checks.faults import (
    BAD_ANNOTATION,
    BAD_POLYGON,
    DAMAGED_RLE,
    FAR_POLYGON,
    NAN_COORDINATES,
    RLE_SIZE,
    SHORT_POLYGON,
    UNKNOWN_CATEGORY,
    Problem,
)
from fcis.data.checks.raw import RawObject
from fcis.data.dataset import Polygons
from fcis.data.formats.bounds import far_outside
from fcis.data.formats.json_values import is_number, short
from fcis.imaging.reading import MAX_PIXELS, decode, open_bytes

CROWD = "crowd"
"""The flag of a shape that holds several objects which were not told apart."""

_POINTS = {"polygon": "3 or more", "rectangle": "2", "circle": "2", "mask": "2"}
_FEWEST_CORNERS, _MOST_CORNERS = 16, 720  # of the polygon that stands for a circle


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """One shape, checked.

    Attributes:
        where: the file and the shape, for messages.
        number: its place in the file, from 1.
        label: its class.
        group: what shapes of one object have in common, None for an object of its own.
        is_crowd: it holds several objects.
        points: where it was drawn, x0, y0, x1, y1, ... in pixels; None if nowhere.
        outline: x0, y0, x1, y1, ... in pixels; None if it is a mask.
        crop: a mask; None if it is an outline.
        problems: what is wrong with it; if anything is, it has no shape.
    """

    where: str
    number: int
    label: str
    group: int | str | None = None
    is_crowd: bool = False
    points: Float64[np.ndarray, " value"] | None = None
    outline: Float64[np.ndarray, " coordinate"] | None = None
    crop: MaskCrop | None = None
    problems: tuple[Problem, ...] = ()


def read_shape(path: Path, number: int, entry: object) -> Shape:
    """Return the shape of an entry of `shapes`, rectangles and circles as polygons."""
    where = f"{path}: shape number {number}"
    label = entry.get("label") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(label, str):
        problem = Problem(UNKNOWN_CATEGORY, "has no 'label'", "name its class in LabelMe")
        return Shape(where=where, number=number, label="", problems=(problem,))
    shape = Shape(where=f"{where} ({label!r})", number=number, label=label)
    kind = entry.get("shape_type") or "polygon"  # old files do not say
    if not isinstance(kind, str) or kind not in _POINTS:
        remedy = f"objects are {', '.join(_POINTS)}: redraw or remove it"
        problem = Problem(BAD_ANNOTATION, f"is of the kind {short(kind)}", remedy)
        return replace(shape, problems=(problem,))
    points = _points(kind, entry.get("points"))
    if isinstance(points, Problem):
        return replace(shape, problems=(points,))
    crop = _crop(points, entry) if kind == "mask" else None
    if isinstance(crop, Problem):
        return replace(shape, problems=(crop,))
    flags, group = entry.get("flags"), entry.get("group_id")
    return replace(
        shape,
        group=group if isinstance(group, int | str) else None,
        is_crowd=isinstance(flags, dict) and flags.get(CROWD) is True,
        points=points.ravel(),
        outline=None if kind == "mask" else _outline(kind, points),
        crop=crop,
    )


def join_shapes(
    shapes: Sequence[Shape], size: tuple[int, int], *, id: ImageId, category_id: object
) -> RawObject:
    """Return the object that is the union of shapes.

    Args:
        shapes: at least one, of one label.
        size: (height, width) of the image.
        id: of the object.
        category_id: of the object.
    """
    height, width = size
    where, problems = shapes[0].where, shapes[0].problems
    for shape in shapes:
        if not problems and not _is_inside(shape, size):
            text = f"lies outside the image of {width} x {height} pixels (width x height)"
            remedy = "correct or remove it, or use the image it was drawn on"
            where, problems = shape.where, (Problem(FAR_POLYGON, text, remedy),)
    parts = [shape.outline for shape in shapes if shape.outline is not None]
    segmentation: object = parts
    if not problems and len(parts) < len(shapes):
        masks = [rle_from_crop(s.crop, height, width) for s in shapes if s.crop is not None]
        if parts:
            masks.append(Polygons(parts=tuple(parts), height=height, width=width).encode())
        segmentation = rle_union(masks)
    return RawObject(
        where=where,
        id=id,
        category_id=category_id,
        segmentation=segmentation,
        is_crowd=int(any(shape.is_crowd for shape in shapes)),
        problems=problems,
    )


def _is_inside(shape: Shape, size: tuple[int, int]) -> bool:
    """Return whether a shape was drawn on the image; a circle may pass its border."""
    if shape.points is None or far_outside(shape.points, size):
        return False
    if (crop := shape.crop) is None:
        return True
    bottom, right = crop.top + crop.bits.shape[0], crop.left + crop.bits.shape[1]
    return crop.top >= 0 and crop.left >= 0 and bottom <= size[0] and right <= size[1]


def _points(kind: str, points: object) -> Float64[np.ndarray, "point 2"] | Problem:
    pairs = points if isinstance(points, list) else []
    are_pairs = all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    are_numbers = are_pairs and all(is_number(value) for pair in pairs for value in pair)
    enough = len(pairs) >= 3 if kind == "polygon" else len(pairs) == 2
    if are_numbers and enough:
        return np.array(pairs, dtype=np.float64)
    remedy = f"a {kind} takes {_POINTS[kind]}: redraw or remove it"
    if are_numbers:
        return Problem(SHORT_POLYGON, f"has {len(pairs)} points", remedy)
    is_nan = are_pairs and all(isinstance(v, int | float) for pair in pairs for v in pair)
    kind_of_fault = NAN_COORDINATES if is_nan else BAD_POLYGON
    return Problem(kind_of_fault, "has points that are not pairs of numbers", remedy)


def _outline(kind: str, points: Float64[np.ndarray, "point 2"]) -> Float64[np.ndarray, " value"]:
    if kind == "polygon":
        return points.ravel()
    (x0, y0), (x1, y1) = points.tolist()
    if kind == "rectangle":
        return np.array([x0, y0, x1, y0, x1, y1, x0, y1])
    radius = math.hypot(x1 - x0, y1 - y0)  # the centre, and a point of the circle
    corners = min(max(_FEWEST_CORNERS, math.ceil(2 * math.pi * radius)), _MOST_CORNERS)
    angles = np.arange(corners) * (2 * np.pi / corners)
    circle = np.stack([x0 + radius * np.cos(angles), y0 + radius * np.sin(angles)], axis=1)
    return circle.ravel()


def _crop(points: Float64[np.ndarray, "2 2"], entry: Mapping[str, object]) -> MaskCrop | Problem:
    """Return the mask of a shape, a PNG between two corners that both belong to it."""
    left, top = np.rint(points.min(axis=0)).astype(int).tolist()
    right, bottom = np.rint(points.max(axis=0)).astype(int).tolist()
    expected = (right - left + 1, bottom - top + 1)
    try:
        with guarded(_unreadable):
            data = base64.b64decode(cast(str, entry.get("mask")))
        with open_bytes(data, "mask") as image:
            if image.size == expected:
                decode(image, MAX_PIXELS, "mask")
                with guarded(_unreadable):
                    bits = np.asarray(image.convert("L")) != 0
                return MaskCrop(top=top, left=left, bits=bits)
            (width, height), (across, down) = image.size, expected
    except InputError:
        return Problem(DAMAGED_RLE, "holds no mask that can be read", "redraw or remove it")
    text = f"holds a mask of {width} x {height} pixels, but its corners are {across} x {down} apart"
    return Problem(RLE_SIZE, text, "redraw or remove it")


def _unreadable(error: Exception) -> InputError:
    return InputError(f"mask: {reason_of(error)}")
