"""What a run needs of a machine and of its datasets, which no recipe knows."""

import torch

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.recipe.types import Recipe, TrainingRecipe

_NAMES_SHOWN = 5


def check_devices(training: TrainingRecipe, device: str) -> None:
    """Check that a run may have as many devices as its recipe says.

    Raises:
        InputError: naming what is asked for and what there is.
    """
    kind, _, number = device.partition(":")
    count = training.devices
    if count * training.num_nodes == 1:
        return
    if kind == "mps" or number:
        raise InputError(
            f"device {device}: is a single one, the recipe asks for {count} on "
            f"{training.num_nodes} node(s); take cuda or cpu, or --set devices=1"
        )
    if kind == "cuda" and count > torch.cuda.device_count():
        raise InputError(
            f"recipe: training.devices is {count}, but this machine has "
            f"{torch.cuda.device_count()} CUDA device(s)"
        )


def check_categories(recipe: Recipe, train_set: Dataset, val_set: Dataset) -> None:
    """Check that both datasets and the recipe have the same categories.

    Raises:
        InputError: naming what differs.
    """
    first, second = train_set.class_names[1:], val_set.class_names[1:]
    if first != second or train_set.label_of != val_set.label_of:
        raise InputError(
            f"{val_set.name}: its categories ({_listed(val_set)}) are not those of "
            f"{train_set.name} ({_listed(train_set)}); make them equal, ids included"
        )
    if recipe.model.class_names != first or recipe.model.category_ids != tuple(train_set.label_of):
        raise InputError(f"{train_set.name}: its categories are not those of the recipe")


def _listed(dataset: Dataset) -> str:
    shown = [f"{c.id} {c.name}" for c in dataset.categories[:_NAMES_SHOWN]]
    more = len(dataset.categories) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
