"""The Python interface as the documentation shows it."""

import doctest
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import fcis
import fcis.api
from fcis.inference.predictor import Predictor


def test_as_documented(tiny_weights, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cells.png")
    predictor = fcis.load(tiny_weights, device="cpu")
    assert isinstance(predictor, Predictor)
    instances = predictor.predict(str(tmp_path / "cells.png"), score_threshold=0)
    n = len(instances)
    assert isinstance(instances, fcis.Instances) and n > 0
    assert instances.boxes.shape == (n, 4) and instances.masks.shape == (n, 48, 64)
    assert instances.class_names[instances.labels[0]] in predictor.info.model.class_names
    results = instances.to_coco()
    assert len(results) == n and results[0]["file_name"] == str(tmp_path / "cells.png")
    instances.draw().save(tmp_path / "out.png")
    Image.open(tmp_path / "out.png").load()


def test_load_takes_names_paths_and_run_folders(tiny_weights, tmp_path, add_to_zoo):
    (tmp_path / "run").mkdir()
    shutil.copy(tiny_weights, tmp_path / "run" / "best.safetensors")
    add_to_zoo("small", "tests")
    for weights in (str(tiny_weights), tmp_path / "run", "small", None):
        assert fcis.load(weights, device="cpu").info.recipe == "tiny"


def test_load_takes_the_fastest_device(tiny_weights, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert fcis.load(tiny_weights).device == "cpu"


def test_load_takes_scales_the_mirror_image_and_several_weights(tiny_weights):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    plain = fcis.load(tiny_weights, device="cpu").predict(pixels, score_threshold=0)
    twice = fcis.load([tiny_weights, tiny_weights], device="cpu")
    np.testing.assert_array_equal(twice.predict(pixels, score_threshold=0).scores, plain.scores)
    tools = {"scales": (48, "1.5x"), "flip": True, "roi_side": 30}
    predictor = fcis.load([tiny_weights, tiny_weights], device="cpu", **tools)
    first, second = predictor.predict([pixels, pixels[:, ::-1]], score_threshold=0)
    assert not np.array_equal(first.scores, plain.scores) and len(second)


def test_load_refuses_scales_that_are_none(tiny_weights):
    with pytest.raises(fcis.InputError, match=r"^scales 0: expected up to 16 shorter sides in pix"):
        fcis.load(tiny_weights, scales=(0,))


def test_load_refuses(tmp_path):
    with pytest.raises(fcis.InputError, match="none: no such weights; give"):
        fcis.load("none")
    with pytest.raises(fcis.InputError, match=r"this folder has no best\.safetensors"):
        fcis.load(tmp_path)


def test_examples_of_the_docstrings(tmp_path):
    found = doctest.testmod(fcis.api, extraglobs={"folder": tmp_path})
    assert found.attempted >= 7 and not found.failed


def test_train_evaluate_and_back(tmp_path, caplog):
    caplog.set_level("INFO", logger="fcis")
    train, val = fcis.open_dataset("scenes:2:1"), fcis.open_dataset("scenes:1:2")
    recipe = fcis.named_recipe("tiny", ["steps=2", "crop=64"])
    steps = []
    run = fcis.train(
        train, val, recipe=recipe, out=tmp_path, device="cpu", watch=lambda *s: steps.append(s)
    )
    assert run.steps == 2 and steps == [(0, 2), (1, 2), (2, 2)]
    assert any("training tiny" in line for line in caplog.messages)
    images = []
    predictor = fcis.load(tmp_path, device="cpu")
    found = fcis.evaluate(val, predictor, watch=lambda *s: images.append(s))
    assert images == [(0, 1), (1, 1)]
    assert found.to_json()["images"] == 1 and "mask" in found.summary()
    assert found.to_json()["segm"] == fcis.evaluate("scenes:1:2", tmp_path).to_json()["segm"]


def test_load_takes_size_and_tiles(tiny_weights):
    predictor = fcis.load(tiny_weights, device="cpu", size="64:128", tile=64, overlap=16)
    assert predictor.model.recipe.preprocessing.short_side == 64
    assert predictor.tiling.overlap == 16
    with pytest.raises(fcis.InputError, match="overlap 16: is for tiles"):
        fcis.load(tiny_weights, overlap=16)


def test_import_is_light():
    code = "import sys, fcis; print([m for m in ('torch', 'timm', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr
