"""Training samples: an image with its objects, changed at random, in the network's frame.

Sample s of a run is a pure function of (seed, s), so that a resumed run sees exactly what it
would have seen, whichever process reads it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32

from fcis.data.dataset import Annotation, Dataset, ImageRecord
from fcis.masks import MaskCrop, crop_from_rle
from fcis.preprocess import Resize, normalise, plan_resize, stretch_levels
from fcis.recipe import Augmentation, Recipe
from fcis.training.batch import ObjectMask, Sample, Truth
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


class TrainingSamples(torch.utils.data.Dataset[Sample]):
    """The endless sequence of training samples of a run, addressed by number.

    Each epoch is a permutation of the images that have objects.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        self.recipe = recipe
        self.label_of = dataset.label_of
        self.images = tuple(r for r in dataset.images if _objects_of(r))
        self._order: tuple[int, tuple[int, ...]] = (-1, ())
        self._crops: dict[int, tuple[MaskCrop, ...]] = {}
        self._cached = 0

    def __getitem__(self, number: int) -> Sample:
        """Return sample `number` of the run."""
        epoch, position = divmod(number, len(self.images))
        index = self._epoch_order(epoch)[position]
        return make_sample(
            self.images[index],
            self._crops_of(index),
            self.label_of,
            self.recipe,
            np.random.default_rng((self.recipe.training.seed, epoch, position + 1)),
            number=number,
        )

    def _epoch_order(self, epoch: int) -> tuple[int, ...]:
        if self._order[0] != epoch:
            rng = np.random.default_rng((self.recipe.training.seed, epoch))
            self._order = (epoch, tuple(rng.permutation(len(self.images)).tolist()))
        return self._order[1]

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
    record: ImageRecord,
    crops: Sequence[MaskCrop],
    label_of: dict[int, int],
    recipe: Recipe,
    rng: np.random.Generator,
    *,
    number: int,
) -> Sample:
    """Return one changed training image.

    Args:
        record: the image and its annotations.
        crops: the masks of its objects, crowd regions left out, in their order.
        label_of: dataset id to label.
        recipe: preprocessing and augmentation.
        rng: all chance comes from here.
        number: of the sample in the run.
    """
    model, change = recipe.model, recipe.training.augmentation
    size = (record.height, record.width)
    window = _draw_window(size, recipe, rng)
    objects = _objects_of(record)
    kept, boxes, masks = show_objects(_boxes(objects), crops, window)
    crowds = move_boxes(_boxes([a for a in record.annotations if a.is_crowd]), window)
    levels = stretch_levels(record.read(), model.preprocessing.stretch)
    view = View(
        levels=window_levels(levels, window, model.preprocessing.mean),
        boxes=boxes,
        masks=masks,
        crowds=clip_to_window(crowds, window),
    )
    view = _draw_mirror(view, change, rng)
    levels = _draw_levels(view.levels, change, rng)
    if model.conventions.resize == "levels":
        levels = np.rint(levels)
    labels = [label_of[objects[i].category_id] for i in kept]
    return Sample(
        number=number,
        pixels=normalise(levels, model.preprocessing),
        plan=Resize(size=(levels.shape[0], levels.shape[1]), factors=window.factors),
        original_size=size,
        truth=_truth(view, labels),
        name=record.file_name,
    )


def target_generator(seed: int, number: int) -> torch.Generator:
    """Return the source of chance for the choice of targets of one sample of a run."""
    state = np.random.SeedSequence((seed, _CHANCE_OF_TARGETS, number)).generate_state(1)
    return torch.Generator().manual_seed(int(state[0]))


def _objects_of(record: ImageRecord) -> list[Annotation]:
    return [a for a in record.annotations if not a.is_crowd]


def _boxes(annotations: Sequence[Annotation]) -> Float32[np.ndarray, "n 4"]:
    return np.array([a.box for a in annotations], dtype=np.float32).reshape(-1, 4)


def _truth(view: View, labels: Sequence[int]) -> Truth:
    return Truth(
        boxes=torch.from_numpy(view.boxes),
        labels=torch.tensor(labels, dtype=torch.int64),
        masks=tuple(
            ObjectMask(
                top=m.top, left=m.left, values=torch.from_numpy(np.ascontiguousarray(m.values))
            )
            for m in view.masks
        ),
        crowds=torch.from_numpy(view.crowds),
    )


def _draw_window(size: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> Window:
    """Draw scale and crop; without either it is the test-time window."""
    change = recipe.training.augmentation
    plan = plan_resize(size, recipe.model.preprocessing, recipe.model.conventions)
    low, high = change.scale
    factor = float(np.exp(rng.uniform(np.log(low), np.log(high)))) if high > low else low
    window = Window(image=size, factors=plan.factors, corner=(0, 0), size=plan.size)
    if factor != 1.0:
        window = whole_window(size, (plan.factors[0] * factor, plan.factors[1] * factor))
    return random_crop(window, change.crop, rng) if change.crop else window


def _draw_mirror(view: View, change: Augmentation, rng: np.random.Generator) -> View:
    """Flip and transpose at random."""
    flip, flip_vertical, transpose = (
        bool(rng.random() < p) for p in (change.flip, change.flip_vertical, change.transpose)
    )
    if flip:
        view = flipped(view)
    if flip_vertical:
        view = transposed(flipped(transposed(view)))
    return transposed(view) if transpose else view


def _draw_levels(
    levels: Float32[np.ndarray, "h w channel"], change: Augmentation, rng: np.random.Generator
) -> Float32[np.ndarray, "h w channel"]:
    """Change gamma, contrast and brightness at random; levels may leave 0..255."""
    brightness, contrast, gamma = rng.uniform(-1, 1, size=3).tolist()
    if change.gamma:
        exponent = float(np.exp(gamma * change.gamma))
        levels = 255 * (np.clip(levels, 0, 255) / 255) ** exponent
    if change.contrast:
        middle = levels.mean()
        levels = middle + (levels - middle) * float(np.exp(contrast * change.contrast))
    if change.brightness:
        levels = levels + 255 * brightness * change.brightness
    return levels
