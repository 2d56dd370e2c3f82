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
from typing import NoReturn

from fcis.errors import InputError

INTERRUPTED = 130  # what shells expect of a command that Ctrl-C ended

_DEVICE = "auto, cpu, cuda, cuda:N or mps (default: auto)"
_DATA = "COCO .json, or scenes[:N[:seed]] for synthetic scenes"
_IMAGES = "where the images of the .json lie, if not beside it"
_WEIGHTS = "a .safetensors file, a run folder, a zoo name, or hf://owner/name"


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keep the line breaks of examples."""


class _Parser(argparse.ArgumentParser):
    """Treat bad arguments like all bad input."""

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints."""
        raise InputError(f"{message}; see {self.prog} --help")


class _Once(argparse.Action):
    """Refuse an option that is given twice, where the last one would win silently."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Store the value."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice; one is possible")
        setattr(namespace, self.dest, values)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="fcis",
        description="Instance segmentation with position-sensitive inside/outside score maps.",
        epilog="example:\n  fcis predict photos/ --weights runs/cells --out found",
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fcis {version('fcis-torch')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_predict(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_info(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: without the program's name; None: those of the process.
    """
    try:
        options = build_parser().parse_args(arguments)
        # Late, because commands bring torch, which takes seconds.
        module = importlib.import_module(f"fcis.commands.{options.command}")
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


def _command(
    commands: "argparse._SubParsersAction[_Parser]",
    name: str,
    summary: str,
    example: str,
) -> _Parser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=_Help,
        allow_abbrev=False,  # a name that is cut short could mean another option tomorrow
    )
    parser.add_argument("--device", default="auto", help=_DEVICE)
    return parser


def _add_demo(commands: "argparse._SubParsersAction[_Parser]") -> None:
    parser = _command(
        commands,
        "demo",
        "train on synthetic scenes for a few minutes and show what was learnt",
        "fcis demo --out demo",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="default: demo"
    )


def _add_predict(commands: "argparse._SubParsersAction[_Parser]") -> None:
    parser = _command(
        commands,
        "predict",
        "find the instances in images",
        "fcis predict photos/ --weights runs/cells --out found",
    )
    parser.add_argument(
        "input",
        nargs="+",
        metavar="INPUT",
        help="image files, folders, globs, a COCO .json (also one without annotations), or "
        "scenes:N:seed",
    )
    parser.add_argument("--weights", action=_Once, metavar="W", help=_WEIGHTS)
    parser.add_argument("--images", type=Path, metavar="DIR", help=_IMAGES)
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions"
    )
    parser.add_argument(
        "--score-threshold", type=float, metavar="S", help="default: as stored in the weights"
    )
    parser.add_argument(
        "--save",
        default="overlay,coco",
        metavar="KINDS",
        help="what to write: overlay (pictures), coco (predictions.json), masks (16-bit pictures "
        "with the number of the instance at each pixel); default: overlay,coco",
    )
    _add_size(parser)
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=100_000_000,
        metavar="N",
        help="refuse larger images (default: 100000000)",
    )


def _add_train(commands: "argparse._SubParsersAction[_Parser]") -> None:
    parser = _command(
        commands,
        "train",
        "train on annotated images",
        "fcis train --train train.json --val val.json --recipe nuclei-cpu --out runs/cells",
    )
    parser.add_argument("--train", required=True, metavar="DATA", help=_DATA)
    parser.add_argument("--train-images", type=Path, metavar="DIR", help=_IMAGES)
    parser.add_argument("--val", required=True, metavar="DATA", help=_DATA)
    parser.add_argument("--val-images", type=Path, metavar="DIR", help=_IMAGES)
    parser.add_argument("--recipe", required=True, metavar="R", help="see `fcis info`, or a .json")
    parser.add_argument("--weights", action=_Once, metavar="W", help="to begin with: " + _WEIGHTS)
    parser.add_argument("--out", type=Path, metavar="RUN", help="default: runs/RECIPE")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a field of the recipe, e.g. steps=500 or training.optimiser.lr=0.001",
    )


def _add_evaluate(commands: "argparse._SubParsersAction[_Parser]") -> None:
    parser = _command(
        commands,
        "evaluate",
        "measure weights on annotated images",
        "fcis evaluate --data val.json --weights runs/cells --json figures.json",
    )
    parser.add_argument("--data", required=True, metavar="DATA", help=_DATA)
    parser.add_argument("--images", type=Path, metavar="DIR", help=_IMAGES)
    parser.add_argument("--weights", action=_Once, required=True, metavar="W", help=_WEIGHTS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE", help="write the detections (COCO results)"
    )
    _add_size(parser)


def _add_info(commands: "argparse._SubParsersAction[_Parser]") -> None:
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
