"""The command `fcis`: arguments, dispatch, and what happens on bad input.

Exit codes: 0 done, 2 bad input (one line on standard error), 1 a bug of ours (a traceback), 130
by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from fcis.cli import benchmark, convert, data, demo, evaluate, info, predict, reproduce, train
from fcis.cli.parser import INTERRUPTED, TERMINATED, Help, Parser
from fcis.core.errors import InputError
from fcis.core.interrupts import Terminated, raise_at_sigterm
from fcis.core.progress import LOGGER

# in the order of `fcis --help`; what a command is says `fcis.cli.parser`
COMMANDS = (demo, predict, train, evaluate, data, convert, benchmark, reproduce, info)


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
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: without the program's name; None: those of the process.
    """
    _let_the_first_speak()
    raise_at_sigterm()
    try:
        options = build_parser().parse_args(arguments)
        # commands are called like their modules
        module = importlib.import_module(f"fcis.cli.{options.command}")
        run: Callable[[argparse.Namespace], int] = module.run
        with _plain_warnings(), _lines_of_the_library():
            code = run(options)
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"fcis: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Terminated:
        print("fcis: terminated", file=sys.stderr)
        return TERMINATED
    except KeyboardInterrupt:
        print("fcis: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more may be written, at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _let_the_first_speak() -> None:
    """Keep all processes of a run but the first from printing; errors are printed by each."""
    if any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK")):
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # to the end


class _Lines(logging.Handler):
    """Prints lines above progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of a record."""
        tqdm.write(record.getMessage())


@contextmanager
def _lines_of_the_library() -> Iterator[None]:
    """Print what the library has to say."""
    handler, level = _Lines(), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)


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
