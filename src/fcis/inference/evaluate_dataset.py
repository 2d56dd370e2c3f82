"""Figures of a predictor on a dataset."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from fcis.core.coco_types import CocoDetection
from fcis.core.errors import InputError
from fcis.core.progress import Watcher, progress
from fcis.data.dataset import Dataset
from fcis.evaluation.calibration_report import CalibrationReport, measured_reliability
from fcis.evaluation.records import MIN_SCORE
from fcis.evaluation.reliability import Reliability
from fcis.evaluation.report import Report, evaluate
from fcis.imaging.instances import Instances
from fcis.inference.image_predictor import ImagePredictor
from fcis.inference.tiling.tile_grid import plan_tiles
from fcis.weights.weights_file import WeightsInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluation has found.

    Attributes:
        report: the figures.
        detections: as a COCO results list, low scores included.
        calibration: what a calibration found before, if there was one.
    """

    report: Report
    detections: list[CocoDetection]
    calibration: CalibrationReport | None = None

    def to_json(self) -> dict[str, object]:
        """Return the figures as `fcis evaluate --json` writes them."""
        extra = {"calibration": self.calibration.to_json()} if self.calibration else {}
        return self.report.to_json() | extra

    def summary(self) -> str:
        """Return the figures as text for people."""
        parts = [self.report, *([self.calibration] if self.calibration else ())]
        return "\n".join(part.summary() for part in parts)


def evaluate_predictor(
    predictor: ImagePredictor,
    dataset: Dataset,
    *,
    watch: Callable[[Instances], None] | None = None,
    progress_watch: Watcher | None = None,
) -> tuple[Report, list[CocoDetection]]:
    """Return the figures of a predictor on a dataset, and its detections, low scores included.

    Args:
        predictor: of the categories of the dataset.
        dataset: the truth.
        watch: is given the detections in each image as they are found.
        progress_watch: as `progress` takes it.

    Raises:
        InputError: the weights know other categories than the dataset, or an image cannot be
            read.
    """
    found, seconds = detect_all(predictor, dataset, watch, progress_watch)
    return figures_of(predictor, dataset, found, seconds), found


def reliability_curves(
    predictor: ImagePredictor,
    dataset: Dataset,
    found: list[CocoDetection],
    calibrated: CalibrationReport | None = None,
) -> dict[str, Reliability]:
    """Return how many detections of about a score are right: before and after, or as they are.

    Args:
        predictor: that has found them.
        dataset: the truth.
        found: the detections.
        calibrated: what a calibration found, if there was one.
    """
    if calibrated is not None:
        return {
            "before": calibrated.before.reliability,
            "after": calibrated.after.reliability,
        }
    most, floor = most_detections(predictor, dataset), _floor(predictor.info)
    curve = measured_reliability(dataset.to_coco(), found, max_detections=most, min_score=floor)
    return {"scores": curve}


def detect_all(
    predictor: ImagePredictor,
    dataset: Dataset,
    watch: Callable[[Instances], None] | None = None,
    progress_watch: Watcher | None = None,
) -> tuple[list[CocoDetection], float]:
    """Return all detections in a dataset, with its category ids, and the seconds an image took."""
    ids = dataset_ids(predictor.info, dataset)
    found: list[CocoDetection] = []
    started = time.perf_counter()
    detected = predictor.detect_dataset(dataset)
    bar = progress(detected, total=len(dataset), what="evaluating", watch=progress_watch)
    for instances in bar:
        found += replace(instances, category_ids=(0, *ids)).to_coco()
        if watch is not None:
            watch(instances)
    seconds = (time.perf_counter() - started) / max(1, len(dataset))
    return found, seconds


def figures_of(
    predictor: ImagePredictor, dataset: Dataset, found: list[CocoDetection], seconds: float
) -> Report:
    """Return the figures of detections.

    Args:
        predictor: that has found them.
        dataset: the truth.
        found: all of them, with the dataset's category ids.
        seconds: that an image took.
    """
    info = predictor.info
    ids = dataset_ids(info, dataset)
    return evaluate(
        dataset.to_coco(),
        found,
        max_detections=most_detections(predictor, dataset),
        thresholds=dict(zip(ids, info.threshold_of()[1:], strict=True)),
        seconds_per_image=seconds,
        min_score=_floor(info),
    )


def most_detections(predictor: ImagePredictor, dataset: Dataset) -> int:
    """Return how many detections an image may have: the recipe's number, or that of each tile."""
    most = predictor.info.model.detection.max_detections
    tiling = predictor.tiling
    if tiling is None:
        return most
    sizes = {(record.height, record.width) for record in dataset.images}
    return most * max((len(plan_tiles(size, tiling)) for size in sizes), default=1)


def _floor(info: WeightsInfo) -> float:
    """Return what the least score that counts has become, so that the same detections count."""
    return MIN_SCORE if info.calibration is None else info.calibration.floor(MIN_SCORE)


def dataset_ids(info: WeightsInfo, dataset: Dataset) -> tuple[int, ...]:
    """Return the dataset's id of each category that the weights know, found by name.

    Raises:
        InputError: the two do not have the same categories.
    """
    ids = {c.name: c.id for c in dataset.categories}
    names = info.model.class_names
    if set(ids) != set(names) or len(ids) != len(dataset.categories):
        raise InputError(
            f"{dataset.name}: its categories ({_some(tuple(ids))}) are not those of the weights "
            f"({_some(names)}); evaluate on data with the categories of the training"
        )
    return tuple(ids[name] for name in names)


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
