"""The command `fcis`: arguments, dispatch, and what happens on bad input.

Exit codes: 0 done, 2 bad input (one line on standard error), 1 a bug of ours (a traceback), 130
interrupted.
"""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from fcis.cli.benchmark_options import add_benchmark
from fcis.cli.convert_options import add_convert
from fcis.cli.parser import (
    DATA,
    IMAGES,
    SEVERAL,
    WEIGHTS,
    Help,
    Once,
    Parser,
    Several,
    add_averaging,
    add_command,
    add_size,
    add_tiles,
)
from fcis.cli.reproduce_options import add_reproduce
from fcis.core.errors import InputError

INTERRUPTED = 130  # what shells expect of a command that Ctrl-C ended


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="fcis",
        description="Instance segmentation with position-sensitive inside/outside score maps.",
        epilog="example:\n  fcis predict photos/ --weights runs/cells --out found",
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fcis {version('fcis-torch')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_predict(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_data(commands)
    add_convert(commands)
    add_benchmark(commands)
    add_reproduce(commands)
    _add_info(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: without the program's name; None: those of the process.
    """
    _let_the_first_speak()
    try:
        options = build_parser().parse_args(arguments)
        # Late, because commands bring torch, which takes seconds.
        module = importlib.import_module(f"fcis.cli.{options.command}")
        run: Callable[[argparse.Namespace], int] = module.run
        with _plain_warnings():
            code = run(options)
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"fcis: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as error:
        # Lightning turns Ctrl-C into an exit of its own
        if isinstance(error.__context__, KeyboardInterrupt):
            return _interrupted()
        raise
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more may be written, at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _let_the_first_speak() -> None:
    """Keep all processes of a run but the first from printing; errors are printed by each."""
    if any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK")):
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # to the end


def _interrupted() -> int:
    print("fcis: interrupted", file=sys.stderr)
    return INTERRUPTED


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print warnings to users as one line each, without the place in the code."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        print(f"fcis: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _add_demo(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = add_command(
        commands,
        "demo",
        "find objects in images that it draws itself, and train on such images",
        "fcis demo --out demo",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="default: demo"
    )


def _add_predict(commands: "argparse._SubParsersAction[Parser]") -> None:
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


def _add_train(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = add_command(
        commands,
        "train",
        "train on annotated images",
        "fcis train --train train.json --val val.json --recipe nuclei-cpu --out runs/cells",
    )
    parser.add_argument("--train", required=True, metavar="DATA", help=DATA)
    parser.add_argument("--train-images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--val", required=True, metavar="DATA", help=DATA)
    parser.add_argument("--val-images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--recipe", required=True, metavar="R", help="see `fcis info`, or a .json")
    parser.add_argument("--weights", action=Once, metavar="W", help="to begin with: " + WEIGHTS)
    parser.add_argument("--out", type=Path, metavar="RUN", help="default: runs/RECIPE")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a field of the recipe, e.g. steps=500 or training.optimiser.lr=0.001",
    )


def _add_evaluate(commands: "argparse._SubParsersAction[Parser]") -> None:
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


def _add_data(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "data",
        help="check, look at and convert datasets",
        description="check, look at and convert datasets",
        epilog="example:\n  fcis data check train.json --val val.json --fix corrected",
        formatter_class=Help,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_data_check(actions)
    _add_data_preview(actions)
    _add_data_convert(actions)


def _add_data_check(actions: "argparse._SubParsersAction[Parser]") -> None:
    parser = add_command(
        actions,
        "check",
        "list what is wrong with a dataset, and write a corrected copy; exits with 2 if there "
        "are errors and no copy is written",
        "fcis data check train.json --val val.json --fix corrected",
    )
    parser.set_defaults(command="data_check")
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--val", metavar="DATA", help="find images that are in both")
    parser.add_argument("--val-images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--recipe", metavar="R", help="whose scale tells which objects are small")
    parser.add_argument("--fix", type=Path, metavar="OUT", help="folder for a corrected copy")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings")
    parser.add_argument("--all", action="store_true", help="list all findings of a kind, not 5")


def _add_data_preview(actions: "argparse._SubParsersAction[Parser]") -> None:
    parser = add_command(
        actions,
        "preview",
        "draw annotated images, or the training samples that a recipe makes of them",
        "fcis data preview train.json --recipe nuclei-cpu --out preview.png",
    )
    parser.set_defaults(command="data_preview")
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--recipe", metavar="R", help="show its training samples (see `fcis info`)")
    parser.add_argument(
        "--out", type=Path, default=Path("preview.png"), metavar="FILE", help="default: preview.png"
    )
    parser.add_argument(
        "--count", type=int, default=6, metavar="N", help="how many images or samples (default: 6)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="of the choice (default: the recipe's, or 0)"
    )


def _add_data_convert(actions: "argparse._SubParsersAction[Parser]") -> None:
    parser = add_command(
        actions,
        "convert",
        "write a dataset, with copies of its images, in another format",
        "fcis data convert sbd:val sbd-val --to coco",
    )
    parser.set_defaults(command="data_convert")
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument("--images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument(
        "--to", required=True, choices=("coco", "yolo", "labelme", "masks"), help="the format"
    )


def _add_info(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = add_command(
        commands,
        "info",
        "show versions, devices, recipes and weights",
        "fcis info runs/cells",
    )
    parser.add_argument("weights", nargs="?", metavar="W", help=WEIGHTS)
