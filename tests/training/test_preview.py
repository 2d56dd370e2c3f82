"""Previews: the pictures of samples show the very pixels and masks that the network gets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.core.errors import InputError
from fcis.core.masks import crop_from_rle
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.imaging.drawing import draw_instances
from fcis.inference.preprocess import Resize
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Augmentation
from fcis.training.batch import ObjectMask, Sample, Truth
from fcis.training.preview import draw_record, draw_sample, preview_images, preview_samples
from fcis.training.run import for_dataset

SCENES = scene_dataset(3, 5, size=(64, 96))


def plain_recipe(**changes):
    """A recipe that shows whole images as they are, but for the changes."""
    recipe = for_dataset(named_recipe("tiny"), SCENES)
    prep = recipe.model.preprocessing
    prep = replace(prep, short_side=0, long_side=0, zoom=1.0, stretch=(0.0, 100.0))
    augmentation = Augmentation(flip=0.0, **changes)
    return replace(
        recipe,
        training=replace(recipe.training, augmentation=augmentation),
        model=replace(recipe.model, preprocessing=prep),
    )


def sample_of(pixels, masks=(), labels=()):
    return Sample(
        number=4,
        pixels=pixels,
        plan=Resize(size=tuple(pixels.shape[1:]), factors=(1.0, 1.0)),
        original_size=tuple(pixels.shape[1:]),
        truth=Truth(
            boxes=torch.zeros((len(masks), 4)),
            labels=torch.tensor(labels, dtype=torch.int64),
            masks=tuple(masks),
            crowds=torch.zeros((0, 4)),
        ),
        name="a.png",
    )


def test_pixels_come_back_as_levels():
    preprocessing = replace(
        named_recipe("tiny").model.preprocessing, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0)
    )
    levels = torch.tensor([[[0.0, 128.4]], [[255.0, 300.0]], [[-9.0, 77.0]]])
    levels = levels.repeat_interleave(320, dim=2).repeat_interleave(8, dim=1)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    picture = draw_sample(sample_of((levels - mean) / std), preprocessing, ("background", "x"))
    shown = np.asarray(picture)
    assert shown.shape == (8, 640, 3)
    assert (shown[:, :320] == (0, 255, 0)).all() and (shown[:, 320:] == (128, 255, 77)).all()


def test_masks_are_drawn_where_they_are():
    preprocessing = named_recipe("tiny").model.preprocessing
    pixels = torch.zeros((3, 640, 640))
    values = torch.zeros((40, 30))
    values[:, :20] = 0.5  # half a pixel counts, less does not
    values[:, 20:] = 0.49
    mask = ObjectMask(top=100, left=200, values=values)
    names = ("background", "one", "two")
    plain = np.asarray(draw_sample(sample_of(pixels), preprocessing, names)).astype(int)
    drawn = np.asarray(draw_sample(sample_of(pixels, [mask], [2]), preprocessing, names))
    changed = np.abs(drawn - plain).sum(axis=2) > 0
    assert changed[100:140, 200:220].all()
    assert not changed[105:135, 226:].any() and not changed[150:].any()


def test_an_unchanged_sample_is_the_image():
    """Independent of the sampling: the record drawn directly."""
    sheet = np.asarray(preview_samples(SCENES, plain_recipe(), 3, seed=0))
    side = 96 * (640 // 96)
    height = 64 * (640 // 96)
    gap = max(4, side // 64)
    columns = [sheet[:, gap + i * (side + gap) : gap + i * (side + gap) + side] for i in range(4)]
    for left, right in ((columns[0], columns[1]), (columns[2], columns[3])):
        # two rows of pictures, each below its titles
        offset = (sheet.shape[0] - gap) // 2 - height
        np.testing.assert_allclose(
            left[offset : offset + height].astype(int), right[offset : offset + height], atol=1
        )


def test_seeds_and_changes_are_seen():
    recipe = plain_recipe()
    same, again, other = (np.asarray(preview_samples(SCENES, recipe, 3, seed=s)) for s in (0, 0, 3))
    np.testing.assert_array_equal(same, again)
    assert (same != other).any()
    darker = np.asarray(preview_samples(SCENES, plain_recipe(brightness=0.5), 3, seed=0))
    assert darker.shape == same.shape and (darker != same).any()


def test_nothing_to_train_on():
    empty = replace(SCENES, images=tuple(replace(r, annotations=()) for r in SCENES.images))
    with pytest.raises(InputError, match="no image has an object; there is nothing to train on"):
        preview_samples(empty, plain_recipe(), 1, seed=0)
    assert preview_images(empty, 2, seed=0).width > 96


def test_records_are_drawn_with_their_names():
    record = SCENES.images[0]
    labels = np.array([a.category_id for a in record.annotations])
    crops = [crop_from_rle(a.rle) for a in record.annotations]
    expected = draw_instances(
        record.read(), crops, labels, None, SCENES.class_names, scale=6, fill=0.3
    )
    assert draw_record(record, SCENES).tobytes() == expected.tobytes()
    crowd = replace(record.annotations[0], is_crowd=True)
    changed = replace(record, annotations=(crowd, *record.annotations[1:]))
    assert draw_record(changed, SCENES).tobytes() != expected.tobytes()


def test_sheets_of_images():
    one = preview_images(SCENES, 1, seed=0)
    assert preview_images(SCENES, 3, seed=0).size > one.size
    assert preview_images(SCENES, 9, seed=0).tobytes() == preview_images(SCENES, 3, 1).tobytes()
    chosen = {preview_images(SCENES, 1, seed=s).tobytes() for s in range(8)}
    assert len(chosen) == 3
