"""Runs that cannot begin or go on, and what is said of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.formats.coco import read_coco
from fcis.training.run import for_dataset, train

from .conftest import dataset_of
from .run_cases import stopping_at, with_training


def test_a_used_folder_needs_resume(tmp_path, short_recipe, small_set, small_val):
    train(with_training(short_recipe, steps=1), small_set, small_val, tmp_path)
    with pytest.raises(InputError, match="holds a training run; go on with --resume"):
        train(with_training(short_recipe, steps=1), small_set, small_val, tmp_path)
    with pytest.raises(InputError, match=r"was begun with training\.steps = 1, not 8"):
        train(short_recipe, small_set, small_val, tmp_path, resume=True)
    (tmp_path / "last.ckpt").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"last\.ckpt: damaged; delete it to begin this run anew"):
        train(with_training(short_recipe, steps=1), small_set, small_val, tmp_path, resume=True)


@pytest.mark.parametrize("kind", ["recipe", "model", "weights", "data"])
def test_a_run_that_cannot_begin_leaves_no_folder(
    tmp_path, short_recipe, small_set, small_val, kind
):
    """Else a second try, with the mistake put right, would be refused."""
    folder, recipe, data, weights = tmp_path / "run", short_recipe, small_set, None
    if kind == "recipe":
        recipe = with_training(short_recipe, batch=-1)
    elif kind == "model":
        recipe = replace(
            short_recipe,
            model=replace(short_recipe.model, head=replace(short_recipe.model.head, k=0)),
        )
    elif kind == "weights":
        weights = tmp_path / "missing.safetensors"
    else:
        data = replace(data, images=tuple(replace(r, annotations=()) for r in data.images))
    with pytest.raises(InputError):
        train(recipe, data, small_val, folder, weights=weights)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written(tmp_path, short_recipe, small_set, small_val):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"recipe\.json: cannot be written \(File exists\)"):
        train(short_recipe, small_set, small_val, tmp_path / "file")


def test_datasets_must_have_the_same_categories(tmp_path, short_recipe, small_set):
    with pytest.raises(InputError, match=r"painted: its categories .* make them equal"):
        train(short_recipe, small_set, dataset_of([]), tmp_path / "run")


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, short_recipe, small_set, small_val):
    wild = replace(short_recipe.training.optimiser, lr=1e9, warmup="none", clip_norm=0.0)
    message = r"scene-1-0000\d\d\.png: the loss \w+ is not finite in step \d; look at this image"
    with pytest.raises(InputError, match=message):
        train(with_training(short_recipe, optimiser=wild), small_set, small_val, tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named_in_one_line(tmp_path, tiny, workers):
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)).save(images / "good.png")
    (images / "bad.png").write_bytes(b"no picture")
    square = [[10, 10, 40, 10, 40, 40, 10, 40]]
    annotation = {"category_id": 1, "bbox": [10, 10, 30, 30], "segmentation": square, "area": 900}
    data = {
        "images": [
            {"id": i, "file_name": f"{n}.png", "height": 64, "width": 64}
            for i, n in enumerate(("good", "bad"))
        ],
        "annotations": [annotation | {"id": i + 1, "image_id": i, "iscrowd": 0} for i in (0, 1)],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    dataset = read_coco(tmp_path / "data.json")
    recipe = with_training(for_dataset(tiny, dataset), workers=workers)
    with pytest.raises(InputError) as caught:
        train(recipe, dataset, dataset, tmp_path / "run")
    assert "bad.png" in str(caught.value)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


def test_a_loss_needs_objects_to_validate_on(tmp_path, short_recipe, small_set, small_val):
    empty = replace(small_val, images=tuple(replace(r, annotations=()) for r in small_val.images))
    for recipe in (
        with_training(short_recipe, metric="loss"),
        with_training(short_recipe, validation_loss=True),
    ):
        with pytest.raises(InputError, match="no image has an object, so it has no loss"):
            train(recipe, small_set, empty, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("batch", "remedy"),
    [
        (1, "begin again in another --out with smaller images (--set short_side="),
        (4, "begin again in another --out with --set batch=2 --set accumulate=4, batch=0, which"),
        (5, "--set batch=2 --set accumulate=6, "),
    ],
)
def test_too_little_memory_is_said_in_one_line(
    tmp_path, monkeypatch, short_recipe, small_set, small_val, batch, remedy
):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")
    stopping_at(monkeypatch, 3, error)
    with pytest.raises(InputError) as caught:
        train(with_training(short_recipe, batch=batch), small_set, small_val, tmp_path)
    message = f"device cpu: too little memory for {batch} image(s) at once in step 4; "
    assert str(caught.value).startswith(message) and remedy in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_process_of_the_loader_that_was_killed(
    tmp_path, monkeypatch, short_recipe, small_set, small_val
):
    error = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    with monkeypatch.context() as patch:
        stopping_at(patch, 4, error)
        with pytest.raises(InputError, match=r"was ended from outside.* --resume --set workers=0"):
            train(with_training(short_recipe, workers=1), small_set, small_val, tmp_path)
    remedy = with_training(short_recipe, workers=0)
    assert train(remedy, small_set, small_val, tmp_path, resume=True).steps == 8
