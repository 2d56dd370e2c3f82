"""`fcis evaluate --calibrate`: find calibration and thresholds, and store them with the weights."""

import argparse
import os
import warnings
from dataclasses import replace
from pathlib import Path

from fcis.cli.common import check_file
from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.evaluation.calibration_report import CalibrationReport
from fcis.weights.catalog import is_own_file, resolve_weights
from fcis.weights.weights_file import WeightsInfo, read_info, rewrite_info

_SUFFIX = ".safetensors"


def check_target(options: argparse.Namespace) -> Path | None:
    """Return the file in which a calibration will be stored; nothing without `--calibrate`.

    Raises:
        InputError: it could not be stored there, or `--out` makes no sense.
    """
    out: Path | None = options.out
    if not options.calibrate:
        if out is not None:
            raise InputError(f"--out {out}: is where --calibrate writes; add --calibrate")
        return None
    weights, *others = options.weights
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
    path = resolve_weights(weights)
    if not is_own_file(weights, path):
        raise InputError(
            f"--calibrate: {weights} is not a file of yours; add --out FILE{_SUFFIX} for a "
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


def with_calibration(
    info: WeightsInfo, found: CalibrationReport, ids: tuple[int, ...]
) -> WeightsInfo:
    """Return the description with what was found.

    Args:
        info: of the weights.
        found: its thresholds go by the dataset's category ids.
        ids: the dataset's id of each category of the weights.
    """
    thresholds = tuple(found.thresholds[i] for i in ids)
    return replace(info, calibration=found.calibration, thresholds=thresholds)


def store(weights: str, target: Path, found: WeightsInfo) -> None:
    """Write calibration and thresholds into the weights, or a copy with them.

    Raises:
        InputError: the file cannot be written.
    """
    source = resolve_weights(weights)
    # what stands in the file, not what options have made of it
    info = replace(read_info(source), calibration=found.calibration, thresholds=found.thresholds)
    rewrite_info(source, target, info)
