"""The command `fcis`: arguments, dispatch, and what happens on bad input.

Exit codes: 0 done, 2 bad input (one line on standard error), 1 a bug of ours (a traceback).
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fcis.errors import InputError

_DEVICE = "auto, cpu, cuda, cuda:N or mps (default: auto)"
_DATA = "COCO .json, or scenes[:N[:seed]] for synthetic scenes"
_WEIGHTS = "a .safetensors file, a run folder, a zoo name, or hf://owner/name"


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keep the line breaks of examples."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="fcis",
        description="Instance segmentation with position-sensitive inside/outside score maps.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_predict(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_info(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        module = importlib.import_module(f"fcis.commands.{options.command}")
        run: Callable[[argparse.Namespace], int] = module.run
        return run(options)
    except InputError as error:
        print(f"fcis: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fcis: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=_Help,
    )
    parser.add_argument("--device", default="auto", help=_DEVICE)
    return parser


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "demo",
        "train on synthetic scenes for a few minutes and show what was learnt",
        "fcis demo --out demo",
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")


def _add_predict(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "predict",
        "find the instances in images",
        "fcis predict photos/ --weights runs/cells --out found",
    )
    parser.add_argument(
        "input", nargs="+", metavar="INPUT", help="images, folders, globs, or a COCO .json"
    )
    parser.add_argument("--weights", metavar="W", help=_WEIGHTS)
    parser.add_argument("--images", type=Path, metavar="DIR", help="images of a COCO .json")
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR")
    parser.add_argument(
        "--score-threshold", type=float, metavar="S", help="default: as stored in the weights"
    )
    parser.add_argument(
        "--save",
        default="overlay,coco",
        metavar="KINDS",
        help="overlay, coco, masks (default: overlay,coco)",
    )
    _add_size(parser)
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=100_000_000,
        metavar="N",
        help="refuse larger images (default: 100000000)",
    )


def _add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "train",
        "train on annotated images",
        "fcis train --train train.json --val val.json --recipe nuclei-cpu --out runs/cells",
    )
    parser.add_argument("--train", required=True, metavar="DATA", help=_DATA)
    parser.add_argument("--train-images", type=Path, metavar="DIR")
    parser.add_argument("--val", required=True, metavar="DATA", help=_DATA)
    parser.add_argument("--val-images", type=Path, metavar="DIR")
    parser.add_argument("--recipe", required=True, metavar="R", help="see `fcis info`, or a .json")
    parser.add_argument("--weights", metavar="W", help="to begin with: " + _WEIGHTS)
    parser.add_argument("--out", type=Path, metavar="RUN", help="default: runs/RECIPE")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a field of the recipe, e.g. steps=500 or training.optimiser.lr=0.001",
    )


def _add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "evaluate",
        "measure weights on annotated images",
        "fcis evaluate --data val.json --weights runs/cells --json figures.json",
    )
    parser.add_argument("--data", required=True, metavar="DATA", help=_DATA)
    parser.add_argument("--images", type=Path, metavar="DIR")
    parser.add_argument("--weights", required=True, metavar="W", help=_WEIGHTS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE", help="write the detections (COCO results)"
    )
    _add_size(parser)


def _add_info(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "info",
        "show versions, devices, recipes and weights",
        "fcis info runs/cells",
    )
    parser.add_argument("weights", nargs="?", metavar="W", help=_WEIGHTS)


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        metavar="SHORT[:LONG]",
        help="sides after resizing, px (default: as stored in the weights)",
    )


if __name__ == "__main__":
    sys.exit(main())
