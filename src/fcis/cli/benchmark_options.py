"""The arguments of `fcis benchmark`."""

import argparse
from pathlib import Path

from fcis.cli.parser import DATA, IMAGES, WEIGHTS, Help, Once, Parser, add_command, add_size

PRECISIONS = ("float32", "bfloat16")
SAMPLINGS = ("native", "align", "pool")
_RECIPE = "see `fcis info`, or a .json"


def add_benchmark(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command with its three actions."""
    summary = "measure speed and memory of the operators, of inference and of training"
    parser = commands.add_parser(
        "benchmark",
        help=summary,
        description=summary,
        epilog="example:\n  fcis benchmark ops --json ops.json --plot ops.png",
        formatter_class=Help,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_ops(actions)
    _add_inference(actions)
    _add_training(actions)


def _add_ops(actions: "argparse._SubParsersAction[Parser]") -> None:
    parser = _action(
        actions,
        "ops",
        "assembly, joint scores and masks against writing out every RoI's tensor",
        "fcis benchmark ops --json ops.json --plot ops.png",
        repeats=7,
    )
    parser.add_argument(
        "--sampling",
        choices=SAMPLINGS,
        action="append",
        help="one way to sample a RoI, may be repeated (default: all)",
    )
    _add_precision(parser, "of the maps, for both forms")
    parser.set_defaults(batch=None, workers=None, classes=None)


def _add_inference(actions: "argparse._SubParsersAction[Parser]") -> None:
    parser = _action(
        actions,
        "inference",
        "a whole image stage by stage, the network's limit, and Mask R-CNN as a peer",
        "fcis benchmark inference --recipe coco-resnet101 --json inference.json",
        repeats=5,
    )
    parser.add_argument(
        "--recipe",
        default="coco-resnet101",
        metavar="R",
        help=f"{_RECIPE}; its weights are random (default: coco-resnet101)",
    )
    parser.add_argument(
        "--weights", action=Once, metavar="W", help=f"instead of a recipe: {WEIGHTS}"
    )
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="default: a synthetic scene of 480 x 800"
    )
    add_size(parser)
    parser.add_argument(
        "--batch",
        type=int,
        action="append",
        metavar="N",
        help="images at a time, may be repeated (default: 1 and 8)",
    )
    parser.add_argument("--no-peer", action="store_true", help="leave Mask R-CNN out")
    _add_precision(parser, "of the convolutions, of Mask R-CNN's too")
    parser.add_argument(
        "--compile", action="store_true", help="compile what runs on whole images, not the peer"
    )
    parser.set_defaults(workers=None)
    _add_classes(parser)


def _add_training(actions: "argparse._SubParsersAction[Parser]") -> None:
    parser = _action(
        actions,
        "training",
        "one optimiser step, stage by stage",
        "fcis benchmark training --recipe scenes --recipe nuclei-cpu",
        repeats=5,
    )
    parser.add_argument(
        "--recipe",
        action="append",
        metavar="R",
        help=f"{_RECIPE}; may be repeated (default: scenes)",
    )
    parser.add_argument("--data", metavar="DATA", help=f"default: scenes of 480 x 640; {DATA}")
    parser.add_argument("--images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--batch", type=int, metavar="N", help="images a batch")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read images")
    _add_classes(parser)


def _action(
    actions: "argparse._SubParsersAction[Parser]",
    name: str,
    summary: str,
    example: str,
    *,
    repeats: int,
) -> Parser:
    parser = add_command(actions, name, summary, example)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them")
    parser.add_argument("--threads", type=int, metavar="N", help="of one operation on a CPU")
    parser.add_argument(
        "--repeats",
        type=int,
        metavar="N",
        help=f"measurements of each work (default: {repeats})",
    )
    parser.add_argument(
        "--quick", action="store_true", help="try it out: small sizes, measured once"
    )
    parser.set_defaults(usual_repeats=repeats)
    return parser


def _add_precision(parser: Parser, what: str) -> None:
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help=f"{what} (default: float32)",
    )


def _add_classes(parser: Parser) -> None:
    parser.add_argument(
        "--classes",
        type=int,
        default=80,
        metavar="N",
        help="categories where the recipe or the synthetic data have fewer (default: 80)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a field of the recipe, e.g. model.conventions.sampling=native",
    )
