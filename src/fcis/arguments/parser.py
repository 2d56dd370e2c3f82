"""What the arguments of all commands have in common; nothing here brings torch."""

import argparse
from typing import NoReturn

from fcis.errors import InputError

DEVICE = "auto, cpu, cuda, cuda:N or mps (default: auto)"
DATA = (
    "COCO .json; YOLO data.yaml[:SPLIT]; ROOT:SPLIT of COCO, SBD, VOC or Cityscapes; a folder of "
    "LabelMe files, or with images/ and masks/; or scenes[:N[:seed]], synthetic"
)
IMAGES = "where the images of the .json lie, if not beside it"
WEIGHTS = "a .safetensors file, a run folder, a zoo name, or hf://owner/name"


class Help(argparse.RawDescriptionHelpFormatter):
    """Keep the line breaks of examples."""


class Parser(argparse.ArgumentParser):
    """Treat bad arguments like all bad input."""

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints."""
        raise InputError(f"{message}; see {self.prog} --help")


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


def add_command(
    commands: "argparse._SubParsersAction[Parser]",
    name: str,
    summary: str,
    example: str,
) -> Parser:
    """Return the parser of a new command, which has `--help` with an example, and `--device`."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=Help,
        allow_abbrev=False,  # a name that is cut short could mean another option tomorrow
    )
    parser.add_argument("--device", default="auto", help=DEVICE)
    return parser


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add `--size`, which `fcis.commands.common.with_size` reads."""
    parser.add_argument(
        "--size",
        metavar="SHORT[:LONG]",
        help="sides after resizing, px (default: as stored in the weights)",
    )
