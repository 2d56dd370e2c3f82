from dataclasses import replace

import pytest
import torch

from fcis.core.errors import InputError
from fcis.model.build import build_model
from fcis.training import batch_size as memory
from fcis.training.batch_size import find_batch, largest_power, with_batch

from .conftest import blob, dataset_of, record_of

CPU = torch.device("cpu")


def test_the_largest_power_of_two():
    tried = []

    def fits(size):
        tried.append(size)
        return size <= 11

    assert largest_power(fits, 64) == 8 and tried == [1, 2, 4, 8, 16]
    assert largest_power(fits, 6) == 4
    assert largest_power(lambda _: False, 64) == 0
    assert largest_power(lambda _: True, 64) == 64


def with_memory_for(monkeypatch, most):
    """A device that runs out of memory above a number of images; returns the batches it saw."""
    seen, compute = [], memory.losses_of

    def limited(model, batch, recipe):
        seen.append(batch)
        if len(batch.truths) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return compute(model, batch, recipe)

    monkeypatch.setattr(memory, "losses_of", limited)
    return seen


@pytest.mark.parametrize(("most", "expected"), [(1, 1), (3, 2), (100, 4)])
def test_batches_are_tried_until_one_does_not_fit(monkeypatch, plain, most, expected):
    recipe = plain()
    data = dataset_of([record_of([blob(64, 64, 8, 8, 30, 30)], number=i) for i in range(5)])
    seen = with_memory_for(monkeypatch, most)
    model = build_model(recipe.model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert find_batch(recipe, model, data, CPU) == expected
    sizes = [len(batch.truths) for batch in seen]
    assert sizes == ([1, 2, 4] if most == 3 else [1, 2, 4][: len(sizes)])
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_neediest_images_are_tried(monkeypatch, plain):
    """The highest, the widest and the one with most objects, at the largest scale drawn from."""
    recipe = plain(scale=(0.5, 1.5))
    masks = [blob(48, 48, 8 * i, 4, 7, 20) for i in range(3)]
    records = [
        record_of([blob(32, 32, 4, 4, 20, 20)], number=0),
        record_of([blob(128, 32, 8, 4, 24, 24)], number=1),
        record_of([blob(32, 96, 4, 8, 20, 24)], number=2),
        record_of(masks, number=3),
        replace(record_of([blob(512, 512, 8, 8, 30, 30)], number=4), annotations=()),
    ]
    seen = with_memory_for(monkeypatch, 100)
    find_batch(recipe, build_model(recipe.model), dataset_of(records), CPU)
    assert set(seen[2].names) == {"1.png", "2.png", "3.png"}
    assert tuple(seen[2].images.pixels.shape[2:]) == (192, 144)


def test_not_even_one_image_fits(monkeypatch, plain):
    with_memory_for(monkeypatch, 0)
    recipe, data = plain(), dataset_of([record_of([blob(64, 64, 8, 8, 30, 30)])])
    message = "device cpu: too little memory for a single image; take smaller ones"
    with pytest.raises(InputError, match=message):
        find_batch(recipe, build_model(recipe.model), data, CPU)


def test_without_objects_there_is_nothing_to_try(plain):
    recipe, record = plain(), record_of([blob(64, 64, 8, 8, 30, 30)])
    data = dataset_of([replace(record, annotations=())])
    with pytest.raises(InputError, match="painted: no image has an object; there is nothing to le"):
        find_batch(recipe, build_model(recipe.model), data, CPU)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_take_four(monkeypatch, tiny, scene_set, device):
    model = build_model(tiny.model)
    open_batch = replace(tiny, training=replace(tiny.training, batch=0))
    assert with_batch(open_batch, model, scene_set, device).training.batch == 4
    assert with_batch(tiny, model, scene_set, device) is tiny


def test_a_cuda_device_keeps_a_tenth_of_its_memory(monkeypatch, tiny, scene_set):
    shares = []
    monkeypatch.setattr(
        "torch.cuda.set_per_process_memory_fraction", lambda *given: shares.append(given)
    )
    monkeypatch.setattr(memory, "find_batch", lambda *_: 16)
    open_batch = replace(tiny, training=replace(tiny.training, batch=0))
    found = with_batch(open_batch, build_model(tiny.model), scene_set, "cuda:1")
    assert found == replace(tiny, training=replace(tiny.training, batch=16))
    assert shares == [(0.9, 1), (1.0, 1)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_found_on_a_gpu_can_be_trained_with(tiny, scene_set):
    open_batch = replace(tiny, training=replace(tiny.training, batch=0, ema=0.9))
    found = with_batch(open_batch, build_model(tiny.model), scene_set, "cuda")
    assert found.training.batch == 8  # of twelve images
