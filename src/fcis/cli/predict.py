"""`fcis predict`: images and videos in; overlays, COCO results, lines and mask pictures out."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fcis.cli.parser import (
    IMAGES,
    INTERRUPTED,
    SEVERAL,
    TERMINATED,
    WEIGHTS,
    Commands,
    Several,
    add_averaging,
    add_command,
    add_size,
    add_tiles,
)
from fcis.core.errors import InputError
from fcis.core.interrupts import Terminated

if TYPE_CHECKING:
    import fcis.inference.predict_files


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "predict",
        "find the instances in images",
        "fcis predict photos/ --weights runs/cells --out found",
    )
    parser.add_argument(
        "input",
        nargs="+",
        metavar="INPUT",
        help="image files, folders, globs, videos, a COCO .json (also one without annotations), "
        "or scenes:N:seed",
    )
    parser.add_argument("--weights", action=Several, metavar="W", help=WEIGHTS + SEVERAL)
    parser.add_argument("--images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions"
    )
    parser.add_argument(
        "--score-threshold", type=float, metavar="S", help="default: as stored in the weights"
    )
    parser.add_argument(
        "--save",
        metavar="KINDS",
        help="what to write: overlay (pictures; of a video, a video), coco (predictions.json, at "
        "the end), jsonl (predictions.jsonl, a line an image as it is done), masks (16-bit "
        "pictures with the number of the instance at each pixel), maps (the score maps of the best "
        "instances, and how they were read); default: overlay,coco, with videos overlay,jsonl",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="with jsonl: go on after the last image whose line is complete",
    )
    add_size(parser)
    add_averaging(parser)
    add_tiles(parser)
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help="refuse larger images (default: 100000000, with --tile 1000000000)",
    )


def run(options: argparse.Namespace) -> int:
    """Predict every image; go on past those that cannot be read and list them at the end."""
    from fcis.cli.common import averaging_of, open_predictor
    from fcis.inference.predict_files import Interrupted, check_request
    from fcis.inference.tiling.tile_grid import read_tiling

    request = {
        "save": options.save,
        "score_threshold": options.score_threshold,
        "max_pixels": options.max_pixels,
        "resume": options.resume,
    }
    if "maps" in check_request(options.input, **request):
        _check_maps(options)
    tiling = read_tiling(options.tile, options.overlap)
    averaging = averaging_of(options)
    predictor = open_predictor(options.weights, options.size, options.device, averaging, tiling)
    try:
        outcome = predictor.predict_files(
            options.input, options.out, images_dir=options.images, **request
        )
    except Interrupted as stop:
        outcome = stop.outcome
        _report(outcome, options.out)
        total = "" if outcome.total is None else f" of {outcome.total}"
        seen = outcome.done + outcome.before
        is_term = isinstance(stop.__cause__, Terminated)
        word = "terminated" if is_term else "interrupted"
        print(f"fcis: {word} after {seen}{total} images", file=sys.stderr)
        return TERMINATED if is_term else INTERRUPTED
    _report(outcome, options.out)
    return 2 if outcome.failures else 0


def _check_maps(options: argparse.Namespace) -> None:
    """Refuse what has not one network's maps of a whole image."""
    from fcis.inference.predict_files import find_video_files

    several = len(options.weights or ()) > 1
    if options.tile is not None or options.scales is not None or options.flip or several:
        raise InputError(
            "--save maps: shows the maps of one network for a whole image; leave out --tile, "
            "--scales, --flip and all --weights but one"
        )
    videos = find_video_files(options.input)
    if videos:
        raise InputError(f"--save maps: is for images, and {videos[0]} is a video")


def _report(outcome: "fcis.inference.predict_files.Outcome", out: Path) -> None:
    """Say what there is, and what is missing."""
    for note in outcome.notes:
        print(note, file=sys.stderr)
    before = f" ({outcome.before} were done before)" if outcome.before else ""
    print(
        f"{_count(outcome.instances, 'instance')} in {_count(outcome.done, 'image')}{before}: {out}"
    )
    for failure in outcome.failures:
        print(f"fcis: {' '.join(failure.split())}", file=sys.stderr)
    total = outcome.done + outcome.before + len(outcome.failures)
    if outcome.failures and total > 1:
        print(f"fcis: {len(outcome.failures)} of {total} images left out", file=sys.stderr)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
