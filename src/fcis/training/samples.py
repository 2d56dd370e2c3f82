"""Training samples: an image with its objects, changed at random, in the network's frame.

Sample s of a run is a pure function of (seed, epoch, position), so that a resumed run sees
exactly what it would have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from fcis.data.dataset import Dataset, ImageRecord
from fcis.masks import MaskCrop, crop_from_rle
from fcis.preprocess import Resize, collate, normalise, plan_resize, sample_window, stretch_levels
from fcis.recipe import Recipe
from fcis.structures import ImageBatch

_LEAST_VISIBLE = 0.15  # share of an object that must remain inside a random crop
_CACHED_OBJECTS = 100_000  # decoded masks kept in memory, if the dataset has no more than that


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMask:
    """An object's mask in the network's frame: row `top`, column `left` are its first pixel.

    `values` are 0..1, bilinear between the pixels of the annotated mask.
    """

    top: int
    left: int
    values: Float[Tensor, "h w"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The objects of one image in pixels of the network's frame; labels are 1..C."""

    boxes: Float[Tensor, "object 4"]
    labels: Int[Tensor, " object"]
    masks: tuple[ObjectMask, ...]
    crowds: Float[Tensor, "region 4"]

    def to(self, device: torch.device | str) -> "Truth":
        """Return the same objects on another device."""
        return Truth(
            boxes=self.boxes.to(device),
            labels=self.labels.to(device),
            masks=tuple(
                ObjectMask(top=m.top, left=m.left, values=m.values.to(device)) for m in self.masks
            ),
            crowds=self.crowds.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """Images with their objects and, for messages, the images' names."""

    images: ImageBatch
    truths: tuple[Truth, ...]
    names: tuple[str, ...]

    def to(self, device: torch.device | str) -> "TrainingBatch":
        """Return the same batch on another device."""
        return TrainingBatch(
            images=self.images.to(device),
            truths=tuple(t.to(device) for t in self.truths),
            names=self.names,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which part of an image, at which scale, becomes the network's input."""

    factors: tuple[float, float]
    corner: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One training image before batching."""

    pixels: Float[Tensor, "channel h w"]
    plan: Resize
    original_size: tuple[int, int]
    truth: Truth
    name: str


class TrainingSamples(torch.utils.data.Dataset[Sample]):
    """The endless sequence of training samples of a run, addressed by number.

    Each epoch is a permutation of the images that have objects.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        self.recipe = recipe
        self.label_of = dataset.label_of
        self.images = tuple(r for r in dataset.images if _objects_of(r))
        total = sum(len(r.annotations) for r in dataset.images)
        self._crops: dict[int, tuple[MaskCrop, ...]] | None = (
            {} if total <= _CACHED_OBJECTS else None
        )

    def __getitem__(self, number: int) -> Sample:
        """Return sample `number` of the run."""
        epoch, position = divmod(number, len(self.images))
        seed = self.recipe.training.seed
        order = np.random.default_rng((seed, epoch)).permutation(len(self.images))
        rng = np.random.default_rng((seed, epoch, position + 1))
        index = int(order[position])
        return make_sample(
            self.images[index], self._crops_of(index), self.label_of, self.recipe, rng
        )

    def _crops_of(self, index: int) -> tuple[MaskCrop, ...]:
        if self._crops is not None and index in self._crops:
            return self._crops[index]
        crops = tuple(crop_from_rle(a.rle) for a in _objects_of(self.images[index]))
        if self._crops is not None:
            self._crops[index] = crops
        return crops


def _objects_of(record: ImageRecord) -> list:
    return [a for a in record.annotations if not a.is_crowd]


def make_sample(
    record: ImageRecord,
    crops: Sequence[MaskCrop],
    label_of: dict[int, int],
    recipe: Recipe,
    rng: np.random.Generator,
) -> Sample:
    """Return one changed training image.

    Args:
        record: the image and its annotations.
        crops: the masks of its objects, crowd regions left out, in their order.
        label_of: dataset id to label.
        recipe: preprocessing and augmentation.
        rng: all chance comes from here.
    """
    model, change = recipe.model, recipe.training.augmentation
    image = record.read()
    size = (record.height, record.width)
    window = _choose_window(size, recipe, rng)
    levels = stretch_levels(image, model.preprocessing.stretch)
    levels = _window_levels(levels, window, model.preprocessing.mean)
    objects = _objects_of(record)
    labels = np.array([label_of[a.category_id] for a in objects], dtype=np.int64)
    boxes = np.array([a.box for a in objects], dtype=np.float32).reshape(-1, 4)
    crowds = np.array([a.box for a in record.annotations if a.is_crowd], dtype=np.float32)
    boxes = _move(boxes, window)
    masks = [_move_mask(crop, window) for crop in crops]
    keep = [i for i, m in enumerate(masks) if m is not None and _visible(boxes[i], window)]
    truth_boxes = np.stack([_inside(boxes[i], masks[i], window) for i in keep] or [np.zeros(4)])
    truth = _Arrays(
        levels=levels,
        boxes=truth_boxes[: len(keep)].astype(np.float32),
        masks=[m for m in (masks[i] for i in keep) if m is not None],
        crowds=np.clip(_move(crowds.reshape(-1, 4), window), 0, np.tile(window.size[::-1], 2)),
    )
    truth = _mirror(truth, recipe, rng)
    levels = _change_levels(truth.levels, recipe, rng)
    if model.conventions.resize == "levels":
        levels = np.rint(levels)
    return Sample(
        pixels=normalise(levels.astype(np.float32), model.preprocessing),
        plan=Resize(size=(levels.shape[0], levels.shape[1]), factors=window.factors),
        original_size=size,
        truth=Truth(
            boxes=torch.from_numpy(truth.boxes),
            labels=torch.from_numpy(labels[keep]),
            masks=tuple(
                ObjectMask(top=t, left=x, values=torch.from_numpy(np.ascontiguousarray(v)))
                for t, x, v in truth.masks
            ),
            crowds=torch.from_numpy(truth.crowds.astype(np.float32)),
        ),
        name=record.file_name,
    )


def collate_samples(samples: Sequence[Sample]) -> TrainingBatch:
    """Return samples as one batch."""
    return TrainingBatch(
        images=collate([(s.pixels, s.plan) for s in samples], [s.original_size for s in samples]),
        truths=tuple(s.truth for s in samples),
        names=tuple(s.name for s in samples),
    )


_Mask = tuple[int, int, Float32[np.ndarray, "h w"]]


@dataclass(slots=True, kw_only=True)
class _Arrays:
    """A sample on its way through the changes."""

    levels: np.ndarray
    boxes: np.ndarray
    masks: list[_Mask]
    crowds: np.ndarray


def _choose_window(size: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> Window:
    """Draw scale and crop."""
    plan = plan_resize(size, recipe.model.preprocessing, recipe.model.conventions)
    change = recipe.training.augmentation
    low, high = change.scale
    factor = float(np.exp(rng.uniform(np.log(low), np.log(high)))) if high > low else low
    factors = (plan.factors[0] * factor, plan.factors[1] * factor)
    full = plan.size
    if factor != 1.0:
        full = (max(1, round(size[0] * factors[0])), max(1, round(size[1] * factors[1])))
    if not change.crop:
        return Window(factors=factors, corner=(0, 0), size=full)
    free = [n - change.crop for n in full]
    corner = tuple(int(rng.integers(min(0, n), max(0, n) + 1)) for n in free)
    return Window(factors=factors, corner=(corner[0], corner[1]), size=(change.crop, change.crop))


def _window_levels(levels: np.ndarray, window: Window, fill: tuple[float, ...]) -> np.ndarray:
    """Return the window's pixels; what lies outside the image becomes the mean level."""
    height, width = levels.shape[:2]
    corner = (float(window.corner[0]), float(window.corner[1]))
    result = sample_window(levels, window.factors, corner, window.size)
    for axis, length in ((0, height), (1, width)):
        place = (np.arange(window.size[axis]) + corner[axis] + 0.5) / window.factors[axis]
        outside = (place < 0) | (place > length)
        if outside.any():
            index = (outside,) if axis == 0 else (slice(None), outside)
            result[index] = np.asarray(fill, dtype=np.float32)
    return result


def _move(boxes: np.ndarray, window: Window) -> np.ndarray:
    """Return boxes of the original image in the window's frame."""
    factor = np.array([window.factors[1], window.factors[0]] * 2, dtype=np.float32)
    shift = np.array([window.corner[1], window.corner[0]] * 2, dtype=np.float32)
    return boxes * factor - shift


def _visible(box: np.ndarray, window: Window) -> bool:
    """Return whether enough of a moved box lies in the window."""
    height, width = window.size
    x = min(box[2], width) - max(box[0], 0)
    y = min(box[3], height) - max(box[1], 0)
    area = (box[2] - box[0]) * (box[3] - box[1])
    return bool(x >= 1 and y >= 1 and x * y >= _LEAST_VISIBLE * area)


def _inside(box: np.ndarray, mask: _Mask | None, window: Window) -> np.ndarray:
    """Return a box as it is, or the tight box of what the window left of its object."""
    height, width = window.size
    if mask is None or (box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height):
        return box
    top, left, values = mask
    rows = np.flatnonzero((values >= 0.5).any(axis=1))
    columns = np.flatnonzero((values >= 0.5).any(axis=0))
    tight = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
    return np.array(tight, dtype=np.float32)


def _move_mask(crop: MaskCrop, window: Window) -> _Mask | None:
    """Return a mask resized like its image and cut to the window; None if nothing is left."""
    rows, columns = crop.bits.shape
    start, size, corner = [], [], []
    spans = ((crop.top, rows), (crop.left, columns))
    for axis, (first, count) in enumerate(spans):
        factor, shift = window.factors[axis], window.corner[axis]
        low = max(0, int(np.floor((first - 0.5) * factor - shift)))
        high = min(window.size[axis], int(np.ceil((first + count + 0.5) * factor - shift)))
        if high <= low:
            return None
        start.append(low)
        size.append(high - low)
        corner.append(low + shift - (first - 1) * factor)
    padded = np.pad(crop.bits, 1).astype(np.float32)[:, :, None]
    values = sample_window(padded, window.factors, (corner[0], corner[1]), (size[0], size[1]))[
        :, :, 0
    ]
    return (start[0], start[1], values) if (values >= 0.5).any() else None


def _mirror(arrays: _Arrays, recipe: Recipe, rng: np.random.Generator) -> _Arrays:
    """Flip and transpose at random."""
    change = recipe.training.augmentation
    flip, flip_vertical, transpose = (
        bool(rng.random() < p) for p in (change.flip, change.flip_vertical, change.transpose)
    )
    height, width = arrays.levels.shape[:2]
    if flip:
        arrays.levels = arrays.levels[:, ::-1]
        for name in ("boxes", "crowds"):
            x0, y0, x1, y1 = getattr(arrays, name).T
            setattr(arrays, name, np.stack([width - x1, y0, width - x0, y1], axis=1))
        arrays.masks = [(t, width - x - v.shape[1], v[:, ::-1]) for t, x, v in arrays.masks]
    if flip_vertical:
        arrays.levels = arrays.levels[::-1]
        for name in ("boxes", "crowds"):
            x0, y0, x1, y1 = getattr(arrays, name).T
            setattr(arrays, name, np.stack([x0, height - y1, x1, height - y0], axis=1))
        arrays.masks = [(height - t - v.shape[0], x, v[::-1]) for t, x, v in arrays.masks]
    if transpose:
        arrays.levels = arrays.levels.transpose(1, 0, 2)
        arrays.boxes = arrays.boxes[:, [1, 0, 3, 2]]
        arrays.crowds = arrays.crowds[:, [1, 0, 3, 2]]
        arrays.masks = [(x, t, v.T) for t, x, v in arrays.masks]
    return arrays


def _change_levels(levels: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast and gamma at random, around the middle of the levels."""
    change = recipe.training.augmentation
    brightness, contrast, gamma = rng.uniform(-1, 1, size=3)
    if change.gamma:
        exponent = np.exp(gamma * change.gamma)
        levels = 255 * (np.clip(levels, 0, 255) / 255) ** exponent
    if change.contrast:
        middle = levels.mean()
        levels = middle + (levels - middle) * np.exp(contrast * change.contrast)
    if change.brightness:
        levels = levels + 255 * brightness * change.brightness
    return levels
