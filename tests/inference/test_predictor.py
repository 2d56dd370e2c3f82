"""What is in everybody's hands: calling a predictor, and files of results."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from fcis.cli.main import main
from fcis.core.errors import InputError
from fcis.inference.predictor import load_predictor
from fcis.inference.tiling.tile_grid import make_tiling

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def loaded(tiny_weights):
    return load_predictor(tiny_weights)


def test_a_call_is_a_prediction(loaded):
    expected = loaded.predict(PIXELS, score_threshold=0)
    assert len(expected)
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    file.seek(0)
    for image in (PIXELS, torch.from_numpy(PIXELS).permute(2, 0, 1), file):
        found = loaded(image, score_threshold=0)
        np.testing.assert_array_equal(found.scores, expected.scores)
    assert [len(found) for found in loaded([PIXELS, PIXELS])] == [len(loaded(PIXELS))] * 2


@pytest.mark.parametrize("image", [None, b"abc", 7, torch.zeros(2)])
def test_what_is_no_image_is_refused(loaded, image, no_shape_checks):
    with pytest.raises(InputError, match=r"^image: "):
        loaded(image)


def test_it_says_what_it_is(loaded, tiny_weights):
    names = loaded.class_names
    assert names[0] == "background" and len(names) == 9
    assert repr(loaded) == f"<Predictor tiny: {', '.join(names[1:4])} and 5 more, on cpu>"
    tiled = load_predictor(tiny_weights, tiling=make_tiling(64))
    assert tiled.tiling.size == 64


def test_files_are_what_the_command_writes(loaded, tiny_weights, save, tmp_path):
    photos = tmp_path / "photos"
    save(photos / "a.png")
    save(photos / "b" / "c.png", seed=1)
    steps = []
    outcome = loaded.predict_files(
        photos,
        tmp_path / "python",
        save=["coco", "masks"],
        score_threshold=0,
        watch=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(0, 2), (1, 2), (2, 2)]
    arguments = ["--weights", tiny_weights, "--out", tmp_path / "command", "--device", "cpu"]
    arguments += ["--save", "coco,masks", "--score-threshold", "0"]
    assert main(["predict", *map(str, [photos, *arguments])]) == 0
    command, python = (
        json.loads((tmp_path / name / "predictions.json").read_text())
        for name in ("command", "python")
    )
    assert python == command and len(python) == outcome.instances
    assert (tmp_path / "python" / "b" / "c.masks.png").is_file()


def test_files_that_cannot_be_read_are_listed(loaded, save, tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    outcome = loaded.predict_files([tmp_path], tmp_path / "out", save="coco")
    assert outcome.done == 1 and len(outcome.failures) == 1 and "b.png" in outcome.failures[0]
