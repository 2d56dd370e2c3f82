"""Training samples: an image with its objects, changed at random, in the network's frame.

Sample s of a run is a pure function of (seed, s), so that a resumed run sees exactly what it
would have seen, whichever process reads it. A change that is off draws no number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64

from fcis.core.masks import MaskCrop, crop_from_rle
from fcis.data.dataset import Annotation, Dataset, ImageRecord
from fcis.imaging.channel_counts import fit_channels
from fcis.inference.preprocess import Resize, normalise, plan_resize, stretch_levels
from fcis.recipe.types import Augmentation, Recipe
from fcis.training.batch import ObjectMask, Sample, Truth
from fcis.training.elastic import draw_shifts, pulled
from fcis.training.image_repeats import epoch_length, epoch_order, repeat_factors
from fcis.training.jitter import jitter_colour, jitter_light
from fcis.training.paste import paste, pick_objects
from fcis.training.windows import (
    View,
    Window,
    clip_to_window,
    flipped,
    move_boxes,
    random_crop,
    show_objects,
    transposed,
    whole_window,
    window_levels,
)

_CACHED_BYTES = 1 << 28  # decoded masks that a process keeps in memory
_CHANCE_OF_TARGETS = 1 << 20  # keeps the streams of targets apart from those of samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """An image with its objects decoded.

    Attributes:
        record: the image and its annotations.
        crops: the masks of its objects, crowd regions left out, in their order.
        labels: of its objects, 1..C, in the same order.
    """

    record: ImageRecord
    crops: tuple[MaskCrop, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """Which mirrorings an image gets: flips first, then exchange of rows and columns."""

    flip: bool
    flip_vertical: bool
    transpose: bool

    def of(self, view: View) -> View:
        """Return a view mirrored."""
        if self.flip:
            view = flipped(view)
        if self.flip_vertical:
            view = transposed(flipped(transposed(view)))
        return transposed(view) if self.transpose else view


class TrainingSamples(torch.utils.data.Dataset[Sample]):
    """The endless sequence of training samples of a run, addressed by number.

    Each epoch is a permutation of the images that have objects, those of rare categories, and those
    into which more crops fit, repeated if the recipe says so. All epochs have the same length.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        self.recipe = recipe
        self.label_of = dataset.label_of
        self.images = tuple(r for r in dataset.images if _objects_of(r))
        categories = [{a.category_id for a in _objects_of(r)} for r in self.images]
        self._factors = repeat_factors(categories, recipe.training.repeat_threshold)
        if recipe.training.repeat_crops:
            self._factors = self._factors * _crop_factors(self.images, recipe)
        self._order: tuple[int, tuple[int, ...]] = (-1, ())
        self._crops: dict[int, tuple[MaskCrop, ...]] = {}
        self._cached = 0

    def __getitem__(self, number: int) -> Sample:
        """Return sample `number` of the run."""
        epoch, position = divmod(number, epoch_length(self._factors))
        return make_sample(
            self._image(self._epoch_order(epoch)[position]),
            self.recipe,
            np.random.default_rng((self.recipe.training.seed, epoch, position + 1)),
            number=number,
            another=lambda rng: self._image(int(rng.integers(len(self.images)))),
        )

    def _epoch_order(self, epoch: int) -> tuple[int, ...]:
        if self._order[0] != epoch:
            rng = np.random.default_rng((self.recipe.training.seed, epoch))
            self._order = (epoch, tuple(epoch_order(self._factors, rng).tolist()))
        return self._order[1]

    def _image(self, index: int) -> Annotated:
        record = self.images[index]
        labels = tuple(self.label_of[a.category_id] for a in _objects_of(record))
        return Annotated(record=record, crops=self._crops_of(index), labels=labels)

    def _crops_of(self, index: int) -> tuple[MaskCrop, ...]:
        if index in self._crops:
            return self._crops[index]
        crops = tuple(crop_from_rle(a.rle) for a in _objects_of(self.images[index]))
        size = sum(c.bits.nbytes for c in crops)
        if self._cached + size <= _CACHED_BYTES:
            self._crops[index] = crops
            self._cached += size
        return crops


def make_sample(
    image: Annotated,
    recipe: Recipe,
    rng: np.random.Generator,
    *,
    number: int,
    another: Callable[[np.random.Generator], Annotated],
) -> Sample:
    """Return one changed training image.

    Args:
        image: what is shown.
        recipe: preprocessing and augmentation.
        rng: all chance comes from here.
        number: of the sample in the run.
        another: draws the image whose objects are pasted.
    """
    model, change = recipe.model, recipe.training.augmentation
    # streams of their own, so that switching these on leaves all other choices as they were
    paste_rng, colour_rng, elastic_rng = rng.spawn(3)
    size = (image.record.height, image.record.width)
    window = _draw_window(size, recipe, rng)
    view = _draw_mirrors(change, rng).of(_show(image, window, recipe))
    if change.paste and paste_rng.random() < change.paste:
        view = _draw_pasted(view, another(paste_rng), recipe, paste_rng)
    if change.elastic:
        view = _draw_pulled(view, change, elastic_rng)
    levels = jitter_colour(jitter_light(view.levels, change, rng), change, colour_rng)
    if model.preprocessing.resize == "levels":
        levels = np.rint(levels)
    return Sample(
        number=number,
        pixels=normalise(levels, model.preprocessing),
        plan=Resize(size=(levels.shape[0], levels.shape[1]), factors=window.factors),
        original_size=size,
        truth=_truth(view),
        name=image.record.file_name,
    )


