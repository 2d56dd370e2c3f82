import multiprocessing
from dataclasses import replace

import pytest
import torch

from fcis.data.dataset import Dataset
from fcis.inference.preprocess import prepare
from fcis.training.loader import training_loader
from fcis.training.samples import TrainingSamples, target_generator

from .conftest import dataset_of
from .samples_cases import CHANGES, assert_same, painted_record


def test_images_of_rare_categories_come_more_often(plain):
    """Category 30 in 1 of 16 images, threshold 1/4: twice an epoch; the others once."""
    common = replace(painted_record(), annotations=painted_record().annotations[:2])
    images = [
        replace(common if i != 5 else painted_record(), file_name=f"{i}.png") for i in range(16)
    ]
    recipe = plain()
    recipe = replace(recipe, training=replace(recipe.training, repeat_threshold=0.25))
    samples = TrainingSamples(dataset_of(images), recipe)
    for epoch in range(3):
        names = [samples[17 * epoch + i].name for i in range(17)]
        assert sorted(names) == sorted([*(f"{i}.png" for i in range(16)), "5.png"])
    twice = [n for n in range(17) if samples[n].name == "5.png"]
    assert len(twice) == 2
    assert TrainingSamples(dataset_of(images), recipe)[40].name == samples[40].name


def test_images_with_room_for_more_crops_come_more_often(plain):
    """A crop of half the sides, power 1/2: 4 crops fit, 2 samples; where none fits, 1."""
    record = painted_record()
    half = (record.height // 2) * (record.width // 2)
    crop = round(half**0.5)
    recipe = plain(crop=crop)
    model = replace(
        recipe.model,
        preprocessing=replace(recipe.model.preprocessing, short_side=0, long_side=0, zoom=1.0),
    )
    small = replace(record, file_name="small.png", height=crop // 2, width=crop // 2)
    images = [replace(record, file_name=f"{i}.png") for i in range(3)] + [small]
    for power, many in ((0.0, 1), (0.5, 2), (1.0, 4)):
        training = replace(recipe.training, repeat_crops=power)
        changed = replace(recipe, model=model, training=training)
        samples = TrainingSamples(dataset_of(images), changed)
        order = [samples.images[i].file_name for i in samples._epoch_order(1)]
        assert order.count("small.png") == 1
        assert {order.count(f"{i}.png") for i in range(3)} <= {many, many + 1}
        assert abs(len(order) - 3 * many - 1) <= 1
        whole = replace(training.augmentation, crop_above=record.height)
        changed = replace(changed, training=replace(training, augmentation=whole))
        assert len(TrainingSamples(dataset_of(images), changed)._epoch_order(1)) == 4


@pytest.mark.parametrize("rounding", ["nearest", "down"])
@pytest.mark.parametrize("resize", ["levels", "float"])
def test_without_changes_it_is_the_input_of_prediction(plain, rounding, resize):
    recipe = plain()
    preprocessing = replace(
        recipe.model.preprocessing,
        short_side=83,
        long_side=100,
        stretch=(1.0, 99.0),
        resize=resize,
        size_rounding=rounding,
    )
    recipe = replace(recipe, model=replace(recipe.model, preprocessing=preprocessing))
    record = painted_record()
    pixels, plan = prepare(record.read(), preprocessing)
    sample = TrainingSamples(dataset_of([record]), recipe)[0]
    assert torch.equal(sample.pixels, pixels)
    assert sample.plan == plan and sample.original_size == (60, 80)


def test_images_without_objects_are_left_out(plain):
    crowd_only = replace(
        painted_record(1), annotations=painted_record(1).annotations[-1:], file_name="crowd"
    )
    empty = replace(painted_record(2), annotations=(), file_name="empty")
    samples = TrainingSamples(dataset_of([empty, painted_record(), crowd_only]), plain())
    assert [r.file_name for r in samples.images] == ["0.png"]


def test_an_epoch_is_a_permutation_and_each_has_its_own(plain):
    dataset = dataset_of([painted_record(i) for i in range(20)])
    samples = TrainingSamples(dataset, plain())
    first = [samples[n].name for n in range(20)]
    second = [samples[n].name for n in range(20, 40)]
    assert sorted(first) == sorted(second) == sorted(f"{i}.png" for i in range(20))
    assert first != second and first != sorted(first)


NEWER = {
    "scale_draw": "uniform",
    "paste": 0.8,
    "saturation": 0.3,
    "hue": 0.1,
    "channel_gain": 0.2,
    "blur": 1.0,
    "noise": 0.05,
}


@pytest.mark.parametrize("newer", [{}, NEWER], ids=["plain", "newer"])
def test_a_sample_depends_on_seed_and_number_alone(plain, newer):
    dataset = dataset_of([painted_record(i) for i in range(3)])
    recipe = plain(**CHANGES["all"], **newer, brightness=0.1)
    forward = TrainingSamples(dataset, recipe)
    samples = [forward[n] for n in range(8)]
    for n in (7, 2, 5, 2):  # another order, another object, a mask cache in another state
        assert_same(TrainingSamples(dataset, recipe)[n], samples[n])
        assert_same(forward[n], samples[n])
    other = TrainingSamples(dataset, plain(seed=1, **CHANGES["all"], brightness=0.1))
    assert any(not torch.equal(other[n].pixels, samples[n].pixels) for n in range(3))


def _digest(arguments):
    dataset, recipe, number = arguments
    return TrainingSamples(dataset, recipe)[number].pixels.numpy().tobytes()


def test_other_processes_make_the_same_sample(scene_set, tiny):
    dataset = Dataset(name="two", categories=scene_set.categories, images=scene_set.images[:2])
    here = [_digest((dataset, tiny, n)) for n in range(3)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.map(_digest, [(dataset, tiny, n) for n in range(3)])
    assert here == there


def test_workers_change_nothing(scene_set, tiny):
    def steps(workers):
        recipe = replace(tiny, training=replace(tiny.training, workers=workers, accumulate=2))
        loader = iter(training_loader(scene_set, recipe, 3))
        return [next(loader) for _ in range(4)]

    for alone, helped in zip(steps(0), steps(2), strict=True):
        for a, b in zip(alone, helped, strict=True):
            assert a.names == b.names and a.numbers == b.numbers
            assert torch.equal(a.images.pixels, b.images.pixels)
            for x, y in zip(a.truths, b.truths, strict=True):
                assert torch.equal(x.boxes, y.boxes) and torch.equal(x.labels, y.labels)
                for m, n in zip(x.masks, y.masks, strict=True):
                    assert torch.equal(m.values, n.values)


def test_chance_of_targets_differs_by_number_and_seed():
    def draw(seed, number):
        return torch.rand(4, generator=target_generator(seed, number)).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert len({tuple(draw(s, n)) for s in range(3) for n in range(3)}) == 9
