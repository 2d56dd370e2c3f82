"""The shapes of a LabelMe file -> one `Annotation` an object.

Knows nothing of files and images but their names and sizes.
"""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64
from PIL import Image

from fcis.core.coco_types import ImageId
from fcis.core.errors import InputError
from fcis.core.masks import MaskCrop, crop_from_mask, mask_from_rle
from fcis.data.dataset import Annotation, Polygons
from fcis.data.formats.annotate import annotation_of_crop, annotation_of_polygons, far_outside
from fcis.data.formats.coco_masks import is_number

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
        points: where it was drawn, x0, y0, x1, y1, ... in pixels.
        outline: x0, y0, x1, y1, ... in pixels; None if it is a mask.
        crop: a mask; None if it is an outline.
    """

    where: str
    number: int
    label: str
    group: int | str | None
    is_crowd: bool
    points: Float64[np.ndarray, " value"]
    outline: Float64[np.ndarray, " coordinate"] | None
    crop: MaskCrop | None


def read_shape(path: Path, number: int, entry: object) -> Shape:
    """Return the shape of an entry of `shapes`, rectangles and circles as polygons.

    Raises:
        InputError: not a shape, or one that encloses nothing by its kind.
    """
    where = f"{path}: shape number {number}"
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        raise InputError(f"{where} has no 'label'; name its class in LabelMe")
    where += f" ({entry['label']!r})"
    kind = entry.get("shape_type") or "polygon"  # old files do not say
    if kind not in _POINTS:
        raise InputError(
            f"{where} is of the kind {kind!r}; objects are {', '.join(_POINTS)}: redraw or remove "
            "it"
        )
    points = _points(where, kind, entry.get("points"))
    flags, group = entry.get("flags"), entry.get("group_id")
    is_mask = kind == "mask"
    return Shape(
        where=where,
        number=number,
        label=entry["label"],
        group=group if isinstance(group, int | str) else None,
        is_crowd=isinstance(flags, dict) and flags.get(CROWD) is True,
        points=points.ravel(),
        outline=None if is_mask else _outline(kind, points),
        crop=_crop(where, points, entry) if is_mask else None,
    )


def join_shapes(
    shapes: Sequence[Shape], size: tuple[int, int], *, id: ImageId, category_id: int
) -> Annotation | None:
    """Return the object that is the union of shapes; None if it has no pixel.

    Args:
        shapes: at least one, of one label.
        size: (height, width) of the image.
        id: of the annotation.
        category_id: of the annotation.

    Raises:
        InputError: a shape lies outside the image.
    """
    height, width = size
    for shape in shapes:
        if not _is_inside(shape, size):
            raise InputError(
                f"{shape.where} lies outside the image of {width} x {height} pixels (width x "
                "height); correct or remove it, or use the image it was drawn on"
            )
    is_crowd = any(shape.is_crowd for shape in shapes)
    parts = tuple(shape.outline for shape in shapes if shape.outline is not None)
    polygons = Polygons(parts=parts, height=height, width=width)
    if len(parts) == len(shapes):
        return annotation_of_polygons(polygons, id=id, category_id=category_id, is_crowd=is_crowd)
    mask = mask_from_rle(polygons.encode()) if parts else np.zeros(size, dtype=bool)
    for shape in shapes:
        if (crop := shape.crop) is not None:
            rows, columns = crop.bits.shape
            mask[crop.top : crop.top + rows, crop.left : crop.left + columns] |= crop.bits
    if not mask.any():
        return None
    return annotation_of_crop(
        crop_from_mask(mask), size, id=id, category_id=category_id, is_crowd=is_crowd
    )


def _is_inside(shape: Shape, size: tuple[int, int]) -> bool:
    """Return whether a shape was drawn on the image; a circle may pass its border."""
    if far_outside(shape.points, size):
        return False
    if (crop := shape.crop) is None:
        return True
    bottom, right = crop.top + crop.bits.shape[0], crop.left + crop.bits.shape[1]
    return crop.top >= 0 and crop.left >= 0 and bottom <= size[0] and right <= size[1]


def _points(where: str, kind: str, points: object) -> Float64[np.ndarray, "point 2"]:
    pairs = points if isinstance(points, list) else []
    good = all(isinstance(p, list) and len(p) == 2 and all(map(is_number, p)) for p in pairs)
    enough = len(pairs) >= 3 if kind == "polygon" else len(pairs) == 2
    if not good or not enough:
        count = f"{len(pairs)} points" if good else "points that are not pairs of numbers"
        raise InputError(
            f"{where} has {count}; a {kind} takes {_POINTS[kind]}: redraw or remove it"
        )
    return np.array(pairs, dtype=np.float64)


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


def _crop(where: str, points: Float64[np.ndarray, "2 2"], entry: Mapping[str, object]) -> MaskCrop:
    """Return the mask of a shape, a PNG between two corners that both belong to it."""
    data = entry.get("mask")
    bits = _decoded(data) if isinstance(data, str) else None
    if bits is None:
        raise InputError(f"{where} holds no mask that can be read; redraw or remove it")
    left, top = np.rint(points.min(axis=0)).astype(int).tolist()
    right, bottom = np.rint(points.max(axis=0)).astype(int).tolist()
    expected = (bottom - top + 1, right - left + 1)
    if bits.shape != expected:
        raise InputError(
            f"{where} holds a mask of {bits.shape[1]} x {bits.shape[0]} pixels, but its corners "
            f"are {expected[1]} x {expected[0]} apart; redraw or remove it"
        )
    return MaskCrop(top=top, left=left, bits=bits)


def _decoded(data: str) -> Bool[np.ndarray, "h w"] | None:
    try:
        with Image.open(BytesIO(base64.b64decode(data))) as image:
            return np.asarray(image.convert("L")) != 0
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
