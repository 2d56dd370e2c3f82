"""The share of correct instances, as the nuclei challenge (Data Science Bowl 2018) counts them.

At a mask IoU threshold, TP / (TP + FP + FN): one figure that falls with every instance invented,
missed, split or merged, for the detections that a user sees, those above the operating threshold.
Unlike the challenge, which averages over images, instances of all images count alike.
"""

from collections.abc import Mapping

import numpy as np

from fcis.evaluation.overlaps import CategoryOverlaps, greedy_hits
from fcis.evaluation.records import DEFAULT_THRESHOLD

# 0.50, 0.55, ..., 0.90 as the nearest floats, so that an IoU of exactly 11/20 reaches 0.55.
IOU_THRESHOLDS = tuple(percent / 100 for percent in range(50, 95, 5))


def correct_share(
    overlaps: Mapping[int, CategoryOverlaps], thresholds: Mapping[int, float], min_iou: float
) -> float | None:
    """Return TP / (TP + FP + FN) over all images and categories; nothing without ground truth.

    Detections count from their category's threshold on, which is `DEFAULT_THRESHOLD` where none is
    given. They are matched one to one, within their category, in the order of their scores.
    """
    num_truth = sum(table.num_truth for table in overlaps.values())
    if num_truth == 0:
        return None
    num_found = num_right = 0
    for category, table in overlaps.items():
        is_shown = table.scores >= thresholds.get(category, DEFAULT_THRESHOLD)
        num_found += int(np.count_nonzero(is_shown))
        num_right += int(np.count_nonzero(greedy_hits(table, min_iou) & is_shown))
    return num_right / (num_found + num_truth - num_right)


def dsb_figures(
    overlaps: Mapping[int, CategoryOverlaps], thresholds: Mapping[int, float]
) -> dict[str, float | None]:
    """Return the share of correct instances at each IoU threshold, named "0.50" to "0.90"."""
    return {
        f"{min_iou:.2f}": correct_share(overlaps, thresholds, min_iou) for min_iou in IOU_THRESHOLDS
    }
