"""`fcis benchmark`: figures of speed and memory, with all that is needed to repeat them."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fcis.cli.parser import (
    DATA,
    IMAGES,
    WEIGHTS,
    Commands,
    Once,
    Parser,
    add_command,
    add_group,
    add_size,
)
from fcis.core.errors import InputError

if TYPE_CHECKING:
    import fcis.lab.benchmark.report
    import fcis.lab.benchmark.timing

PRECISIONS = ("float32", "bfloat16")
SAMPLINGS = ("native", "align", "pool")
_QUICK = "measured in a hurry on small sizes: these figures say nothing of speed"
_RECIPE = "see `fcis info`, or a .json"


def add(commands: Commands) -> None:
    """Add the group with its three commands."""
    actions = add_group(
        commands,
        "benchmark",
        "measure speed and memory of the operators, of inference and of training",
        "fcis benchmark ops --json ops.json --plot ops.png",
    )
    _add_ops(actions)
    _add_inference(actions)
    _add_training(actions)


def _add_ops(actions: Commands) -> None:
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


def _add_inference(actions: Commands) -> None:
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


def _add_training(actions: Commands) -> None:
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
    actions: Commands,
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
        help="change a field of the recipe, e.g. model.head.sampling=native",
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables and write what was asked for."""
    from dataclasses import asdict

    from fcis.core.devices import choose_device
    from fcis.core.output_files import check_file, write_json, write_picture
    from fcis.lab.benchmark.plots import draw
    from fcis.lab.benchmark.timing import Method
    from fcis.lab.environment import environment, threads

    for option, path in (("--json", options.json), ("--plot", options.plot)):
        if path is not None:
            check_file(option, path)
    _check(options)
    device = choose_device(options.device)
    if options.quick:
        method = Method(rounds=options.repeats or 1, least_seconds=0.0)
    else:
        method = Method(rounds=options.repeats or options.usual_repeats)
    measure = {"ops": _ops, "inference": _inference, "training": _training}[options.action]
    with threads(options.threads):
        facts = environment(device)
        report = measure(options, device, method)
    notes = [*report.notes, *([_QUICK] if options.quick else [])]
    text = [facts.text(), *(table.text() for table in report.tables), "\n".join(notes)]
    print("\n\n".join(text))
    if options.json:
        figures = {
            "benchmark": options.action,
            "quick": options.quick,
            "environment": facts.to_json(),
            "method": asdict(method),
            **report.to_json(),
            "text": text,
        }
        write_json(options.json, figures)
        print(f"figures: {options.json}")
    if options.plot:
        write_picture(options.plot, draw(report), dpi=150, kind="png")
        print(f"plot: {options.plot}")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse numbers that make no sense."""
    batches = options.batch if isinstance(options.batch, list) else [options.batch]
    numbers = [
        ("--threads", options.threads, 1),
        ("--repeats", options.repeats, 1),
        ("--workers", options.workers, 0),
        ("--classes", options.classes, 1),
        *(("--batch", batch, 1) for batch in batches),
    ]
    for name, value, least in numbers:
        if value is not None and value < least:
            raise InputError(f"{name} {value}: expected at least {least}")


def _ops(
    options: argparse.Namespace, device: str, method: "fcis.lab.benchmark.timing.Method"
) -> "fcis.lab.benchmark.report.Report":
    from fcis.lab.benchmark.ops import OpsSettings, run_ops

    settings = OpsSettings(
        samplings=tuple(s for s in SAMPLINGS if s in (options.sampling or SAMPLINGS)),
        device=device,
        method=method,
        precision=options.precision,
    )
    return run_ops(settings.small() if options.quick else settings, _tell)


def _inference(
    options: argparse.Namespace, device: str, method: "fcis.lab.benchmark.timing.Method"
) -> "fcis.lab.benchmark.report.Report":
    from fcis.lab.benchmark.inference import InferenceSettings, run_inference
    from fcis.lab.benchmark.networks import open_network

    quick = options.quick
    with tempfile.TemporaryDirectory() as folder:
        predictor, name, image = open_network(
            Path(folder),
            weights=options.weights,
            recipe=options.recipe,
            settings=options.set,
            classes=4 if quick else options.classes,
            size=options.size or ("64:96" if quick else None),
            image=options.image,
            device=device,
            tell=_tell,
        )
        settings = InferenceSettings(
            image=image,
            batches=tuple(options.batch or ((1, 2) if quick else (1, 8))),
            matrix=64 if quick else 4096,
            peer=not options.no_peer,
            device=device,
            method=method,
            precision=options.precision,
            compiled=options.compile,
        )
        return run_inference(predictor, name, settings, _tell)


def _training(
    options: argparse.Namespace, device: str, method: "fcis.lab.benchmark.timing.Method"
) -> "fcis.lab.benchmark.report.Report":
    from fcis.lab.benchmark.training import measured, open_data, run_training
    from fcis.recipe.reading import read_recipe
    from fcis.training.run import for_dataset

    quick = options.quick
    dataset = open_data(options.data, options.images, classes=options.classes, quick=quick)
    batch = options.batch or (1 if quick else None)
    workers = 0 if quick and options.workers is None else options.workers
    recipes = []
    for name in options.recipe or ["scenes"]:
        recipe = measured(read_recipe(name, options.set), batch=batch, workers=workers)
        recipes.append(for_dataset(recipe, dataset))
    return run_training(recipes, dataset, device, method, _tell)


def _tell(text: str) -> None:
    print(f"measuring {text}", file=sys.stderr)
