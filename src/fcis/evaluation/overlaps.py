"""IoU of detections and annotations, computed once, and the two ways of matching by it.

mAP^r, the share of correct instances and the operating thresholds read the same tables of masks,
mAP^b those of boxes. Crowd regions are no instances: they are neither found nor missed, and a
detection inside one is wrong.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from jaxtyping import Bool, Float, Int

from fcis.core.coco_types import ImageId
from fcis.evaluation.records import EvaluationSet, ScoredInstance, TrueInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOverlaps:
    """One image and one category with both detections and annotated instances.

    Attributes:
        positions: where each detection stands in the category's order; ascending.
        iou: of the masks, or the boxes, of each detection and each annotated instance.
    """

    positions: Int[np.ndarray, " detection"]
    iou: Float[np.ndarray, "detection truth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryOverlaps:
    """All detections of one category over the whole data set.

    Attributes:
        scores: descending; of equal scores the one that came first in the results list is first.
        num_truth: annotated instances of the category, crowd regions left out.
        images: those that hold both detections and annotated instances.
    """

    scores: Float[np.ndarray, " ranked"]
    num_truth: int
    images: tuple[ImageOverlaps, ...]


def category_overlaps(
    evaluation_set: EvaluationSet, kind: Literal["segm", "bbox"] = "segm"
) -> dict[int, CategoryOverlaps]:
    """Return the table of each category id of the data set, also of those without instances.

    Args:
        evaluation_set: what is annotated and what was found.
        kind: whether masks or boxes overlap.
    """
    truth: defaultdict[int, dict[ImageId, list[TrueInstance]]] = defaultdict(dict)
    for instance in evaluation_set.truth:
        if not instance.is_crowd:
            truth[instance.category_id].setdefault(instance.image_id, []).append(instance)
    found: defaultdict[int, list[ScoredInstance]] = defaultdict(list)
    for detection in evaluation_set.detections:
        found[detection.category_id].append(detection)
    return {
        category: _overlaps(found[category], truth[category], kind)
        for category in evaluation_set.category_names
    }


def _overlaps(
    detections: Sequence[ScoredInstance],
    truth: dict[ImageId, list[TrueInstance]],
    kind: Literal["segm", "bbox"],
) -> CategoryOverlaps:
    ranked = sorted(detections, key=lambda detection: -detection.score)
    positions: defaultdict[ImageId, list[int]] = defaultdict(list)
    for position, detection in enumerate(ranked):
        positions[detection.image_id].append(position)
    images = []
    for image_id, instances in truth.items():
        if image_id in positions:
            here = positions[image_id]
            iou = _iou([ranked[position] for position in here], instances, kind)
            images.append(ImageOverlaps(positions=np.array(here), iou=iou))
    return CategoryOverlaps(
        scores=np.array([detection.score for detection in ranked], dtype=np.float64),
        num_truth=sum(map(len, truth.values())),
        images=tuple(images),
    )


def _iou(
    found: Sequence[ScoredInstance], truth: Sequence[TrueInstance], kind: Literal["segm", "bbox"]
) -> Float[np.ndarray, "detection truth"]:
    no_crowds = [0] * len(truth)
    if kind == "segm":
        masks = [dict(detection.mask) for detection in found]
        iou = coco_mask.iou(masks, [dict(instance.mask) for instance in truth], no_crowds)
    else:
        boxes = np.array([detection.box for detection in found])
        iou = coco_mask.iou(boxes, np.array([instance.box for instance in truth]), no_crowds)
    return np.asarray(iou)


def greedy_hits(overlaps: CategoryOverlaps, min_iou: float) -> Bool[np.ndarray, " ranked"]:
    """Return which detections are right, matched one to one in the order of their scores.

    Each detection takes, of the instances that are still free, the one it overlaps most, if their
    IoU is at least `min_iou`. A detection never depends on those ranked below it, so the matches
    at a score threshold are the first ones of these.
    """
    hits = np.zeros(len(overlaps.scores), dtype=bool)
    for image in overlaps.images:
        for row, _ in greedy_pairs(image.iou, min_iou):
            hits[image.positions[row]] = True
    return hits


def greedy_pairs(
    iou: Float[np.ndarray, "detection truth"], min_iou: float
) -> list[tuple[int, int]]:
    """Return which detection has which instance, one to one, matched in the order of the rows.

    Each detection takes, of the instances that are still free, the one it overlaps most, if their
    IoU is at least `min_iou`, which must be above 0.
    """
    pairs: list[tuple[int, int]] = []
    is_free = np.ones(iou.shape[1], dtype=bool)
    for row in np.flatnonzero((iou >= min_iou).any(axis=1)):
        free = np.where(is_free, iou[row], -1.0)
        chosen = int(free.argmax())
        if free[chosen] >= min_iou:
            is_free[chosen] = False
            pairs.append((int(row), chosen))
    return pairs


def first_choice_hits(overlaps: CategoryOverlaps, min_iou: float) -> Bool[np.ndarray, " ranked"]:
    """Return which detections are right if each may only have the instance it overlaps most.

    Of the detections that choose the same instance with an IoU of at least `min_iou`, the one with
    the highest score is right, the others are wrong, whatever else they overlap.

    Official: lib/dataset/pascal_voc_eval.py:230-261.
    """
    hits = np.zeros(len(overlaps.scores), dtype=bool)
    for image in overlaps.images:
        choice = image.iou.argmax(axis=1)
        good = np.flatnonzero(image.iou.max(axis=1) >= min_iou)
        _, first = np.unique(choice[good], return_index=True)
        hits[image.positions[good[first]]] = True
    return hits


def mean_or_none(values: Iterable[float | None]) -> float | None:
    """Return the mean of what is known, or nothing if nothing is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
