"""What the arguments of all commands have in common; nothing here brings torch.

Each command is a module with two functions. `add` adds its parser to those of `main`; `run` takes
the parsed arguments and returns the exit code. What `run` needs it imports itself: it may bring
torch, which takes seconds that `--help` and a wrong option should not.
"""

import argparse
from collections.abc import Iterable
from typing import NoReturn

from fcis.core.errors import InputError

INTERRUPTED = 130  # the exit code that shells expect of a command that Ctrl-C ended
TERMINATED = 143  # by SIGTERM
DEVICE = "auto, cpu, cuda, cuda:N or mps (default: auto)"
DATA = (
    "COCO .json; YOLO data.yaml[:SPLIT]; ROOT:SPLIT of COCO, SBD, VOC or Cityscapes; a folder of "
    "LabelMe files, or with images/ and masks/; or scenes[:N[:seed[:apart]]], synthetic"
)
IMAGES = "where the images of the .json lie, if not beside it"
WEIGHTS = "a .safetensors file, a run folder, a zoo name, or hf://owner/name"
SEVERAL = "; given several times, an ensemble, whose results are averaged"


class Help(argparse.RawDescriptionHelpFormatter):
    """Keep the line breaks of examples."""


class Parser(argparse.ArgumentParser):
    """Treat bad arguments like all bad input."""

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints."""
        raise InputError(f"{message}; see {self.prog} --help")

    def parse_known_args(  # type: ignore[override]  # any object may be a namespace there
        self,
        args: Iterable[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; `--option A B` is `--option A --option B` where no INPUT can be meant."""
        if args is not None:
            args = self._spread(list(args))
        return super().parse_known_args(args, namespace or argparse.Namespace())

    def _spread(self, args: list[str]) -> list[str]:
        """Repeat options of `Several` for each value that follows them."""
        several = {o for a in self._actions if isinstance(a, Several) for o in a.option_strings}
        positionals = [a for a in self._actions if not a.option_strings]
        # what follows an option at the very front may be an INPUT, as in `--weights W photo.png`
        if not args or (positionals and args[0].startswith("-")):
            return args
        spread: list[str] = []
        option = ""
        for number, text in enumerate(args):
            if text.startswith("-"):
                option = text if text in several else ""
            elif option and args[number - 1] != option:
                spread.append(option)
            spread.append(text)
        return spread


class Several(argparse.Action):
    """Collect the values of an option that may be given several times, or have several values."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Append the value."""
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), values])


class Once(argparse.Action):
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


Commands = argparse._SubParsersAction


def add_command(commands: Commands, name: str, summary: str, example: str) -> Parser:
    """Return the parser of a new command, which has `--help` with an example, and `--device`."""
    parser = _add_parser(commands, name, summary, example)
    parser.add_argument("--device", default="auto", help=DEVICE)
    return parser


def add_group(
    commands: Commands, name: str, summary: str, example: str, *, of: str = "action"
) -> Commands:
    """Return where the commands of a new group are added; `of` is what chooses among them."""
    parser = _add_parser(commands, name, summary, example)
    return parser.add_subparsers(dest=of, required=True, metavar=of.upper())


def _add_parser(commands: Commands, name: str, summary: str, example: str) -> Parser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=Help,
        allow_abbrev=False,  # a name that is cut short could mean another option tomorrow
    )


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add `--size`, which `fcis.recipe.reading.with_size` reads."""
    parser.add_argument(
        "--size",
        metavar="SHORT[:LONG]",
        help="sides after resizing, px (default: as stored in the weights)",
    )


def add_averaging(parser: argparse.ArgumentParser) -> None:
    """Add the test-time tools, which `fcis.cli.common.averaging_of` reads."""
    parser.add_argument(
        "--scales",
        metavar="S,S,...",
        help="test at several sizes, each RoI at the one that suits it: shorter sides in px (the "
        "paper's: 480,576,688,864,1200,1400), or factors of the weights' own size (0.5x,1x,2x)",
    )
    parser.add_argument(
        "--flip", action="store_true", help="average with what is found in the mirror image"
    )
    parser.add_argument(
        "--roi-side",
        type=float,
        default=224.0,
        metavar="PX",
        help="with --scales: a RoI is read where its pixels are closest in number to a square "
        "of this side (default: 224)",
    )


def add_tiles(parser: argparse.ArgumentParser) -> None:
    """Add `--tile` and `--overlap`, which `tile_grid.read_tiling` reads."""
    parser.add_argument(
        "--tile",
        type=int,
        metavar="SIZE",
        help="look at large images in tiles of SIZE x SIZE px of the original, and join what is "
        "found",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help="of neighbouring tiles, px; best more than an object's length (default: a quarter "
        "of SIZE, at most 256)",
    )
