"""Find calibration and thresholds on a dataset, and store them with the weights."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fcis.core.coco_types import CocoDetection
from fcis.core.errors import InputError
from fcis.core.output_files import check_file
from fcis.data.dataset import Dataset
from fcis.evaluation.calibration_report import CalibrationReport, calibrate
from fcis.evaluation.report import Report
from fcis.inference.evaluate_dataset import dataset_ids, detect_all, figures_of, most_detections
from fcis.inference.image_predictor import ImagePredictor
from fcis.weights.catalog import is_own_file, resolve_weights
from fcis.weights.weights_file import WeightsInfo, read_info, rewrite_info

_SUFFIX = ".safetensors"


def check_target(weights: Sequence[str], out: Path | None) -> Path:
    """Return the file in which a calibration will be stored.

    Args:
        weights: to calibrate, as users name them; there may be one.
        out: for a copy; None: the file of the weights.

    Raises:
        InputError: it could not be stored there, or there are several weights.
    """
    name, *others = weights
    if others:
        raise InputError(
            "--calibrate: is for one network, and there are several --weights; calibrate the "
            "first one, whose thresholds hold for an ensemble"
        )
    if out is not None:
        if out.suffix != _SUFFIX:
            raise InputError(f"--out {out}: must end in {_SUFFIX}")
        check_file("--out", out)
        return out
    path = resolve_weights(name)
    if not is_own_file(name, path):
        raise InputError(
            f"--calibrate: {name} is not a file of yours; add --out FILE{_SUFFIX} for a "
            "calibrated copy"
        )
    if not (os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)):
        raise InputError(
            f"--calibrate: {path} cannot be written; add --out FILE{_SUFFIX} for a calibrated copy"
        )
    return path


def warn_if_trained_on(info: WeightsInfo, dataset: Dataset) -> None:
    """Warn where the images to calibrate on seem to be those of the training.

    A weights file says of these how many images and objects they are; two data sets that agree in
    both are hardly different ones.
    """
    objects = sum(len(record.annotations) for record in dataset.images)
    if info.training_data.endswith(f": {len(dataset)} images, {objects} objects"):
        warnings.warn(
            f"{dataset.name}: has as many images and objects as the training data "
            f"({info.training_data}); scores are too good there, calibrate on other images",
            stacklevel=2,
        )


def calibrate_predictor(
    predictor: ImagePredictor, dataset: Dataset
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
    raw, seconds = detect_all(predictor, dataset)
    found = calibrate(
        dataset.to_coco(),
        raw,
        max_detections=most_detections(predictor, dataset),
        calibration=info.calibration,
        thresholds=dict(zip(ids, info.threshold_of()[1:], strict=True)),
    )
    best = tuple(found.thresholds[i] for i in ids)
    predictor.info = replace(info, calibration=found.calibration, thresholds=best)
    scores = found.calibration.apply(np.array([d["score"] for d in raw], dtype=np.float32))
    detections: list[CocoDetection] = [
        {**detection, "score": score} for detection, score in zip(raw, scores.tolist(), strict=True)
    ]
    return figures_of(predictor, dataset, detections, seconds), detections, found


def store_calibration(weights: str, target: Path, found: WeightsInfo) -> None:
    """Write calibration and thresholds into the weights, or a copy with them.

    Raises:
        InputError: the file cannot be written.
    """
    source = resolve_weights(weights)
    # what stands in the file, not what options have made of it
    info = replace(read_info(source), calibration=found.calibration, thresholds=found.thresholds)
    rewrite_info(source, target, info)
