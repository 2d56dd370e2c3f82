"""All figures of an evaluation in one record: `evaluate` makes it, the command writes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fcis.core.coco_types import CocoDataset, CocoDetection
from fcis.evaluation.coco import CocoFigures, coco_figures
from fcis.evaluation.confusion import Confusion, confusion_matrix
from fcis.evaluation.dsb import dsb_figures
from fcis.evaluation.overlaps import category_overlaps
from fcis.evaluation.records import (
    DEFAULT_THRESHOLD,
    MIN_SCORE,
    read_evaluation_set,
    strongest,
)
from fcis.evaluation.voc import (
    IOU_THRESHOLDS,
    AveragePrecision,
    mean_average_precision,
    voc_figures,
)

# A longer table of categories is left to the JSON form.
_MAX_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryReport:
    """The figures of one category.

    Attributes:
        voc: AP^r at each mask IoU threshold.
        voc_boxes: AP^b at each box IoU threshold.
        num_truth: annotated instances, crowd regions left out.
        threshold: operating threshold that held for `Report.dsb`.
    """

    name: str
    segm: CocoFigures
    bbox: CocoFigures
    voc: Mapping[float, AveragePrecision]
    voc_boxes: Mapping[float, AveragePrecision]
    num_truth: int
    threshold: float

    def to_json(self) -> dict[str, object]:
        """Return the figures under the names of `evaluate --json`."""
        return {
            "segm": {"AP": self.segm.ap, "AP50": self.segm.ap_50},
            "bbox": {"AP": self.bbox.ap, "AP50": self.bbox.ap_50},
            "voc": _voc_json("AP_r", self.voc) | _voc_json("AP_b", self.voc_boxes),
            "instances": self.num_truth,
            "threshold": self.threshold,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures of an evaluation, in 0..1; nothing where there is no ground truth.

    Attributes:
        segm: COCO figures of the masks.
        bbox: COCO figures of the boxes.
        voc: mAP^r at each mask IoU threshold.
        voc_boxes: mAP^b at each box IoU threshold.
        dsb: share of correct instances, by the mask IoU threshold as text.
        confusion: found against annotated classes, at the operating thresholds.
        categories: in the order of the data set.
        max_detections: how many detections an image count at most.
        seconds_per_image: as measured by the caller, if it was.
    """

    segm: CocoFigures
    bbox: CocoFigures
    voc: Mapping[float, AveragePrecision]
    voc_boxes: Mapping[float, AveragePrecision]
    dsb: Mapping[str, float | None]
    confusion: Confusion
    categories: tuple[CategoryReport, ...]
    num_images: int
    max_detections: int
    seconds_per_image: float | None

    def to_json(self) -> dict[str, object]:
        """Return what `evaluate --json` writes."""
        return {
            "segm": self.segm.to_json(),
            "bbox": self.bbox.to_json(),
            "voc": _voc_json("mAP_r", self.voc) | _voc_json("mAP_b", self.voc_boxes),
            "dsb": dict(self.dsb),
            "per_class": {category.name: category.to_json() for category in self.categories},
            "images": self.num_images,
            "max_detections": self.max_detections,
            "seconds_per_image": self.seconds_per_image,
            "confusion": self.confusion.to_json(),
        }

    def summary(self) -> str:
        """Return a short table for the terminal, without a line break at its end."""
        num_truth = sum(category.num_truth for category in self.categories)
        time = (
            "" if self.seconds_per_image is None else f", {self.seconds_per_image:.3g} s an image"
        )
        names = list(self.segm.to_json())
        lines = [
            f"{self.num_images} images, {num_truth} instances, "
            f"at most {self.max_detections} detections an image{time}",
            f"{'':8}" + "".join(f"{name:>11}" for name in names),
            "masks   " + "".join(f"{_text(v):>11}" for v in self.segm.to_json().values()),
            "boxes   " + "".join(f"{_text(v):>11}" for v in self.bbox.to_json().values()),
            "mAP^r   " + _voc_line(self.voc),
            "mAP^b   " + _voc_line(self.voc_boxes),
            "correct "
            + ", ".join(f"{_text(self.dsb[iou])} at IoU {iou}" for iou in ("0.50", "0.70", "0.90"))
            + "  (TP / (TP + FP + FN))",
        ]
        if 1 < len(self.categories) <= _MAX_ROWS:
            lines += self._category_lines()
        if num_truth:
            lines += self.confusion.lines()
        return "\n".join(lines)

    def _category_lines(self) -> list[str]:
        width = max(len("category"), *(len(category.name) for category in self.categories))
        header = "".join(f"{name:>11}" for name in ("AP", "AP50", "instances", "threshold"))
        return [f"{'category':{width}}{header}"] + [
            f"{category.name:{width}}{_text(category.segm.ap):>11}"
            f"{_text(category.segm.ap_50):>11}{category.num_truth:>11}{category.threshold:>11.3f}"
            for category in self.categories
        ]


