"""Objects of one view laid over another, as in copy-paste augmentation.

After Ghiasi et al., Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation, CVPR 2021. Geometry alone, like `windows.py`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from fcis.training.windows import LEAST_VISIBLE, PlacedMask, View


def pick_objects(view: View, rng: np.random.Generator) -> View:
    """Return a view of which a random subset of the objects is kept, in their order.

    Any number of them, from one to all, is as likely. A view without objects stays as it is.
    """
    total = len(view.masks)
    if total == 0:
        return view
    count = int(rng.integers(1, total + 1))
    return _chosen(view, sorted(rng.permutation(total)[:count].tolist()))


def paste(below: View, above: View) -> View:
    """Return a view with another one's objects over it.

    Pixels mix by the pasted masks' values. What the pasted objects cover is taken out of the
    masks below; an object below of which less than 0.15 of its pixels is left is dropped, and one
    that lost a pixel gets the tight box of what is left. Pasted objects come last; crowd regions
    are those below.

    Raises:
        ValueError: the views differ in size.
    """
    if below.levels.shape != above.levels.shape:
        raise ValueError(
            f"above: expected levels of {below.levels.shape}, got {above.levels.shape}"
        )
    cover = _cover(above.masks, below.levels.shape[:2])
    kept, boxes, masks = [], [], []
    for i, mask in enumerate(below.masks):
        left = _uncovered(mask, cover)
        before, after = (int(np.count_nonzero(m.inside)) for m in (mask, left))
        if after == 0 or after < LEAST_VISIBLE * before:
            continue
        kept.append(i)
        masks.append(left)
        boxes.append(below.boxes[i] if after == before else left.tight_box())
    return View(
        levels=below.levels * (1 - cover[:, :, None]) + above.levels * cover[:, :, None],
        boxes=np.array([*boxes, *above.boxes], dtype=np.float32).reshape(-1, 4),
        labels=np.concatenate([below.labels[kept], above.labels]),
        masks=(*masks, *above.masks),
        crowds=below.crowds,
    )


def _chosen(view: View, indices: list[int]) -> View:
    return replace(
        view,
        boxes=view.boxes[indices],
        labels=view.labels[indices],
        masks=tuple(view.masks[i] for i in indices),
    )


def _cover(
    masks: Sequence[PlacedMask], size: tuple[int, ...]
) -> Float32[np.ndarray, "height width"]:
    """Return how much of each pixel masks cover: the most that one of them does."""
    cover = np.zeros(size, dtype=np.float32)
    for mask in masks:
        part = _part(cover, mask)
        np.maximum(part, mask.values, out=part)
    return np.clip(cover, 0, 1)


def _uncovered(mask: PlacedMask, cover: Float32[np.ndarray, "height width"]) -> PlacedMask:
    """Return what is left of a mask: as of two objects side by side, whose values add up to 1."""
    return replace(mask, values=np.minimum(mask.values, 1 - _part(cover, mask)))


def _part(
    canvas: Float32[np.ndarray, "height width"], mask: PlacedMask
) -> Float32[np.ndarray, "h w"]:
    """Return the part of a canvas where a mask lies, not copied."""
    rows, columns = mask.values.shape
    return canvas[mask.top : mask.top + rows, mask.left : mask.left + columns]
