"""`fcis predict`: arguments that make no sense, and what cannot be written."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "an INPUT is empty, which would mean this folder; write . for that"),
        (["missing.png"], "missing.png: no such file or folder; check the spelling"),
        (["nothing-*.png"], "nothing-*.png: no image file matches this pattern"),
        (["missing.json"], "missing.json: no such annotation file"),
        (["scenes:0"], "scenes:0: expected scenes[:N[:seed[:apart]]]"),
        (["IMAGE", "--save", "coco,pictures"], "--save coco,pictures: expected some of overlay,"),
        (["IMAGE", "--save", ","], "--save ,: expected some of overlay,coco,masks"),
        (["IMAGE", "--score-threshold", "1.5"], "--score-threshold 1.5: expected a number from 0"),
        (["IMAGE", "--score-threshold", "nan"], "--score-threshold nan: expected a number from 0"),
        (["IMAGE", "--score-threshold", "high"], "invalid float value: 'high'"),
        (["IMAGE", "--max-pixels", "0"], "--max-pixels 0: expected a number above 0"),
        (["IMAGE", "--size", "big"], "--size big: expected SHORT or SHORT:LONG in pixels"),
        (["IMAGE", "--device", "tpu"], "device tpu: must be auto, cpu, cuda, cuda:N or mps"),
        (["IMAGE", "--tile", "10"], "tile 10: expected the side of a tile in pixels, at least 64"),
        (["IMAGE", "--tile", "100", "--overlap", "60"], "overlap 60: expected 8 to 50 pixels"),
        (["IMAGE", "--overlap", "20"], "--overlap 20: is for tiles; add --tile SIZE"),
        (["IMAGE", "--resume"], "--resume: goes on with the lines of a run; add --save jsonl"),
        (
            ["IMAGE", "--resume", "--save", "jsonl,coco"],
            "--resume: predictions.json would lack what the earlier run found; leave coco out",
        ),
        (["missing.mp4"], "missing.mp4: no such file; check the spelling"),
        (["IMAGE", "--images", "x"], "--images x: is for a COCO .json; leave it out"),
    ],
)
def test_bad_arguments(refused, save, tiny_weights, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "x.png")
    arguments = ["x.png" if a == "IMAGE" else a for a in arguments]
    assert message in refused("predict", *arguments, "--weights", tiny_weights)
    assert not (tmp_path / "predictions").exists()


def test_unwritable_out(refused, save, tiny_weights, tmp_path):
    path = save(tmp_path / "x.png")
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        error = refused("predict", path, "--weights", tiny_weights, "--out", out)
        assert f"{out}: the folder cannot be made" in error
        assert "choose another --out" in error


def test_pictures_that_cannot_be_written(refused, save, tiny_weights, tmp_path):
    path = save(tmp_path / "x.png")
    (tmp_path / "out" / "x.overlay.png").mkdir(parents=True)
    error = refused(
        "predict",
        path,
        "--weights",
        tiny_weights,
        "--out",
        tmp_path / "out",
        "--score-threshold",
        0,
    )
    assert f"{tmp_path / 'out' / 'x.overlay.png'}: cannot be written" in error
    assert (tmp_path / "out" / "predictions.json").is_file()


def test_no_weights_lists_what_there_is(refused, save, add_to_zoo, tmp_path):
    add_to_zoo("a", "cells")
    add_to_zoo("b", "photographs")
    error = refused("predict", save(tmp_path / "x.png"))
    assert "--weights is needed: a (cells), b (photographs), a .safetensors file, a run" in error


def test_bad_scales(refused, save, tiny_weights, tmp_path):
    path = save(tmp_path / "a.png")
    weights = ("--weights", tiny_weights)
    assert "scales 0x: expected up to 16" in refused("predict", path, *weights, "--scales", "0x")
    error = refused("predict", path, *weights, "--roi-side", "0")
    assert "RoI side 0: expected a number of pixels above 0" in error
    error = refused("predict", path, *weights, "--weights", tmp_path / "b")
    assert "b: no such weights" in error