def evaluate(
    ground_truth: CocoDataset,
    detections: Sequence[CocoDetection],
    *,
    max_detections: int,
    thresholds: Mapping[int, float],
    seconds_per_image: float | None = None,
    min_score: float = MIN_SCORE,
) -> Report:
    """Return all figures of a COCO results list against its ground truth.

    Counted are detections with a score of at least `min_score`, of each image the `max_detections`
    highest over all categories. `thresholds` are the operating thresholds by category id, for
    `Report.dsb` and `Report.confusion` alone; a category without one has `DEFAULT_THRESHOLD`.

    Raises:
        InputError: detections and ground truth do not belong together.
        ValueError: `max_detections` is not positive.
    """
    if max_detections < 1:
        raise ValueError(f"max_detections: expected at least 1, got {max_detections}")
    evaluation_set = read_evaluation_set(ground_truth, detections)
    evaluation_set = strongest(evaluation_set, max_detections, min_score)
    overlaps = category_overlaps(evaluation_set)
    of_boxes = category_overlaps(evaluation_set, "bbox")
    segm = coco_figures(evaluation_set, "segm", max_detections=max_detections)
    bbox = coco_figures(evaluation_set, "bbox", max_detections=max_detections)
    voc = {min_iou: voc_figures(overlaps, min_iou) for min_iou in IOU_THRESHOLDS}
    voc_boxes = {min_iou: voc_figures(of_boxes, min_iou) for min_iou in IOU_THRESHOLDS}
    categories = tuple(
        CategoryReport(
            name=name,
            segm=segm.by_category[category],
            bbox=bbox.by_category[category],
            voc={min_iou: voc[min_iou][category] for min_iou in IOU_THRESHOLDS},
            voc_boxes={min_iou: voc_boxes[min_iou][category] for min_iou in IOU_THRESHOLDS},
            num_truth=overlaps[category].num_truth,
            threshold=float(thresholds.get(category, DEFAULT_THRESHOLD)),
        )
        for category, name in evaluation_set.category_names.items()
    )
    return Report(
        segm=segm.overall,
        bbox=bbox.overall,
        voc={min_iou: mean_average_precision(voc[min_iou]) for min_iou in IOU_THRESHOLDS},
        voc_boxes={
            min_iou: mean_average_precision(voc_boxes[min_iou]) for min_iou in IOU_THRESHOLDS
        },
        dsb=dsb_figures(overlaps, thresholds),
        confusion=confusion_matrix(evaluation_set, thresholds),
        categories=categories,
        num_images=len(evaluation_set.image_sizes),
        max_detections=max_detections,
        seconds_per_image=seconds_per_image,
    )


def _voc_json(name: str, figures: Mapping[float, AveragePrecision]) -> dict[str, float | None]:
    json: dict[str, float | None] = {}
    for min_iou, ap in figures.items():
        json[f"{name}@{min_iou}"] = ap.eleven_point
        json[f"{name}@{min_iou}_continuous"] = ap.continuous
    return json


def _voc_line(figures: Mapping[float, AveragePrecision]) -> str:
    return ", ".join(
        f"{_text(ap.eleven_point)} at IoU {iou} (continuous {_text(ap.continuous)})"
        for iou, ap in figures.items()
    )


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
