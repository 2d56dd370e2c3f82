"""Voted masks -> scores in which one object counts once.

Boxes of objects that touch overlap though their masks do not, and a mask may lie inside another
one whose box is much larger. Masks tell duplicates from neighbours where boxes cannot.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from fcis.core.masks import MaskCrop, crop_box, pixels_in_both


def soft_scores(
    scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], crops: Sequence[MaskCrop]
) -> Float[np.ndarray, " n"]:
    """Return scores of one image's detections, lowered where a better one has the same pixels.

    The best detection keeps its score; those of its label that are left are multiplied by one
    less the IoU of their masks with it; then the best of what is left keeps its score, and so on.
    Of equal scores the earlier one is better.

    Bodla et al., Soft-NMS, ICCV 2017, the linear form, on masks in place of boxes.
    """
    overlap = mask_overlaps(labels, crops)
    result = scores.copy()
    is_left = np.ones(len(scores), dtype=bool)
    for _ in range(len(scores)):
        best = int(np.where(is_left, result, -1).argmax())
        is_left[best] = False
        result[is_left] *= 1 - overlap[best, is_left]
    return result


def mask_overlaps(
    labels: Int[np.ndarray, " n"], crops: Sequence[MaskCrop]
) -> Float[np.ndarray, "n n"]:
    """Return the IoU of each two masks; 0 between labels, and of a mask with itself.

    Masks without a pixel overlap nothing.
    """
    count = len(crops)
    boxes = np.array([crop_box(crop) for crop in crops], dtype=np.int64).reshape(-1, 4)
    areas = [crop.area for crop in crops]
    start = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    near = (start < end).all(axis=2) & (labels[:, None] == labels)
    overlap = np.zeros((count, count), dtype=np.float32)
    for one, two in np.argwhere(np.triu(near, 1)).tolist():
        common = pixels_in_both(crops[one], crops[two])
        if common:
            overlap[one, two] = common / (areas[one] + areas[two] - common)
    return overlap + overlap.T
