"""Networks and images to measure where none are given."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.scenes.shape_scenes import render_scene
from fcis.imaging.multichannel import read_as
from fcis.inference.load_predictor import load_any
from fcis.inference.predictor import Predictor
from fcis.inference.preprocess import collate, prepare
from fcis.lab.benchmark.sane_activations import settle
from fcis.model.baselines.mnc import MNC
from fcis.model.build import build_model
from fcis.model.detector import Detector
from fcis.model.folding import fold_norms
from fcis.recipe.reading import read_recipe, with_size
from fcis.recipe.types import ModelRecipe
from fcis.structures import ImageBatch
from fcis.weights.weights_file import WeightsInfo

_SHRINK = 0.8  # originals are smaller than what the network sees, as COCO's are
_SIDES = (600, 1000)  # px, where a recipe names none
_JPEG_QUALITY = 95


def open_network(
    folder: Path,
    *,
    weights: str | None,
    recipe: str,
    settings: Sequence[str],
    classes: int,
    size: str | None,
    image: Path | None,
    device: str,
    tell: Callable[[str], None],
) -> tuple[Predictor, str, Path]:
    """Return what is measured, its name, and the image.

    Args:
        folder: for an image that is drawn.
        weights: as `load_any` takes them; None: random ones.
        recipe: of random weights, as `read_recipe` takes it.
        settings: of the recipe, KEY=VALUE.
        classes: categories where the recipe has none.
        size: SHORT[:LONG] as `with_size` takes it; None: as stored.
        image: a file; None: one is drawn.
        device: as torch names it.
        tell: takes a line before what takes long.

    Raises:
        InputError: weights, recipe, a setting, size or image cannot be used.
    """
    if weights is not None:
        if settings:
            raise InputError("--set changes a recipe; leave out --weights or --set")
        change = partial(with_size, text=size) if size is not None else None
        predictor = load_any(weights, device=device, change=change)
        return predictor, Path(weights).stem, image or write_example(folder, predictor.model.recipe)
    whole = read_recipe(recipe, settings)
    model = with_classes(whole.model, classes)
    if size is not None:
        model = with_size(model, size)
    image = image or write_example(folder, model)
    pixels = read_as(image, model.image_reading)
    tell("network with random weights")
    return random_predictor(model, whole.name, pixels, device=device), whole.name, image


def with_classes(recipe: ModelRecipe, count: int) -> ModelRecipe:
    """Return the recipe with its own categories, or with so many where it has none."""
    if recipe.class_names:
        return recipe
    names = tuple(f"class {number}" for number in range(1, count + 1))
    return replace(recipe, class_names=names, category_ids=tuple(range(1, count + 1)))


def random_predictor(
    recipe: ModelRecipe, name: str, image: UInt8[np.ndarray, "height width channel"], *, device: str
) -> Predictor:
    """Return a predictor with random weights whose activations on the image are of a sane size.

    Its convolutions have taken up BatchNorm, as those of a loaded predictor have.
    """
    model = build_model(recipe).eval().to(device)
    settle_on(model, network_input(model, image))
    info = WeightsInfo(model=recipe, recipe=name)
    return Predictor(fold_norms(model), info, device=device)


def settle_on(model: Detector, batch: ImageBatch) -> None:
    """Give a network with random weights activations of a sane size on these images."""

    def run() -> None:
        output, maps = model(batch)
        if isinstance(model, MNC):  # convolutions of RoIs
            proposals = model.rpn_proposals(output, batch)
            model.cascade(maps, proposals.boxes, proposals.image_index)

    settle(run)


def network_input(model: Detector, image: UInt8[np.ndarray, "height width channel"]) -> ImageBatch:
    """Return an image resized, on the network's device and in its precision."""
    recipe = model.recipe
    prepared = prepare(image, recipe.preprocessing)
    batch = collate([prepared], [(image.shape[0], image.shape[1])])
    parameter = next(model.parameters())
    return replace(batch, pixels=batch.pixels.to(parameter.dtype)).to(parameter.device)


def write_example(folder: Path, recipe: ModelRecipe) -> Path:
    """Write a synthetic scene as JPEG, a little smaller than the network's input; return where."""
    prep = recipe.preprocessing
    short = prep.short_side or _SIDES[0]
    long = prep.long_side or round(short * _SIDES[1] / _SIDES[0])
    size = (max(64, round(short * _SHRINK)), max(64, round(long * _SHRINK)))
    path = folder / "example.jpg"
    Image.fromarray(render_scene(0, 0, size).image).save(path, quality=_JPEG_QUALITY)
    return path
