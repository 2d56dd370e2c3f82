"""mAP^r, the metric of the paper's Pascal VOC experiments: AP with mask IoU at one threshold.

mAP^b is the same with the IoU of boxes, those that enclose the detected masks.

Each detection may only have the instance of its category that it overlaps most; an instance that
is taken makes it wrong. There are no difficult instances, and crowd regions, which VOC does not
know, count as background.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from fcis.evaluation.overlaps import CategoryOverlaps, first_choice_hits, mean_or_none

IOU_THRESHOLDS = (0.5, 0.7)
# The recall levels of VOC 2007, in the arithmetic of the official code: the fourth and two others
# lie one rounding step above 0.3, 0.6 and 0.7, so that a recall of exactly 3/10 does not reach it.
_RECALL_LEVELS = np.arange(0.0, 1.1, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePrecision:
    """AP in 0..1, or nothing where there is no ground truth.

    Attributes:
        eleven_point: mean precision at the recall levels 0, 0.1, ..., 1 (VOC 2007).
        continuous: area under the curve (VOC 2010 and later).
    """

    eleven_point: float | None
    continuous: float | None


def average_precision(hits: Bool[np.ndarray, " ranked"], num_truth: int) -> AveragePrecision:
    """Return the AP of detections in the order of their scores, right ones marked.

    In both forms the precision at a recall is the best one at that recall or above. No detections
    give 0.

    Official: lib/dataset/pascal_voc_eval.py:49-66.
    """
    if num_truth == 0:
        return AveragePrecision(eleven_point=None, continuous=None)
    if len(hits) == 0:
        return AveragePrecision(eleven_point=0.0, continuous=0.0)
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    recall = right / num_truth
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    at_levels = envelope[np.searchsorted(recall, _RECALL_LEVELS, side="left")]
    steps = np.diff(recall, prepend=0.0)
    return AveragePrecision(
        eleven_point=float(at_levels.mean()), continuous=float((steps * envelope[:-1]).sum())
    )


def voc_figures(
    overlaps: Mapping[int, CategoryOverlaps], min_iou: float
) -> dict[int, AveragePrecision]:
    """Return AP^r, of tables of boxes AP^b, of each category id at one IoU threshold.

    Paper: 4.1. Official: lib/dataset/pascal_voc_eval.py:185-273, with masks of whole images where
    that cuts them to rounded boxes.
    """
    return {
        category: average_precision(first_choice_hits(table, min_iou), table.num_truth)
        for category, table in overlaps.items()
    }


def mean_average_precision(by_category: Mapping[int, AveragePrecision]) -> AveragePrecision:
    """Return the mean over the categories that have ground truth."""
    return AveragePrecision(
        eleven_point=mean_or_none(ap.eleven_point for ap in by_category.values()),
        continuous=mean_or_none(ap.continuous for ap in by_category.values()),
    )
