"""`fcis evaluate`: figures of weights on annotated images."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from fcis.coco_types import CocoDetection
from fcis.commands.common import check_file, open_predictor, progress, write_json
from fcis.data.dataset import Dataset
from fcis.data.source import open_dataset
from fcis.errors import InputError
from fcis.evaluation.confusion import Confusion, draw_confusion
from fcis.evaluation.report import Report, evaluate
from fcis.predictor import Predictor
from fcis.weights.file import WeightsInfo

_PICTURES = (".png", ".pdf", ".svg")


def run(options: argparse.Namespace) -> int:
    """Detect in every image, print the figures and write what was asked for."""
    named = {
        "--json": options.json,
        "--predictions": options.predictions,
        "--confusion": options.confusion,
    }
    for option, path in named.items():
        if path is not None:
            check_file(option, path)
    if options.confusion is not None:
        _check_picture(options.confusion)
    predictor = open_predictor(options.weights, options.size, options.device)
    dataset = replace(open_dataset(options.data, options.images), name=options.data)
    report, found = evaluate_predictor(predictor, dataset)
    print(report.summary())
    if options.predictions:
        write_json(options.predictions, found)
        print(f"detections: {options.predictions}")
    if options.json:
        write_json(options.json, report.to_json())
        print(f"figures: {options.json}")
    if options.confusion:
        write_picture(options.confusion, report.confusion)
        print(f"confusion matrix: {options.confusion}")
    return 0


def write_picture(path: Path, confusion: Confusion) -> None:
    """Write the picture of a confusion matrix.

    Raises:
        InputError: it cannot be written.
    """
    try:
        draw_confusion(confusion).savefig(path, dpi=110)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); make room or choose another place"
        ) from None


def _check_picture(path: Path) -> None:
    if path.suffix.lower() not in _PICTURES:
        raise InputError(f"--confusion {path}: must end in {', '.join(_PICTURES)}")


def evaluate_predictor(
    predictor: Predictor, dataset: Dataset
) -> tuple[Report, list[CocoDetection]]:
    """Return the figures of a predictor on a dataset, and its detections, low scores included.

    Raises:
        InputError: the weights know other categories than the dataset, or an image cannot be
            read.
    """
    ids = dataset_ids(predictor.info, dataset)
    found: list[CocoDetection] = []
    started = time.perf_counter()
    detected = predictor.detect_dataset(dataset)
    for instances in progress(detected, total=len(dataset), what="evaluating"):
        found += replace(instances, category_ids=(0, *ids)).to_coco()
    seconds = (time.perf_counter() - started) / max(1, len(dataset))
    thresholds = dict(zip(ids, predictor.info.threshold_of()[1:], strict=True))
    report = evaluate(
        dataset.to_coco(),
        found,
        max_detections=predictor.info.model.detection.max_detections,
        thresholds=thresholds,
        seconds_per_image=seconds,
    )
    return report, found


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
