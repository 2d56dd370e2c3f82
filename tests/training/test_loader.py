import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.core.errors import InputError
from fcis.training.loader import StepBatches, training_loader
from fcis.training.samples import TrainingSamples

from .conftest import dataset_of, record_of
from .run_cases import with_training


@pytest.fixture
def steps_of(scene_set, tiny):
    """A function: the steps of one of several processes."""

    def make(batch, accumulate=1, rank=0, ranks=1):
        samples = TrainingSamples(scene_set, tiny)
        return StepBatches(
            samples=samples, batch=batch, accumulate=accumulate, rank=rank, ranks=ranks
        )

    return make


def test_steps_take_the_samples_in_order(steps_of):
    steps = steps_of(3)
    assert [list(steps.numbers(step)) for step in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_processes_share_the_samples_of_each_step(steps_of, ranks):
    together = [steps_of(1, 2, rank, ranks) for rank in range(ranks)]
    alone = steps_of(2 * ranks)
    for step in range(2, 6):
        shared = [number for own in together for number in own.numbers(step)]
        assert shared == list(alone.numbers(step))


def test_a_step_is_split_into_its_batches(steps_of):
    assert [b.numbers for b in steps_of(2, 3)[1]] == [(6, 7), (8, 9), (10, 11)]


def test_a_dataset_without_objects_is_refused(tiny):
    empty = replace(record_of([np.ones((9, 9), dtype=bool)]), annotations=())
    with pytest.raises(InputError, match="empty-set: no image has an object; there is nothing"):
        training_loader(dataset_of([empty], name="empty-set"), tiny, 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_goes_on_from_any_step(scene_set, tiny, workers):
    recipe = with_training(tiny, batch=2, accumulate=2, workers=workers)
    found = list(itertools.islice(training_loader(scene_set, recipe, 3), 2))
    assert [[b.numbers for b in step] for step in found] == [
        [(12, 13), (14, 15)], [(16, 17), (18, 19)]
    ]  # fmt: skip
    assert all(isinstance(b.images.pixels, torch.Tensor) for step in found for b in step)


class Unreadable:
    def read(self):
        raise InputError("bad.png: not an image;\nsave it anew")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_ends_it_in_its_own_words(tiny, workers):
    record = replace(record_of([np.ones((64, 64), dtype=bool)]), source=Unreadable())
    recipe = with_training(tiny, workers=workers)
    with pytest.raises(InputError) as caught:
        next(training_loader(dataset_of([record]), recipe, 0))
    assert str(caught.value) == "bad.png: not an image;\nsave it anew"


@pytest.mark.parametrize("workers", [0, 1])
def test_too_little_shared_memory_is_said_before_it_is_used_up(
    monkeypatch, scene_set, tiny, workers
):
    full = shutil.disk_usage("/")._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    steps = training_loader(scene_set, with_training(tiny, batch=4, workers=workers), 0)
    if not workers:
        assert len(next(steps)) == 1
        return
    message = r"/dev/shm: has 1 MiB, 1 processes that read images need \d+; .* --set workers=0"
    with pytest.raises(InputError, match=message):
        next(steps)
