"""A view pulled about smoothly, as soft tissue and cells are; pixels, masks and boxes together.

Simard et al., Best Practices for Convolutional Neural Networks Applied to Visual Document
Analysis, ICDAR 2003. Geometry alone, like `windows.py`.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter, map_coordinates

from fcis.training.windows import LEAST_VISIBLE, PlacedMask, View

_Field = Float32[np.ndarray, "2 height width"]


def draw_shifts(
    size: tuple[int, int], strength: float, smoothness: float, rng: np.random.Generator
) -> _Field:
    """Return by how many pixels down and to the right of itself each pixel finds its content.

    White noise, smoothed and scaled so that the root of the mean square of each direction is
    `strength`. Its gradient is about strength / smoothness; from about 1 on, content is turned
    inside out.

    Args:
        size: (height, width).
        strength: px.
        smoothness: standard deviation of the Gaussian, px.
        rng: where the noise comes from.
    """
    noise = rng.standard_normal((2, *size), dtype=np.float32)
    smooth = gaussian_filter(noise, (0, smoothness, smoothness), mode="reflect")
    spread = np.sqrt(np.square(smooth, dtype=np.float64).mean(axis=(1, 2), keepdims=True))
    return (smooth * (strength / np.maximum(spread, np.finfo(np.float32).tiny))).astype(np.float32)


def pulled(view: View, shifts: _Field) -> View:
    """Return a view in which each pixel shows what lies `shifts` away from it.

    Levels and masks are bilinear between pixel centres; at the view's edges the outermost pixel is
    repeated. All objects get the tight box of their mask, crowd regions that of the pixels which
    show them. An object of which less than 0.15 of its pixels is left is dropped.

    Args:
        view: what is changed.
        shifts: (down, right) of each pixel.

    Raises:
        ValueError: the shifts are for a view of another size.
    """
    size = view.levels.shape[:2]
    if shifts.shape[1:] != size:
        raise ValueError(f"shifts: expected those of {size} pixels, got {shifts.shape[1:]}")
    place = np.indices(size, dtype=np.float32) + shifts
    np.clip(place, 0, np.array(size, dtype=np.float32).reshape(2, 1, 1) - 1, out=place)
    channels = [
        map_coordinates(c, place, order=1, mode="nearest") for c in np.moveaxis(view.levels, 2, 0)
    ]
    kept, boxes, masks = [], [], []
    reach = int(np.ceil(np.abs(shifts).max())) + 1
    for i, mask in enumerate(view.masks):
        moved = _moved(mask, place, reach)
        before, after = (int(np.count_nonzero(m.inside)) for m in (mask, moved))
        if after == 0 or after < LEAST_VISIBLE * before:
            continue
        kept.append(i)
        masks.append(moved)
        boxes.append(moved.tight_box())
    crowds = [box for crowd in view.crowds if (box := _region(crowd, place)) is not None]
    return replace(
        view,
        levels=np.stack(channels, axis=2),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=view.labels[kept],
        masks=tuple(masks),
        crowds=np.array(crowds, dtype=np.float32).reshape(-1, 4),
    )


def _moved(mask: PlacedMask, place: _Field, reach: int) -> PlacedMask:
    """Return a mask where the pixels that show it are, up to `reach` px away."""
    (rows, columns), (height, width) = mask.values.shape, place.shape[1:]
    top, left = max(0, mask.top - reach), max(0, mask.left - reach)
    bottom, right = min(height, mask.top + rows + reach), min(width, mask.left + columns + reach)
    corner = np.array([mask.top, mask.left], dtype=np.float32).reshape(2, 1, 1)
    values = map_coordinates(
        mask.values,
        place[:, top:bottom, left:right] - corner,
        order=1,
        # between its last pixel and the next one a mask fades
        mode="grid-constant",
    )
    return PlacedMask(top=top, left=left, values=values)


def _region(box: Float32[np.ndarray, " 4"], place: _Field) -> Float32[np.ndarray, " 4"] | None:
    """Return the box of the pixels that show a box; None if there are none."""
    low, high = box[[1, 0]].reshape(2, 1, 1), box[[3, 2]].reshape(2, 1, 1)
    inside = np.asarray(((place + 0.5 >= low) & (place + 0.5 <= high)).all(axis=0))
    shown = PlacedMask(top=0, left=0, values=inside.astype(np.float32))
    return shown.tight_box() if inside.any() else None
