"""The arguments of `fcis convert`."""

import argparse
from pathlib import Path

from fcis.cli.parser import Once, Parser, add_command


def add_convert(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "convert",
        "turn weights of the 2017 release, of ChainerCV or of ImageNet into a weights file, or "
        "a weights file into one of half precision",
        "fcis convert fcis_coco-0000.params coco.safetensors --report arrays.md",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="MXNet .params or ChainerCV .npz of FCIS; an ImageNet ResNet to begin training with: "
        "MXNet .params, .pth or .safetensors of torchvision or timm; with --half a weights file "
        "or a run folder",
    )
    parser.add_argument("target", type=Path, metavar="TARGET", help="a .safetensors file")
    parser.add_argument(
        "--conventions",
        metavar="C",
        help="release, chainercv or paper (default: those that SOURCE was trained for)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write what became of every array, as JSON (.json) or Markdown",
    )
    _add_half(parser)


def _add_half(parser: Parser) -> None:
    parser.add_argument(
        "--half",
        action="store_true",
        help="write a weights file or the best weights of a run again, half as large, with what "
        "the following options say",
    )
    parser.add_argument("--about", action=Once, metavar="TEXT", help="what they are for, shortly")
    parser.add_argument("--licence", action=Once, metavar="TEXT", help="of the weights")
    parser.add_argument(
        "--trained-on", action=Once, metavar="TEXT", help="the training data, for people"
    )
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME=VALUE[+-SPREAD]",
        help="a figure of these weights, with the standard deviation over trainings with other "
        "seeds, e.g. AP=0.654+-0.004; may be given several times",
    )
