"""The figures of the COCO benchmark, by the COCO API's own code (faster-coco-eval)."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from jaxtyping import Float

from fcis.core.coco_types import ImageId
from fcis.evaluation.records import EvaluationSet, ScoredInstance, TrueInstance

_LOGGER = logging.getLogger(__name__)
# Positions in the API's lists of area ranges and of IoU thresholds.
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_IOU_50, _IOU_75 = 0, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoFigures:
    """Average precision and recall in 0..1; nothing where there is no ground truth.

    Attributes:
        ap: mean over the IoU thresholds 0.50, 0.55, ..., 0.95.
        ap_50: at IoU 0.50.
        ap_75: at IoU 0.75.
        ap_small: of instances below 32^2 pixels.
        ap_medium: of instances of 32^2 to 96^2 pixels.
        ap_large: of instances above 96^2 pixels.
        ar: average recall over the same thresholds as `ap`.
    """

    ap: float | None
    ap_50: float | None
    ap_75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return the figures under the names of the benchmark."""
        return {
            "AP": self.ap,
            "AP50": self.ap_50,
            "AP75": self.ap_75,
            "AP_small": self.ap_small,
            "AP_medium": self.ap_medium,
            "AP_large": self.ap_large,
            "AR": self.ar,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoResult:
    """The figures over all categories, and those of each category id."""

    overall: CocoFigures
    by_category: Mapping[int, CocoFigures]


def coco_figures(
    evaluation_set: EvaluationSet, kind: Literal["segm", "bbox"], *, max_detections: int
) -> CocoResult:
    """Return the figures for masks or for boxes, with `max_detections` an image and category.

    The area of an annotation is its `area`, that of a detection width times height of its box, for
    masks too: that is what the COCO API takes from a results list in which boxes stand, so that
    anyone gets the same numbers from the same file. It only matters for detections that match
    nothing, and only in the figures by size.
    """
    categories = sorted(evaluation_set.category_names)
    if not evaluation_set.truth:
        nothing = CocoFigures(
            ap=None, ap_50=None, ap_75=None, ap_small=None, ap_medium=None, ap_large=None, ar=None
        )
        return CocoResult(overall=nothing, by_category=dict.fromkeys(categories, nothing))
    truth = _api(evaluation_set, evaluation_set.truth)
    found = _api(evaluation_set, evaluation_set.detections)
    evaluator = COCOeval_faster(truth, found, kind, print_function=_LOGGER.debug)
    # The API asks for several limits; each is computed apart, and only the last one is read.
    evaluator.params.maxDets = [max_detections]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval["precision"])[..., -1]
    recall = np.asarray(evaluator.eval["recall"])[..., -1]
    return CocoResult(
        overall=_figures(precision, recall),
        by_category={
            category: _figures(precision[:, :, [k]], recall[:, [k]])
            for k, category in enumerate(categories)
        },
    )


def _figures(
    precision: Float[np.ndarray, "iou recall_point category area"],
    recall: Float[np.ndarray, "iou category area"],
) -> CocoFigures:
    return CocoFigures(
        ap=_mean(precision[..., _ALL]),
        ap_50=_mean(precision[_IOU_50, ..., _ALL]),
        ap_75=_mean(precision[_IOU_75, ..., _ALL]),
        ap_small=_mean(precision[..., _SMALL]),
        ap_medium=_mean(precision[..., _MEDIUM]),
        ap_large=_mean(precision[..., _LARGE]),
        ar=_mean(recall[..., _ALL]),
    )


def _mean(values: Float[np.ndarray, "..."]) -> float | None:
    # The API writes -1 where a category has no ground truth.
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _api(
    evaluation_set: EvaluationSet,
    instances: tuple[TrueInstance, ...] | tuple[ScoredInstance, ...],
) -> COCO:
    """Return an API object of new dictionaries, which the API may write into.

    Instances are numbered from 1: the API takes the id 0 for "unmatched".
    """
    numbers = _numbers(evaluation_set.image_sizes)
    annotations: list[dict[str, object]] = []
    for number, instance in enumerate(instances, start=1):
        annotation: dict[str, object] = {
            "id": number,
            "image_id": numbers[instance.image_id],
            "category_id": instance.category_id,
            "bbox": list(instance.box),
            "segmentation": instance.mask,
        }
        if isinstance(instance, TrueInstance):
            annotation |= {"area": instance.area, "iscrowd": int(instance.is_crowd)}
        else:
            area = instance.box[2] * instance.box[3]
            annotation |= {"area": area, "iscrowd": 0, "score": instance.score}
        annotations.append(annotation)
    images = [
        {"id": numbers[image_id], "height": height, "width": width}
        for image_id, (height, width) in evaluation_set.image_sizes.items()
    ]
    categories = [{"id": i, "name": name} for i, name in evaluation_set.category_names.items()]
    dataset = {"images": images, "annotations": annotations, "categories": categories}
    return COCO(dataset, print_function=_LOGGER.debug)


def _numbers(image_ids: Iterable[ImageId]) -> dict[ImageId, int]:
    """Return a number for each image id; the API sorts images by it and does not take text.

    Ids that are all numbers stay what they are: their order decides between equal scores.
    """
    ids = list(image_ids)
    if all(isinstance(image_id, int) for image_id in ids):
        return {image_id: int(image_id) for image_id in ids}
    return {image_id: number for number, image_id in enumerate(ids, start=1)}
