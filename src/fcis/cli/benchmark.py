"""`fcis benchmark`: figures of speed and memory, with all that is needed to repeat them."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from fcis.cli.benchmark_options import SAMPLINGS
from fcis.cli.common import check_file, open_predictor, with_size, write_json
from fcis.cli.train import read_recipe
from fcis.core.devices import choose_device
from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.data.source import open_dataset
from fcis.imaging.reading import read_image
from fcis.inference.predictor import Predictor
from fcis.lab.benchmark.environment import Environment, environment
from fcis.lab.benchmark.inference import InferenceReport, InferenceSettings, run_inference
from fcis.lab.benchmark.networks import random_predictor, with_classes, write_example
from fcis.lab.benchmark.ops import OpsReport, OpsSettings, run_ops
from fcis.lab.benchmark.plots import draw, save
from fcis.lab.benchmark.timing import Method
from fcis.lab.benchmark.training import (
    TrainingReport,
    TrainingSettings,
    measured,
    run_training,
    with_unused_categories,
)
from fcis.lab.benchmark.workload import Size
from fcis.recipe.as_json import with_setting
from fcis.recipe.types import Recipe
from fcis.training.run import for_dataset

_SCALED_ROIS = (300, 1000, 3000)
_SCALED_CLASSES = (21, 81, 301, 1201)  # background included
_BATCHES = (1, 8)
_MATRIX = 4096
_SCENES = 64
_SCENE_SIZE = (480, 640)  # (height, width) px, as COCO's images
_QUICK = "measured in a hurry on small sizes: these figures say nothing of speed"

Report = OpsReport | InferenceReport | TrainingReport


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables and write what was asked for."""
    for option, path in (("--json", options.json), ("--plot", options.plot)):
        if path is not None:
            check_file(option, path)
    _check(options)
    device = choose_device(options.device)
    actions: dict[str, Callable[[argparse.Namespace, str], Report]] = {
        "ops": _ops,
        "inference": _inference,
        "training": _training,
    }
    with _threads(options.threads):
        facts = environment(device)
        report = actions[options.action](options, device)
    notes = [*report.notes(), *([_QUICK] if options.quick else [])]
    text = [facts.text(), *(table.text() for table in report.tables()), "\n".join(notes)]
    print("\n\n".join(text))
    if options.json:
        write_json(options.json, _figures(options, facts, report, text))
        print(f"figures: {options.json}")
    if options.plot:
        save(draw(report), options.plot)
        print(f"plot: {options.plot}")
    return 0


def _figures(
    options: argparse.Namespace, facts: Environment, report: Report, text: list[str]
) -> dict[str, object]:
    return {
        "benchmark": options.action,
        "quick": options.quick,
        "environment": facts.to_json(),
        "method": asdict(_method(options)),
        **report.to_json(),
        "text": text,
    }


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


def _method(options: argparse.Namespace) -> Method:
    if options.quick:
        return Method(rounds=options.repeats or 1, least_seconds=0.0)
    return Method(rounds=options.repeats or options.usual_repeats)


def _ops(options: argparse.Namespace, device: str) -> OpsReport:
    size = Size(rois=20, classes=4, rows=10, columns=12, k=3, out_size=9)
    settings = OpsSettings(
        size=size if options.quick else Size(),
        rois=(10, 20) if options.quick else _SCALED_ROIS,
        classes=(2, 4) if options.quick else _SCALED_CLASSES,
        samplings=tuple(s for s in SAMPLINGS if s in (options.sampling or SAMPLINGS)),
        device=device,
        method=_method(options),
        precision=options.precision,
    )
    return run_ops(settings, _tell)


def _inference(options: argparse.Namespace, device: str) -> InferenceReport:
    with tempfile.TemporaryDirectory() as folder:
        predictor, name, image = _predictor(options, device, Path(folder))
        settings = InferenceSettings(
            image=image,
            batches=tuple(options.batch or ((1, 2) if options.quick else _BATCHES)),
            matrix=64 if options.quick else _MATRIX,
            peer=not options.no_peer,
            device=device,
            method=_method(options),
            precision=options.precision,
            compiled=options.compile,
        )
        return run_inference(predictor, name, settings, _tell)


def _predictor(
    options: argparse.Namespace, device: str, folder: Path
) -> tuple[Predictor, str, Path]:
    """Return what is measured, its name, and the image."""
    size = options.size or ("64:96" if options.quick else None)
    if options.weights is not None:
        if options.set:
            raise InputError("--set changes a recipe; leave out --weights or --set")
        predictor = open_predictor(options.weights, size, device)
        image = options.image or write_example(folder, predictor.model.recipe)
        return predictor, Path(options.weights).stem, image
    recipe = _changed(read_recipe(options.recipe), options.set)
    model = with_classes(recipe.model, 4 if options.quick else options.classes)
    if size is not None:
        model = with_size(model, size)
    image = options.image or write_example(folder, model)
    pixels = read_image(image, percentiles=model.preprocessing.high_depth)
    _tell("network with random weights")
    return random_predictor(model, recipe.name, pixels, device=device), recipe.name, image


def _training(options: argparse.Namespace, device: str) -> TrainingReport:
    dataset = _dataset(options)
    batch = options.batch or (1 if options.quick else None)
    workers = 0 if options.quick and options.workers is None else options.workers
    recipes = []
    for name in options.recipe or ["scenes"]:
        recipe = measured(_changed(read_recipe(name), options.set), batch=batch, workers=workers)
        recipes.append(for_dataset(recipe, dataset))
    settings = TrainingSettings(device=device, method=_method(options))
    return run_training(recipes, dataset, settings, _tell)


def _dataset(options: argparse.Namespace) -> Dataset:
    if options.data is not None:
        return open_dataset(options.data, options.images)
    if options.images is not None:
        raise InputError("--images belongs to the .json of --data; give that too")
    if options.quick:
        return scene_dataset(2, 0, size=(64, 96))
    return with_unused_categories(scene_dataset(_SCENES, 0, size=_SCENE_SIZE), options.classes)


def _changed(recipe: Recipe, settings: list[str]) -> Recipe:
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: expected KEY=VALUE, e.g. steps=500")
        recipe = with_setting(recipe, key, value)
    return recipe


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads for one operation, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tell(text: str) -> None:
    print(f"measuring {text}", file=sys.stderr)
