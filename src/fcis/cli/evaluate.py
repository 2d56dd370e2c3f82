"""`fcis evaluate`: figures of weights on annotated images."""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fcis.cli.calibration import check_target, store, warn_if_trained_on, with_calibration
from fcis.cli.common import (
    averaging_of,
    check_file,
    open_predictor,
    progress,
    tiling_of,
    write_json,
)
from fcis.core.coco_types import CocoDetection
from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.data.source import open_dataset
from fcis.evaluation.calibration_report import (
    CalibrationReport,
    calibrate,
    measured_reliability,
)
from fcis.evaluation.confusion import draw_confusion
from fcis.evaluation.records import MIN_SCORE
from fcis.evaluation.reliability import Reliability, draw_reliability
from fcis.evaluation.report import Report, evaluate
from fcis.imaging.instances import Instances
from fcis.inference.predictor import Predictor
from fcis.inference.tiling.tile_grid import plan_tiles
from fcis.weights.weights_file import WeightsInfo

_PICTURES = (".png", ".pdf", ".svg")


def run(options: argparse.Namespace) -> int:
    """Detect in every image, print the figures and write what was asked for."""
    named = {
        "--json": options.json,
        "--predictions": options.predictions,
        "--confusion": options.confusion,
        "--reliability": options.reliability,
    }
    for option, path in named.items():
        if path is not None:
            check_file(option, path)
            if option in ("--confusion", "--reliability"):
                _check_picture(option, path)
    target = check_target(options)
    averaging = averaging_of(options)
    tiling = tiling_of(options)
    predictor = open_predictor(options.weights, options.size, options.device, averaging)
    predictor.tiling = tiling
    dataset = replace(open_dataset(options.data, options.images), name=options.data)
    calibrated: CalibrationReport | None = None
    if target is None:
        report, found = evaluate_predictor(predictor, dataset)
        print(report.summary())
    else:
        warn_if_trained_on(predictor.info, dataset)
        report, found, calibrated = calibrate_predictor(predictor, dataset)
        print(f"{report.summary()}\n{calibrated.summary()}")
        store(options.weights[0], target, predictor.info)
        print(f"weights: {target}")
    if options.predictions:
        write_json(options.predictions, found)
        print(f"detections: {options.predictions}")
    if options.json:
        extra = {"calibration": calibrated.to_json()} if calibrated else {}
        write_json(options.json, report.to_json() | extra)
        print(f"figures: {options.json}")
    if options.confusion:
        write_picture(options.confusion, draw_confusion(report.confusion))
        print(f"confusion matrix: {options.confusion}")
    if options.reliability:
        most = _most_detections(predictor, dataset)
        curves = reliability_curves(predictor.info, dataset, found, calibrated, most=most)
        write_picture(options.reliability, draw_reliability(curves))
        print(f"reliability: {options.reliability}")
    return 0


def write_picture(path: Path, figure: Figure) -> None:
    """Write a picture.

    Raises:
        InputError: it cannot be written.
    """
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); make room or choose another place"
        ) from None


def _check_picture(option: str, path: Path) -> None:
    if path.suffix.lower() not in _PICTURES:
        raise InputError(f"{option} {path}: must end in {', '.join(_PICTURES)}")


def evaluate_predictor(
    predictor: Predictor, dataset: Dataset, *, watch: Callable[[Instances], None] | None = None
) -> tuple[Report, list[CocoDetection]]:
    """Return the figures of a predictor on a dataset, and its detections, low scores included.

    Args:
        predictor: of the categories of the dataset.
        dataset: the truth.
        watch: is given the detections in each image as they are found.

    Raises:
        InputError: the weights know other categories than the dataset, or an image cannot be
            read.
    """
    found, seconds = _detect(predictor, dataset, watch)
    return _figures(predictor, dataset, found, seconds), found


def calibrate_predictor(
    predictor: Predictor, dataset: Dataset
) -> tuple[Report, list[CocoDetection], CalibrationReport]:
    """Give a predictor the calibration and the thresholds that are best on a dataset.

    Returns:
        Figures and detections as `evaluate_predictor` returns them afterwards, and what was found.

    Raises:
        InputError: the weights know other categories than the dataset, an image cannot be read, or
            there are too few detections.
    """
    info = predictor.info
    ids = dataset_ids(info, dataset)
    predictor.info = replace(info, calibration=None)
    raw, seconds = _detect(predictor, dataset)
    found = calibrate(
        dataset.to_coco(),
        raw,
        max_detections=_most_detections(predictor, dataset),
        calibration=info.calibration,
        thresholds=dict(zip(ids, info.threshold_of()[1:], strict=True)),
    )
    predictor.info = with_calibration(info, found, ids)
    scores = found.calibration.apply(np.array([d["score"] for d in raw], dtype=np.float32))
    detections: list[CocoDetection] = [
        {**detection, "score": score} for detection, score in zip(raw, scores.tolist(), strict=True)
    ]
    return _figures(predictor, dataset, detections, seconds), detections, found


def reliability_curves(
    info: WeightsInfo,
    dataset: Dataset,
    found: list[CocoDetection],
    calibrated: CalibrationReport | None,
    *,
    most: int | None = None,
) -> dict[str, Reliability]:
    """Return the curves of a reliability diagram: before and after, or the one there is.

    Args:
        info: of the weights.
        dataset: the truth.
        found: the detections.
        calibrated: what a calibration found, if there was one.
        most: detections an image that count; None: the recipe's.
    """
    if calibrated is not None:
        return {
            "before": calibrated.before.reliability,
            "after": calibrated.after.reliability,
        }
    most, floor = most or info.model.detection.max_detections, _floor(info)
    curve = measured_reliability(dataset.to_coco(), found, max_detections=most, min_score=floor)
    return {"scores": curve}


def _detect(
    predictor: Predictor, dataset: Dataset, watch: Callable[[Instances], None] | None = None
) -> tuple[list[CocoDetection], float]:
    """Return all detections in a dataset, with its category ids, and the seconds an image took."""
    ids = dataset_ids(predictor.info, dataset)
    found: list[CocoDetection] = []
    started = time.perf_counter()
    detected = predictor.detect_dataset(dataset)
    for instances in progress(detected, total=len(dataset), what="evaluating"):
        found += replace(instances, category_ids=(0, *ids)).to_coco()
        if watch is not None:
            watch(instances)
    seconds = (time.perf_counter() - started) / max(1, len(dataset))
    return found, seconds


def _figures(
    predictor: Predictor, dataset: Dataset, found: list[CocoDetection], seconds: float
) -> Report:
    info = predictor.info
    ids = dataset_ids(info, dataset)
    return evaluate(
        dataset.to_coco(),
        found,
        max_detections=_most_detections(predictor, dataset),
        thresholds=dict(zip(ids, info.threshold_of()[1:], strict=True)),
        seconds_per_image=seconds,
        min_score=_floor(info),
    )


def _most_detections(predictor: Predictor, dataset: Dataset) -> int:
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
