"""Training samples -> pictures: what the network sees, changes and resizing included."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.masks import MaskCrop, crop_from_rle
from fcis.data.dataset import Dataset, ImageRecord
from fcis.imaging.channel_counts import as_picture
from fcis.imaging.drawing import contact_sheet, draw_instances
from fcis.recipe.bounds import check_record
from fcis.recipe.types import Preprocessing, Recipe
from fcis.training.batch import Sample
from fcis.training.run import for_dataset
from fcis.training.samples import TrainingSamples

_INSIDE = 0.5  # share of a pixel from which it counts as the object's
_MOST_SIDE = 640  # px of a picture in a sheet; larger ones are shrunk
_FILL = 0.3  # light, because the pixels are to be seen too


def preview_samples(dataset: Dataset, recipe: Recipe, count: int, seed: int) -> Image.Image:
    """Return a sheet of the first samples of a run, each beside the image that it was made from.

    Args:
        dataset: the images and what is annotated in them.
        recipe: its preprocessing and augmentation are applied.
        count: of samples.
        seed: of the run.

    Raises:
        InputError: the recipe does not fit, no image has an object, or an image cannot be read.
    """
    recipe = for_dataset(recipe, dataset)
    check_record(recipe, "")
    dataset = dataset.reading(recipe.model.image_reading)
    recipe = replace(recipe, training=replace(recipe.training, seed=seed))
    samples = TrainingSamples(dataset, recipe)
    if not samples.images:
        raise InputError(f"{dataset.name}: no image has an object; there is nothing to train on")
    records = {record.file_name: record for record in samples.images}
    pictures, titles = [], []
    for sample in (samples[number] for number in range(count)):
        height, width = sample.plan.size
        pictures.append(_shrunk(draw_record(records[sample.name], dataset)))
        titles.append(sample.name)
        pictures.append(
            _shrunk(draw_sample(sample, recipe.model.preprocessing, dataset.class_names))
        )
        titles.append(f"sample {sample.number}: {width} x {height}, {_objects(sample)}")
    return contact_sheet(pictures, 2 * _columns(count, 3), titles)


def preview_images(dataset: Dataset, count: int, seed: int) -> Image.Image:
    """Return a sheet of images with their annotations, chosen at random, in the dataset's order.

    Args:
        dataset: the images and what is annotated in them.
        count: of images; all, if there are fewer.
        seed: of the choice.

    Raises:
        InputError: an image cannot be read.
    """
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:count]
    records = [dataset.images[index] for index in sorted(chosen.tolist())]
    pictures = [_shrunk(draw_record(record, dataset)) for record in records]
    return contact_sheet(pictures, _columns(len(records), 4), [r.file_name for r in records])


def draw_record(record: ImageRecord, dataset: Dataset) -> Image.Image:
    """Return an image of a dataset with its objects; crowd regions are left out.

    Raises:
        InputError: the image cannot be read, or has another size than the dataset states.
    """
    objects = [a for a in record.annotations if not a.is_crowd]
    label_of = dataset.label_of
    return _drawn(
        as_picture(record.read()),
        [crop_from_rle(a.rle) for a in objects],
        [label_of[a.category_id] for a in objects],
        dataset.class_names,
    )


def draw_sample(
    sample: Sample, preprocessing: Preprocessing, class_names: Sequence[str]
) -> Image.Image:
    """Return the network's input with its objects, at its own size or enlarged.

    Args:
        sample: of a network for images of any number of channels.
        preprocessing: how its pixels were normalised; colours beyond 0..255 are cut.
        class_names: by label; index 0 is the background.
    """
    std = np.asarray(preprocessing.std, dtype=np.float32)
    mean = np.asarray(preprocessing.mean, dtype=np.float32)
    levels = sample.pixels.numpy().transpose(1, 2, 0) * std + mean
    image = as_picture(np.ascontiguousarray(np.rint(np.clip(levels, 0, 255)).astype(np.uint8)))
    crops = [
        MaskCrop(top=mask.top, left=mask.left, bits=mask.values.numpy() >= _INSIDE)
        for mask in sample.truth.masks
    ]
    return _drawn(image, crops, sample.truth.labels.tolist(), class_names)


def _drawn(
    image: UInt8[np.ndarray, "height width 3"],
    crops: Sequence[MaskCrop],
    labels: Sequence[int],
    class_names: Sequence[str],
) -> Image.Image:
    scale = max(1, _MOST_SIDE // max(image.shape[:2]))
    return draw_instances(
        image, crops, np.array(labels, dtype=np.int64), None, class_names, scale=scale, fill=_FILL
    )


def _shrunk(picture: Image.Image) -> Image.Image:
    picture.thumbnail((_MOST_SIDE, _MOST_SIDE))
    return picture


def _columns(count: int, most: int) -> int:
    """Return how many of `count` things stand in a row of a sheet about as wide as high."""
    return max(1, min(most, round(count**0.5)))


def _objects(sample: Sample) -> str:
    count = len(sample.truth.masks)
    return f"{count} object{'s' * (count != 1)}"
