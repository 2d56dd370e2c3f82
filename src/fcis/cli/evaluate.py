"""`fcis evaluate`: figures of weights on annotated images."""

import argparse
from pathlib import Path

from fcis.cli.parser import (
    DATA,
    IMAGES,
    SEVERAL,
    WEIGHTS,
    Commands,
    Several,
    add_averaging,
    add_command,
    add_size,
    add_tiles,
)
from fcis.core.errors import InputError


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "evaluate",
        "measure weights on annotated images",
        "fcis evaluate --data val.json --weights runs/cells --json figures.json",
    )
    parser.add_argument("--data", required=True, metavar="DATA", help=DATA)
    parser.add_argument("--images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument(
        "--weights", action=Several, required=True, metavar="W", help=WEIGHTS + SEVERAL
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE", help="write the detections (COCO results)"
    )
    parser.add_argument(
        "--confusion",
        type=Path,
        metavar="FILE.png",
        help="draw which class was found where which is annotated",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="find what makes scores probabilities, and the best thresholds, and store both in the "
        "weights",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="with --calibrate: store them in a copy"
    )
    parser.add_argument(
        "--reliability",
        type=Path,
        metavar="FILE.png",
        help="draw how many detections of about a score are right",
    )
    add_size(parser)
    add_averaging(parser)
    add_tiles(parser)


def run(options: argparse.Namespace) -> int:
    """Detect in every image, print the figures and write what was asked for."""
    from dataclasses import replace

    from fcis.cli.common import averaging_of, open_predictor
    from fcis.core.output_files import write_json, write_picture
    from fcis.data.source import open_dataset
    from fcis.evaluation.confusion import draw_confusion
    from fcis.evaluation.reliability import draw_reliability
    from fcis.inference.calibrate import (
        calibrate_predictor,
        store_calibration,
        warn_if_trained_on,
    )
    from fcis.inference.evaluate_dataset import (
        Evaluation,
        evaluate_predictor,
        reliability_curves,
    )
    from fcis.inference.tiling.tile_grid import read_tiling

    target = _check_files(options)
    averaging = averaging_of(options)
    tiling = read_tiling(options.tile, options.overlap)
    predictor = open_predictor(options.weights, options.size, options.device, averaging, tiling)
    dataset = replace(open_dataset(options.data, options.images), name=options.data)
    calibrated = None
    if target is None:
        report, found = evaluate_predictor(predictor, dataset)
    else:
        warn_if_trained_on(predictor.info, dataset)
        report, found, calibrated = calibrate_predictor(predictor, dataset)
    figures = Evaluation(report=report, detections=found, calibration=calibrated)
    print(figures.summary())
    if target is not None:
        store_calibration(options.weights[0], target, predictor.info)
        print(f"weights: {target}")
    if options.predictions:
        write_json(options.predictions, found)
        print(f"detections: {options.predictions}")
    if options.json:
        write_json(options.json, figures.to_json())
        print(f"figures: {options.json}")
    if options.confusion:
        write_picture(options.confusion, draw_confusion(report.confusion))
        print(f"confusion matrix: {options.confusion}")
    if options.reliability:
        curves = reliability_curves(predictor, dataset, found, calibrated)
        write_picture(options.reliability, draw_reliability(curves))
        print(f"reliability: {options.reliability}")
    return 0


def _check_files(options: argparse.Namespace) -> Path | None:
    """Refuse files that cannot be written; return where a calibration will be stored."""
    from fcis.core.output_files import check_file, check_picture
    from fcis.inference.calibrate import check_target

    for check, option, path in (
        (check_file, "--json", options.json),
        (check_file, "--predictions", options.predictions),
        (check_picture, "--confusion", options.confusion),
        (check_picture, "--reliability", options.reliability),
    ):
        if path is not None:
            check(option, path)
    if options.calibrate:
        return check_target(options.weights, options.out)
    if options.out is not None:
        raise InputError(f"--out {options.out}: is where --calibrate writes; add --calibrate")
    return None