def target_generator(seed: int, number: int) -> torch.Generator:
    """Return the source of chance for the choice of targets of one sample of a run."""
    state = np.random.SeedSequence((seed, _CHANCE_OF_TARGETS, number)).generate_state(1)
    return torch.Generator().manual_seed(int(state[0]))


def _crop_factors(images: Sequence[ImageRecord], recipe: Recipe) -> Float64[np.ndarray, " image"]:
    """Return how often each image should come in an epoch for its size, 1 or more."""
    change, power = recipe.training.augmentation, recipe.training.repeat_crops
    sizes = np.array([_test_size(r, recipe) for r in images], dtype=np.float64).reshape(-1, 2)
    fitting = np.maximum(1.0, sizes.prod(axis=1) / change.crop**2)
    stays_whole = sizes.min(axis=1) <= change.crop_above
    return np.where(stays_whole, 1.0, fitting) ** power


def _test_size(record: ImageRecord, recipe: Recipe) -> tuple[int, int]:
    size = (record.height, record.width)
    return plan_resize(size, recipe.model.preprocessing).size


def _objects_of(record: ImageRecord) -> list[Annotation]:
    return [a for a in record.annotations if not a.is_crowd]


def _boxes(annotations: Sequence[Annotation]) -> Float32[np.ndarray, "n 4"]:
    return np.array([a.box for a in annotations], dtype=np.float32).reshape(-1, 4)


def _truth(view: View) -> Truth:
    return Truth(
        boxes=torch.from_numpy(view.boxes),
        labels=torch.from_numpy(view.labels),
        masks=tuple(
            ObjectMask(
                top=m.top, left=m.left, values=torch.from_numpy(np.ascontiguousarray(m.values))
            )
            for m in view.masks
        ),
        crowds=torch.from_numpy(view.crowds),
    )


def _show(image: Annotated, window: Window, recipe: Recipe) -> View:
    """Return what a window shows of an image."""
    annotations, preprocessing = image.record.annotations, recipe.model.preprocessing
    kept, boxes, masks = show_objects(_boxes(_objects_of(image.record)), image.crops, window)
    crowds = move_boxes(_boxes([a for a in annotations if a.is_crowd]), window)
    pixels = fit_channels(image.record.read(), len(preprocessing.mean))
    levels = stretch_levels(pixels, preprocessing.stretch)
    return View(
        levels=window_levels(levels, window, preprocessing.mean),
        boxes=boxes,
        labels=np.array([image.labels[i] for i in kept], dtype=np.int64),
        masks=masks,
        crowds=clip_to_window(crowds, window),
    )


def _draw_window(size: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> Window:
    """Draw scale and crop; without either it is the test-time window."""
    change = recipe.training.augmentation
    window = _draw_scale(size, recipe, rng)
    if not change.crop or (change.crop_above and min(window.size) <= change.crop_above):
        return window
    return random_crop(window, (change.crop, change.crop), rng)


def _draw_scale(size: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> Window:
    """Return all of an image at a random scale."""
    change, preprocessing = recipe.training.augmentation, recipe.model.preprocessing
    if change.sides:
        side = change.sides[int(rng.integers(len(change.sides)))]
        preprocessing = preprocessing.with_short_side(side)
    plan = plan_resize(size, preprocessing)
    low, high = change.scale
    factor = low
    if high > low and change.scale_draw == "log":
        factor = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    elif high > low:
        factor = float(rng.uniform(low, high))
    if factor != 1.0:
        return whole_window(size, (plan.factors[0] * factor, plan.factors[1] * factor))
    return Window(image=size, factors=plan.factors, corner=(0, 0), size=plan.size)


def _draw_mirrors(change: Augmentation, rng: np.random.Generator) -> Mirrors:
    flip, flip_vertical, transpose = (
        bool(rng.random() < p) for p in (change.flip, change.flip_vertical, change.transpose)
    )
    return Mirrors(flip=flip, flip_vertical=flip_vertical, transpose=transpose)


def _draw_pasted(view: View, image: Annotated, recipe: Recipe, rng: np.random.Generator) -> View:
    """Lay random objects of another image over a view, at a scale and a place of their own."""
    mirrors = _draw_mirrors(recipe.training.augmentation, rng)
    height, width = view.levels.shape[:2]
    size = (width, height) if mirrors.transpose else (height, width)
    whole = _draw_scale((image.record.height, image.record.width), recipe, rng)
    other = mirrors.of(_show(image, random_crop(whole, size, rng), recipe))
    return paste(view, pick_objects(other, rng))


def _draw_pulled(view: View, change: Augmentation, rng: np.random.Generator) -> View:
    """Deform a view at a strength of its own."""
    size = (view.levels.shape[0], view.levels.shape[1])
    strength = float(rng.uniform(0, change.elastic))
    return pulled(view, draw_shifts(size, strength, change.elastic_smoothness, rng))
