"""Operating thresholds: from which score on a detection is shown to a user."""

from collections.abc import Sequence

import numpy as np

from fcis.core.coco_types import CocoDataset, CocoDetection
from fcis.evaluation.overlaps import CategoryOverlaps, category_overlaps, greedy_hits
from fcis.evaluation.records import (
    DEFAULT_THRESHOLD,
    read_evaluation_set,
)

MATCH_IOU = 0.5


def best_thresholds(
    ground_truth: CocoDataset, detections: Sequence[CocoDetection]
) -> dict[int, float]:
    """Return for each category id the score threshold with the best F1 at mask IoU 0.5.

    A detection passes if its score is at least the threshold; matching is one to one, in the order
    of the scores, over all images. Of equally good thresholds the highest is taken. A category in
    which nothing matches (no ground truth, no detections, or none right) has no best threshold and
    keeps `DEFAULT_THRESHOLD`.

    Raises:
        InputError: detections and ground truth do not belong together.
    """
    overlaps = category_overlaps(read_evaluation_set(ground_truth, detections))
    return {category: best_threshold(table) for category, table in overlaps.items()}


def best_threshold(overlaps: CategoryOverlaps) -> float:
    """Return the best threshold of one category, as `best_thresholds` says."""
    hits = greedy_hits(overlaps, MATCH_IOU)
    if not hits.any():
        return DEFAULT_THRESHOLD
    scores = overlaps.scores
    f1 = 2 * np.cumsum(hits) / (np.arange(1, len(hits) + 1) + overlaps.num_truth)
    # Equal scores pass together: only the last of them is a possible cut.
    f1[:-1][scores[:-1] == scores[1:]] = -1.0
    return float(scores[f1.argmax()])


def f1_at(overlaps: CategoryOverlaps, threshold: float) -> float | None:
    """Return F1 at mask IoU 0.5 of the detections that pass a threshold; nothing without truth."""
    if overlaps.num_truth == 0:
        return None
    shown = overlaps.scores >= threshold
    num_right = np.count_nonzero(greedy_hits(overlaps, MATCH_IOU) & shown)
    return float(2 * num_right / (np.count_nonzero(shown) + overlaps.num_truth))
