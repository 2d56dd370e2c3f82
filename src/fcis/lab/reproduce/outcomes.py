"""Which detections are right, image by image, and a metric of any sample of the images.

What matches in one image does not depend on the others. So the matches are made once, and the
metric of a sample in which images come several times, or not at all, is a matter of sums.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from jaxtyping import Bool, Float, Int

from fcis.core.coco_types import CocoDataset, CocoDetection, ImageId
from fcis.evaluation.overlaps import (
    CategoryOverlaps,
    category_overlaps,
    first_choice_hits,
    greedy_hits,
)
from fcis.evaluation.records import (
    EvaluationSet,
    ScoredInstance,
    TrueInstance,
    read_evaluation_set,
    strongest,
)

_COCO_IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
_COCO_LEVELS = np.linspace(0.0, 1.0, 101)
_VOC_LEVELS = np.arange(0.0, 1.1, 0.1)  # in the arithmetic of mAP^r
METRICS = {
    "AP": (_COCO_IOUS, _COCO_LEVELS),
    "AP50": (_COCO_IOUS[:1], _COCO_LEVELS),
    "mAP_r@0.5": ((0.5,), _VOC_LEVELS),
    "mAP_r@0.7": ((0.7,), _VOC_LEVELS),
}
"""IoU thresholds and recall levels of the metrics that samples of images may be measured by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryOutcomes:
    """The detections of a category, best first, up to the last one that is ever right.

    Attributes:
        image: the number of the image of each.
        hits: is it right, at each IoU threshold.
        wrong: is it wrong; neither, if it lies in a crowd region that COCO leaves out.
        truth: annotated instances in each image, crowd regions left out.
    """

    image: Int[np.ndarray, " ranked"]
    hits: Bool[np.ndarray, "iou ranked"]
    wrong: Bool[np.ndarray, "iou ranked"]
    truth: Int[np.ndarray, " image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """All detections of one run, matched for one metric.

    Attributes:
        metric: a key of `METRICS`.
        images: how many there are.
        categories: those of the data set.
    """

    metric: str
    images: int
    categories: tuple[CategoryOutcomes, ...]

    def figure(self, counts: Int[np.ndarray, " image"]) -> float:
        """Return the metric, in 0..1, of a sample in which each image comes so many times.

        Categories without an instance in the sample do not count; without any, it is 0.
        """
        levels = METRICS[self.metric][1]
        known = [_precision(c, counts, levels) for c in self.categories if c.truth @ counts]
        return float(np.mean(known)) if known else 0.0


def match(
    ground_truth: CocoDataset,
    detections: Sequence[CocoDetection],
    metric: str,
    *,
    max_detections: int,
) -> Outcomes:
    """Return which detections are right by the rules of a metric.

    Those of COCO match one to one in the order of scores and leave crowd regions out; mAP^r gives
    each detection one choice and counts crowd regions as background.

    Args:
        ground_truth: annotations.
        detections: of the same images.
        metric: a key of `METRICS`.
        max_detections: of each image, the best ones that count.

    Raises:
        InputError: detections and ground truth do not belong together.
        ValueError: the metric is unknown.
    """
    if metric not in METRICS:
        raise ValueError(f"metric: expected one of {', '.join(METRICS)}, got {metric}")
    found = strongest(read_evaluation_set(ground_truth, detections), max_detections)
    number = {image_id: i for i, image_id in enumerate(found.image_sizes)}
    tables = category_overlaps(found)
    categories = tuple(_category(found, tables[c], c, metric, number) for c in found.category_names)
    return Outcomes(metric=metric, images=len(number), categories=categories)


def _category(
    found: EvaluationSet,
    table: CategoryOverlaps,
    category: int,
    metric: str,
    number: dict[ImageId, int],
) -> CategoryOutcomes:
    truth = [t for t in found.truth if t.category_id == category]
    per_image = np.zeros(len(number), dtype=np.int64)
    for instance in truth:
        per_image[number[instance.image_id]] += not instance.is_crowd
    # the order that `category_overlaps` ranks them in
    ranked = sorted(
        (d for d in found.detections if d.category_id == category), key=lambda d: -d.score
    )
    of_voc = metric.startswith("mAP_r")
    rule = first_choice_hits if of_voc else greedy_hits
    ious = METRICS[metric][0]
    hits = np.stack([rule(table, iou) for iou in ious])
    wrong = ~hits
    if not of_voc:
        inside = _in_crowds(ranked, truth)
        wrong &= inside[None] < np.array(ious)[:, None]
    right = np.flatnonzero(hits.any(axis=0))
    end = int(right[-1]) + 1 if len(right) else 0
    image = np.array([number[d.image_id] for d in ranked], dtype=np.int64)
    return CategoryOutcomes(
        image=image[:end], hits=hits[:, :end], wrong=wrong[:, :end], truth=per_image
    )


def _in_crowds(
    ranked: Sequence[ScoredInstance], truth: Sequence[TrueInstance]
) -> Float[np.ndarray, " ranked"]:
    """Return the largest share of each detection that lies in one crowd region of its image."""
    crowds: defaultdict[ImageId, list[TrueInstance]] = defaultdict(list)
    for instance in truth:
        if instance.is_crowd:
            crowds[instance.image_id].append(instance)
    inside = np.zeros(len(ranked))
    for place, detection in enumerate(ranked):
        here = crowds.get(detection.image_id)
        if here:
            masks = [dict(instance.mask) for instance in here]
            inside[place] = np.max(coco_mask.iou([dict(detection.mask)], masks, [1] * len(here)))
    return inside


def _precision(
    category: CategoryOutcomes,
    counts: Int[np.ndarray, " image"],
    levels: Float[np.ndarray, " level"],
) -> float:
    """Return the mean precision over IoU thresholds and recall levels.

    An image that comes several times has its detections one after the other in the ranking; the
    last of them decides, because the best precision at a recall or above is what counts.
    """
    weights = counts[category.image]
    right = np.cumsum(category.hits * weights, axis=1)
    seen = right + np.cumsum(category.wrong * weights, axis=1)
    precision = right / np.maximum(seen, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.pad(envelope, ((0, 0), (0, 1)))
    recall = right / (category.truth @ counts)
    rows = [e[np.searchsorted(r, levels)] for e, r in zip(envelope, recall, strict=True)]
    return float(np.mean(rows))
