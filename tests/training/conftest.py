"""Small recipes, datasets and painted images for the tests of training."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from fcis.core.masks import rle_area, rle_box, rle_from_mask
from fcis.data.dataset import Annotation, Category, Dataset, ImageRecord
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Augmentation, Recipe
from fcis.training.run import for_dataset

from .run_cases import with_training

LEVEL = 200


@dataclass(frozen=True)
class Painted:
    """Pixels that are kept in memory."""

    pixels: np.ndarray

    def read(self):
        return self.pixels


def blob(height, width, top, left, rows, columns):
    """A mask: an L, which no flip or transposition leaves as it is."""
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + rows, left : left + columns // 3] = True
    mask[top + rows - rows // 4 : top + rows, left : left + columns] = True
    return mask


def record_of(masks, *, number=0, crowds=()):
    """An image in which object i is bright in channel i alone; its category is 10 (i + 1)."""
    height, width = masks[0].shape
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for i, mask in enumerate(masks):
        pixels[mask, i % 3] = LEVEL
    annotations = []
    for i, mask in enumerate([*masks, *crowds]):
        rle = rle_from_mask(mask)
        annotations.append(
            Annotation(
                id=i + 1,
                category_id=10 * (i % 3 + 1),
                box=rle_box(rle),
                mask=rle,
                area=float(rle_area(rle)),
                is_crowd=i >= len(masks),
            )
        )
    return ImageRecord(
        id=number,
        file_name=f"{number}.png",
        height=height,
        width=width,
        source=Painted(pixels),
        annotations=tuple(annotations),
    )


def dataset_of(records, name="painted"):
    categories = tuple(Category(id=10 * (i + 1), name="rgb"[i]) for i in range(3))
    return Dataset(name=name, categories=categories, images=tuple(records))


@pytest.fixture(scope="session")
def scene_set():
    return scene_dataset(12, 1)


@pytest.fixture(scope="session")
def val_set():
    return scene_dataset(3, 2)


@pytest.fixture(scope="session")
def small_set():
    """Scenes that a step takes a fraction of a second for."""
    return scene_dataset(5, 1, size=(96, 96))


@pytest.fixture(scope="session")
def small_val():
    return scene_dataset(2, 2, size=(96, 96))


@pytest.fixture(scope="session")
def short_recipe(small_set):
    """Eight steps of two batches, with a validation and two checkpoints on the way."""
    return with_training(
        for_dataset(named_recipe("tiny"), small_set),
        steps=8,
        batch=1,
        accumulate=2,
        validate_every=5,
        checkpoint_every=3,
    )


@pytest.fixture
def tiny(scene_set) -> Recipe:
    """The recipe `tiny` for the scenes."""
    return for_dataset(named_recipe("tiny"), scene_set)


@pytest.fixture
def plain(tiny):
    """A function: a recipe whose input is the image's levels, with the given augmentation."""

    def make(*, zoom=1.0, seed=0, **changes):
        preprocessing = replace(
            tiny.model.preprocessing, zoom=zoom, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
        )
        none = Augmentation(flip=0.0)
        return replace(
            tiny,
            model=replace(
                tiny.model,
                preprocessing=preprocessing,
                class_names=("r", "g", "b"),
                category_ids=(10, 20, 30),
            ),
            training=replace(tiny.training, seed=seed, augmentation=replace(none, **changes)),
        )

    return make
