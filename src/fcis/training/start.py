"""From the names of datasets, a recipe and weights to a training run."""

from dataclasses import replace
from pathlib import Path

from fcis.core.devices import choose_device
from fcis.core.progress import Watcher, say
from fcis.data.checks.before_training import check_before_training, open_for_training
from fcis.data.dataset import Dataset
from fcis.data.source import check_distinct
from fcis.recipe.types import Recipe
from fcis.training.ranks import started_devices
from fcis.training.run import RunResult, for_dataset, train
from fcis.weights.catalog import resolve_weights


def start_training(
    recipe: Recipe,
    train_data: str | Dataset,
    val_data: str | Dataset,
    folder: Path | None = None,
    *,
    train_images: Path | None = None,
    val_images: Path | None = None,
    weights: str | None = None,
    resume: bool = False,
    device: str = "auto",
    watch: Watcher | None = None,
) -> RunResult:
    """Open and check datasets, and train on them.

    Args:
        recipe: of any categories; those of the training set take their place.
        train_data: as `open_dataset` takes it, or what that returned.
        val_data: likewise; chooses the best weights and the operating thresholds.
        folder: of the run; None: the recipe's name below `runs`.
        train_images: where the images of the training set lie, if not beside its file.
        val_images: the same of the validation set.
        weights: to begin with, as `resolve_weights` takes them.
        resume: go on from the folder's checkpoint, or begin if there is none.
        device: as `choose_device` takes it.
        watch: called with the steps that are done and with all, in place of a progress bar.

    Raises:
        InputError: a dataset or weights cannot be read, the datasets do not go together, there is
            no such device, or the run cannot be made (`train`).
        KeyboardInterrupt: the user stopped the run; it can be resumed.
    """
    recipe = _as_started(recipe)
    device = choose_device(device)
    if isinstance(train_data, str) and isinstance(val_data, str):
        check_distinct(train_data, val_data)
    train_set, train_name = _opened(train_data, train_images)
    val_set, val_name = _opened(val_data, val_images)
    train_set = train_set.reading(recipe.model.image_reading)
    images = (train_images, val_images)
    check_before_training(train_name, train_set, val_name, val_set, images=images)
    recipe = for_dataset(recipe, train_set)
    file = resolve_weights(weights) if weights is not None else None
    folder = folder or Path("runs") / recipe.name
    say(f"training {recipe.name} on {train_set.name}: {len(train_set)} images, run {folder}")
    return train(
        recipe,
        train_set,
        val_set,
        folder,
        weights=file,
        resume=resume,
        device=device,
        watch=watch,
    )


def _opened(data: str | Dataset, images: Path | None) -> tuple[Dataset, str]:
    """Return a dataset and what it is called in messages."""
    if isinstance(data, Dataset):
        return data, data.name
    return open_for_training(data, images), data


def _as_started(recipe: Recipe) -> Recipe:
    """Return the recipe for as many devices as `torchrun` has started processes."""
    started = started_devices()
    if started is None:
        return recipe
    return replace(
        recipe, training=replace(recipe.training, devices=started[0], num_nodes=started[1])
    )
