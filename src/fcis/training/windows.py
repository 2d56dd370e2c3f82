"""The part of an image that a training step sees, with its objects, under random changes.

Geometry alone: no file, no recipe, no tensor. Pixels, masks and boxes always move together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int64

from fcis.core.masks import MaskCrop
from fcis.inference.preprocess import sample_window

LEAST_VISIBLE = 0.15  # share of an object that must remain in sight
_INSIDE = 0.5  # share of a pixel from which it counts as the object's
_SLACK = 1.0  # px by which rounding the image's size may leave a box outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which part of an image, at which scale, becomes the network's input.

    Attributes:
        image: (height, width) of the original image.
        factors: resized over original size, (height, width) order.
        corner: (top, left) in pixels of the resized image; negative where the window begins
            outside.
        size: (height, width).
    """

    image: tuple[int, int]
    factors: tuple[float, float]
    corner: tuple[int, int]
    size: tuple[int, int]

    def covered(self, axis: int) -> tuple[int, int]:
        """Return the first row (axis 0) or column (1) inside the image, and the one after all."""
        first = max(0, -self.corner[axis])
        # inside is a pixel whose centre is; the slack is for centres that rounding put on the edge
        end = self.image[axis] * self.factors[axis] - self.corner[axis]
        last = max(first + 1, math.floor(end + 0.5 + 1e-6))
        return min(first, self.size[axis]), min(last, self.size[axis])


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedMask:
    """An object's mask: row `top`, column `left` are its first pixel; values are 0..1."""

    top: int
    left: int
    values: Float32[np.ndarray, "h w"]

    @property
    def inside(self) -> Bool[np.ndarray, "h w"]:
        """Return the pixels that are the object's."""
        return self.values >= _INSIDE

    def tight_box(self) -> Float32[np.ndarray, " 4"]:
        """Return the box of the pixels that are the object's; there must be one."""
        inside = self.inside
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        return np.array(box, dtype=np.float32) + np.array([self.left, self.top] * 2, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a window shows, in its own pixels.

    Attributes:
        levels: colours, 0..255.
        boxes: of the objects.
        labels: of the objects, 1..C, in the same order.
        masks: of the objects, in the same order.
        crowds: boxes of regions whose objects were not told apart.
    """

    levels: Float32[np.ndarray, "h w channel"]
    boxes: Float32[np.ndarray, "object 4"]
    labels: Int64[np.ndarray, " object"]
    masks: tuple[PlacedMask, ...]
    crowds: Float32[np.ndarray, "region 4"]


def whole_window(image: tuple[int, int], factors: tuple[float, float]) -> Window:
    """Return the window that shows all of an image of (height, width)."""
    size = (max(1, round(image[0] * factors[0])), max(1, round(image[1] * factors[1])))
    return Window(image=image, factors=factors, corner=(0, 0), size=size)


def random_crop(window: Window, size: tuple[int, int], rng: np.random.Generator) -> Window:
    """Return a part of (height, width) of a whole window at a random place.

    Along an axis on which the image is shorter, all of it is shown, at a random place too.
    """
    free = [have - wanted for have, wanted in zip(window.size, size, strict=True)]
    top, left = (int(rng.integers(min(0, n), max(0, n) + 1)) for n in free)
    return Window(image=window.image, factors=window.factors, corner=(top, left), size=size)


def window_levels(
    levels: Float32[np.ndarray, "height width channel"], window: Window, fill: tuple[float, ...]
) -> Float32[np.ndarray, "h w channel"]:
    """Return the window's pixels; those outside the image get the level `fill`."""
    corner = (float(window.corner[0]), float(window.corner[1]))
    shown = sample_window(levels, window.factors, corner, window.size)
    (top, bottom), (left, right) = window.covered(0), window.covered(1)
    if (top, left, bottom, right) == (0, 0, *window.size):
        return shown
    result = np.empty_like(shown)
    result[:] = np.asarray(fill, dtype=np.float32)
    result[top:bottom, left:right] = shown[top:bottom, left:right]
    return result


def move_boxes(boxes: Float32[np.ndarray, "n 4"], window: Window) -> Float32[np.ndarray, "n 4"]:
    """Return boxes of the original image in the window's pixels, not cut to it."""
    factor = np.array([window.factors[1], window.factors[0]] * 2, dtype=np.float32)
    shift = np.array([window.corner[1], window.corner[0]] * 2, dtype=np.float32)
    return boxes * factor - shift


def clip_to_window(boxes: Float32[np.ndarray, "n 4"], window: Window) -> Float32[np.ndarray, "n 4"]:
    """Return what a window leaves of boxes."""
    height, width = window.size
    return np.clip(boxes, 0, np.array([width, height] * 2, dtype=np.float32))


def move_mask(crop: MaskCrop, window: Window) -> PlacedMask | None:
    """Return a mask resized like its image and cut to the window; None if nothing is left.

    Values are bilinear between pixel centres of the original mask, as the release resizes
    whole masks; at the image's border the outermost pixel is repeated.
    """
    height, width = window.image
    rows, columns = crop.bits.shape
    padded = np.pad(crop.bits, 1)
    padded[0] |= padded[1] & (crop.top == 0)
    padded[-1] |= padded[-2] & (crop.top + rows == height)
    padded[:, 0] |= padded[:, 1] & (crop.left == 0)
    padded[:, -1] |= padded[:, -2] & (crop.left + columns == width)
    start, size, corner = [], [], []
    for axis, (first, count) in enumerate(((crop.top, rows), (crop.left, columns))):
        factor, shift = window.factors[axis], window.corner[axis]
        low, high = window.covered(axis)
        low = max(low, int(np.floor((first - 0.5) * factor - shift)))
        high = min(high, int(np.ceil((first + count + 0.5) * factor - shift)))
        if high <= low:
            return None
        start.append(low)
        size.append(high - low)
        corner.append(low + shift - (first - 1) * factor)
    image = padded.astype(np.float32)[:, :, None]
    values = sample_window(image, window.factors, (corner[0], corner[1]), (size[0], size[1]))
    mask = PlacedMask(top=start[0], left=start[1], values=values[:, :, 0])
    return mask if mask.inside.any() else None


def show_objects(
    boxes: Float32[np.ndarray, "object 4"], crops: Sequence[MaskCrop], window: Window
) -> tuple[list[int], Float32[np.ndarray, "shown 4"], tuple[PlacedMask, ...]]:
    """Return which objects a window shows, their boxes and their masks.

    An object counts if at least 0.15 of its box, and a pixel of its mask, is inside. An object
    that the window cuts gets the tight box of what is left of it.

    Args:
        boxes: of the original image.
        crops: the objects' masks, in the same order.
        window: what is shown.
    """
    moved = move_boxes(boxes, window)
    clipped = clip_to_window(moved, window)
    kept, shown, masks = [], [], []
    for i, crop in enumerate(crops):
        sides = clipped[i, 2:] - clipped[i, :2]
        area = float(np.prod(moved[i, 2:] - moved[i, :2]))
        if min(sides) < 1 or sides[0] * sides[1] < LEAST_VISIBLE * area:
            continue
        mask = move_mask(crop, window)
        if mask is None:
            continue
        kept.append(i)
        masks.append(mask)
        cut = np.abs(moved[i] - clipped[i]).max() > _SLACK
        shown.append(mask.tight_box() if cut else clipped[i])
    return kept, np.array(shown, dtype=np.float32).reshape(-1, 4), tuple(masks)


def flipped(view: View) -> View:
    """Return a view with left and right exchanged."""
    width = view.levels.shape[1]
    return replace(
        view,
        levels=view.levels[:, ::-1],
        boxes=_flip_boxes(view.boxes, width),
        masks=tuple(
            PlacedMask(top=m.top, left=width - m.left - m.values.shape[1], values=m.values[:, ::-1])
            for m in view.masks
        ),
        crowds=_flip_boxes(view.crowds, width),
    )


def transposed(view: View) -> View:
    """Return a view with rows and columns exchanged."""
    return replace(
        view,
        levels=view.levels.transpose(1, 0, 2),
        boxes=view.boxes[:, [1, 0, 3, 2]],
        masks=tuple(PlacedMask(top=m.left, left=m.top, values=m.values.T) for m in view.masks),
        crowds=view.crowds[:, [1, 0, 3, 2]],
    )


def _flip_boxes(boxes: Float32[np.ndarray, "n 4"], width: int) -> Float32[np.ndarray, "n 4"]:
    result = boxes.copy()
    result[:, 0], result[:, 2] = width - boxes[:, 2], width - boxes[:, 0]
    return result
