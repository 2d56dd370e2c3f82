"""How many images fit into a device's memory at once, found by trying."""

import copy
import gc
from collections.abc import Callable
from dataclasses import replace

import torch

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.inference.preprocess import plan_resize
from fcis.model.detector import Detector
from fcis.recipe.types import Recipe
from fcis.training.batch import collate_samples
from fcis.training.optim import build_optimiser
from fcis.training.samples import TrainingSamples
from fcis.training.systems import losses_of

DEFAULT_BATCH = 4  # where memory is that of the whole machine, and running out of it ends more
_MOST = 64
_SHARE = 0.9  # of the device's memory; the rest is for steps that need more than those tried


def with_batch(recipe: Recipe, model: Detector, train_set: Dataset, device: str) -> Recipe:
    """Return the recipe with a number for its batch, if it is 0.

    Raises:
        InputError: not even a single image fits, or none has an object.
    """
    if recipe.training.batch:
        return recipe
    batch = DEFAULT_BATCH
    if device.startswith("cuda"):
        index = torch.device(device).index or 0
        torch.cuda.set_per_process_memory_fraction(_SHARE, index)
        try:
            batch = find_batch(recipe, model, train_set, torch.device(device))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, index)
    return replace(recipe, training=replace(recipe.training, batch=batch))


def find_batch(recipe: Recipe, model: Detector, train_set: Dataset, device: torch.device) -> int:
    """Return the largest power of two of images with which a whole step fits into the memory.

    Steps are made with a copy of the network, the optimiser's state and, if the recipe asks for
    it, the average of the weights included, on the images that need most. There are never more
    than 64, or than there are images.

    Raises:
        InputError: not even a single image fits, or none has an object.
    """
    samples = TrainingSamples(_neediest(train_set, recipe), _largest(recipe))
    if not samples.images:
        raise InputError(f"{train_set.name}: no image has an object; there is nothing to learn")

    def fits(size: int) -> bool:
        try:
            _make_step(recipe, model, samples, size, device)
        except torch.OutOfMemoryError:
            return False
        finally:
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
        return True

    batch = largest_power(fits, min(_MOST, len(train_set)))
    if not batch:
        raise InputError(
            f"device {device}: too little memory for a single image; take smaller ones (--set "
            "short_side=... or augmentation.crop=...), a smaller network or the device cpu"
        )
    return batch


def largest_power(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest power of two up to `most` that fits, 0 if 1 does not.

    Tried from 1 upwards, up to the first that does not fit.
    """
    found, size = 0, 1
    while size <= most and fits(size):
        found, size = size, 2 * size
    return found


def _make_step(
    recipe: Recipe, model: Detector, samples: TrainingSamples, size: int, device: torch.device
) -> None:
    """Make an optimiser step with a copy of the network."""
    training = recipe.training
    trial = copy.deepcopy(model).to(device).train()
    average = copy.deepcopy(trial) if training.ema else None
    optimiser = build_optimiser(trial, training.optimiser)
    dtype = next(trial.parameters()).dtype
    batch = collate_samples([samples[number] for number in range(size)])
    batch = batch.to(device).of_type(dtype)
    half = training.precision == "bfloat16"
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        loss = losses_of(trial, batch, recipe).total()
    loss.backward()
    optimiser.step()
    del average


def _neediest(train_set: Dataset, recipe: Recipe) -> Dataset:
    """Return the highest and the widest image and the one with most objects.

    A batch is as high as its highest and as wide as its widest image.
    """
    model = recipe.model

    def side(index: int, axis: int) -> int:
        record = records[index]
        plan = plan_resize((record.height, record.width), model.preprocessing)
        return plan.size[axis]

    records = [r for r in train_set.images if any(not a.is_crowd for a in r.annotations)]
    if not records:
        return replace(train_set, images=())
    numbers = range(len(records))
    most = {
        max(numbers, key=lambda i: side(i, 0)),
        max(numbers, key=lambda i: side(i, 1)),
        max(numbers, key=lambda i: len(records[i].annotations)),
    }
    return replace(train_set, images=tuple(records[i] for i in sorted(most)))


def _largest(recipe: Recipe) -> Recipe:
    """Return the recipe with the largest of the scales that it draws from."""
    change = recipe.training.augmentation
    high = max(change.scale)
    change = replace(change, scale=(high, high), sides=change.sides and (max(change.sides),))
    training = replace(recipe.training, augmentation=change, repeat_threshold=0.0, repeat_crops=0.0)
    return replace(recipe, training=training)
