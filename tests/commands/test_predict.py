"""`fcis predict`: what it writes, what it says, and what it does with every kind of bad input."""

import json
import signal
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from fcis.commands.predict import number_image
from fcis.instances import Instances
from fcis.masks import MaskCrop
from fcis.predictor import Predictor


@pytest.fixture
def predict(fcis, tiny_weights, tmp_path):
    """Run `fcis predict`, showing everything; returns (code, out, err, results)."""

    def run(*arguments, everything=True):
        shown = ("--score-threshold", 0) if everything else ()
        out = tmp_path / "out"
        code, stdout, stderr = fcis(
            "predict", *arguments, "--weights", tiny_weights, "--out", out, *shown
        )
        path = out / "predictions.json"
        results = json.loads(path.read_text()) if path.is_file() else None
        return code, stdout, stderr, results

    return run


def written(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_folder_gives_results_and_overlays_by_path(predict, save, tmp_path):
    save(tmp_path / "in" / "a" / "1.png")
    save(tmp_path / "in" / "b" / "1.png", 40, 30, seed=1)
    code, out, err, results = predict(tmp_path / "in")
    assert (code, err) == (0, "")
    assert out == f"{len(results)} instances in 2 images: {tmp_path / 'out'}\n"
    assert written(tmp_path / "out") == [
        "a/1.overlay.png",
        "b/1.overlay.png",
        "predictions.json",
    ]
    assert {r["image_id"] for r in results} == {"a/1", "b/1"}
    assert {r["file_name"] for r in results} == {
        str(tmp_path / "in" / "a" / "1.png"),
        str(tmp_path / "in" / "b" / "1.png"),
    }
    for name, size in (("a/1", (64, 48)), ("b/1", (30, 40))):
        assert Image.open(tmp_path / "out" / f"{name}.overlay.png").size == size


def test_results_are_a_coco_list(predict, save, tmp_path):
    _, _, _, results = predict(save(tmp_path / "x.png"))
    assert len(results) == 20  # the recipe's maximum
    scores = [r["score"] for r in results]
    assert scores == sorted(scores, reverse=True)
    for r in results:
        assert r.keys() == {
            "image_id",
            "category_id",
            "bbox",
            "segmentation",
            "score",
            "file_name",
        }
        assert r["segmentation"]["size"] == [48, 64]
        assert isinstance(r["segmentation"]["counts"], str)
        assert r["bbox"] == coco_mask.toBbox(r["segmentation"]).tolist()
        assert 1 <= r["category_id"] <= 8


def test_inputs_may_be_files_and_globs(predict, save, tmp_path):
    for name in ("a.png", "b.png", "c.jpg"):
        save(tmp_path / "in" / name)
    _, _, _, results = predict(tmp_path / "in" / "*.png", tmp_path / "in" / "c.jpg")
    assert {r["image_id"] for r in results} == {"a", "b", "c"}


def test_save_chooses_what_is_written(predict, save, tmp_path):
    predict(save(tmp_path / "x.png"), "--save", "masks")
    assert written(tmp_path / "out") == ["x.masks.png"]
    numbers = np.asarray(Image.open(tmp_path / "out" / "x.masks.png"))
    assert numbers.dtype == np.uint16 and numbers.shape == (48, 64)
    assert 1 <= numbers.max() <= 20


def test_number_image_puts_the_first_instance_in_front():
    def square(top, left):
        return MaskCrop(top=top, left=left, bits=np.ones((2, 2), dtype=bool))

    instances = Instances(
        size=(3, 4),
        scores=np.array([0.9, 0.8], dtype=np.float32),
        labels=np.array([1, 1]),
        crops=(square(0, 0), square(1, 1)),
        class_names=("background", "thing"),
        category_ids=(0, 1),
    )
    assert number_image(instances).tolist() == [[1, 1, 0, 0], [1, 1, 2, 0], [0, 2, 2, 0]]


def test_nothing_above_the_threshold_names_the_top_score(predict, save, tmp_path):
    path = save(tmp_path / "x.png")
    _, _, _, everything = predict(path)
    code, out, err, results = predict(path, everything=False)
    top = max(r["score"] for r in everything)
    assert (code, results) == (0, [])
    assert err == f"{path}: nothing reaches the threshold; the top score is {top:.3f}\n"
    assert out == f"0 instances in 1 image: {tmp_path / 'out'}\n"


def test_many_empty_images_are_counted_at_the_end(predict, save, tmp_path):
    for i in range(12):
        save(tmp_path / "in" / f"{i:02d}.png", 16, 16, seed=i)
    code, _, err, _ = predict(tmp_path / "in", everything=False)
    lines = err.splitlines()
    assert code == 0 and len(lines) == 11
    assert lines[-1].startswith("12 images in which nothing reaches the threshold; the top score")


def test_threshold_between_scores_divides_them(predict, save, tmp_path):
    path = save(tmp_path / "x.png")
    _, _, _, everything = predict(path)
    limit = everything[7]["score"]
    _, _, _, some = predict(path, "--score-threshold", repr(limit), everything=False)
    assert [r["score"] for r in some] == [r["score"] for r in everything if r["score"] >= limit]


def test_coco_file_gives_its_ids(predict, annotate, tmp_path):
    path = annotate(tmp_path / "set", category_ids=list(range(50, 58)))
    code, _, _, results = predict(path)
    assert code == 0
    assert {r["image_id"] for r in results} == {7, 9}
    assert {r["file_name"] for r in results} == {"0.png", "1.png"}
    assert {r["category_id"] for r in results} <= set(range(50, 58))
    assert written(tmp_path / "out") == ["0.overlay.png", "1.overlay.png", "predictions.json"]


def test_coco_file_without_annotations_and_categories(predict, annotate, tmp_path):
    def bare(data):
        del data["annotations"], data["categories"]

    path = annotate(tmp_path / "set", bare, ids=("left", "right"))
    moved = tmp_path / "elsewhere"
    (tmp_path / "set" / "images").rename(moved)
    code, _, _, results = predict(path, "--images", moved)
    assert code == 0
    assert {r["image_id"] for r in results} == {"left", "right"}
    assert {r["category_id"] for r in results} <= set(range(1, 9))


def test_scenes(predict, tmp_path):
    code, _, _, results = predict("scenes:1:3")
    assert code == 0 and {r["image_id"] for r in results} == {1}
    assert written(tmp_path / "out") == ["predictions.json", "scene-3-000000.overlay.png"]


def test_size_changes_what_the_network_sees(predict, save, tmp_path, monkeypatch):
    sizes = []
    detect = Predictor.detect

    def spy(self, images):
        prep = self.model.recipe.preprocessing
        sizes.append((prep.short_side, prep.long_side))
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    path = save(tmp_path / "x.png")
    for option in ("96", "96:120"):
        _, _, _, results = predict(path, "--size", option)
        assert results[0]["segmentation"]["size"] == [48, 64]
    assert sizes == [(96, 0), (96, 120)]


# --- images of every kind -------------------------------------------------------------------


def _variants():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (40, 56), dtype=np.uint8)
    rgb = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the right
    return {
        "grey.png": (Image.fromarray(grey), {}),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 20), {}),
        "deep.tif": (Image.fromarray(grey.astype(np.uint16) * 20), {}),
        "float.tif": (Image.fromarray(grey.astype(np.float32) / 7), {}),
        "palette.png": (image.quantize(16), {}),
        "cmyk.jpg": (image.convert("CMYK"), {}),
        "alpha.png": (image.convert("RGBA"), {}),
        "binary.png": (Image.fromarray(grey).convert("1"), {}),
        "turned.jpg": (Image.fromarray(rgb.transpose(1, 0, 2).copy()), {"exif": exif}),
    }


@pytest.mark.parametrize("name", list(_variants()))
def test_kinds_of_images(predict, tmp_path, name):
    image, options = _variants()[name]
    assert image.size == ((40, 56) if name == "turned.jpg" else (56, 40))
    path = tmp_path / "in" / name
    path.parent.mkdir()
    image.save(path, **options)
    code, _, _, results = predict(path)
    assert code == 0 and results
    assert {tuple(r["segmentation"]["size"]) for r in results} == {(40, 56)}
    overlay = Image.open(tmp_path / "out" / f"{path.stem}.overlay.png")
    assert overlay.size == (56, 40)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (300, 2)])
def test_slivers(predict, save, tmp_path, size):
    code, _, _, _ = predict(save(tmp_path / "x.png", *size))
    assert code == 0
    assert Image.open(tmp_path / "out" / "x.overlay.png").size == size[::-1]


def test_deep_images_are_read_with_the_percentiles_of_the_weights(
    predict, tmp_path, tiny_weights, monkeypatch, fcis
):
    from dataclasses import replace

    from fcis.build import build_model
    from fcis.weights.file import load_weights, read_info, save_weights

    info = read_info(tiny_weights)
    model = build_model(info.model)
    load_weights(tiny_weights, model)
    prep = replace(info.model.preprocessing, high_depth=(0.0, 100.0))
    other = tmp_path / "other.safetensors"
    save_weights(other, model, replace(info, model=replace(info.model, preprocessing=prep)))
    seen = []
    detect = Predictor.detect

    def spy(self, images):
        seen.append(images[0].image)
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    values = np.full((40, 40), 100, dtype=np.uint16)
    values[0, 0], values[0, 1], values[20:] = 0, 65535, 200
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path)
    for weights in (tiny_weights, other):
        assert fcis("predict", path, "--weights", weights, "--out", tmp_path / "o")[0] == 0
    assert seen[0][30, 30, 0] - seen[0][10, 10, 0] > 90
    assert seen[1][30, 30, 0] - seen[1][10, 10, 0] <= 1


# --- bad images -----------------------------------------------------------------------------


def _bomb():
    """A PNG of a few bytes whose header promises 60,000 x 60,000 pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("cut.png", lambda data: data[: len(data) // 2], "truncated or damaged"),
        ("empty.png", lambda data: b"", "the file is empty"),
        ("text.png", lambda data: b"hello", "not an image that can be read"),
        ("bomb.png", lambda data: _bomb(), "3600000000"),
    ],
)
def test_bad_images_are_left_out(predict, save, tmp_path, name, damage, message):
    good = save(tmp_path / "in" / "good.png")
    bad = tmp_path / "in" / name
    bad.write_bytes(damage(good.read_bytes()))
    code, out, err, results = predict(tmp_path / "in")
    assert code == 2
    assert {r["image_id"] for r in results} == {"good"}
    assert out == f"{len(results)} instances in 1 image: {tmp_path / 'out'}\n"
    first, last = err.splitlines()
    assert first.startswith("fcis: ") and str(bad) in first
    assert message in first.replace(",", "").replace("_", "")
    assert last == "fcis: 1 of 2 images left out"
    # alone, it is one line
    code, _, err, results = predict(bad)
    assert (code, err.count("\n"), results) == (2, 1, [])


def test_max_pixels(predict, save, tmp_path):
    path = save(tmp_path / "x.png", 10, 10)
    assert predict(path, "--max-pixels", 100)[0] == 0
    code, _, err, _ = predict(path, "--max-pixels", 99)
    assert code == 2 and err.count("\n") == 1 and str(path) in err


def test_images_of_another_size_than_the_dataset_says(predict, annotate, tmp_path):
    def swap(data):
        data["images"][0].update(height=64, width=48)
        data["annotations"] = data["annotations"][1:]

    code, _, err, results = predict(annotate(tmp_path / "set", swap))
    assert code == 2 and "the sides are swapped" in err
    assert {r["image_id"] for r in results} == {9}


def test_interrupt_keeps_what_was_found(predict, save, tmp_path, monkeypatch, interruptible):
    for i in range(4):
        save(tmp_path / "in" / f"{i}.png", seed=i)
    calls = []
    detect = Predictor.detect

    def third_time(self, images):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", third_time)
    code, out, err, results = predict(tmp_path / "in")
    assert code == 130
    assert {r["image_id"] for r in results} == {"0", "1"}
    assert "instances in 2 images" in out
    assert err == "fcis: interrupted after 2 of 4 images\n"


def test_a_bug_keeps_what_was_found(predict, save, tmp_path, monkeypatch):
    for i in range(2):
        save(tmp_path / "in" / f"{i}.png", seed=i)
    detect = Predictor.detect
    calls = []

    def second_time(self, images):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("a bug")
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", second_time)
    with pytest.raises(RuntimeError, match="a bug"):
        predict(tmp_path / "in")
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {r["image_id"] for r in results} == {"0"}


# --- bad arguments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "an INPUT is empty, which would mean this folder; write . for that"),
        (["missing.png"], "missing.png: no such file or folder; check the spelling"),
        (["nothing-*.png"], "nothing-*.png: no image file matches this pattern"),
        (["missing.json"], "missing.json: no such annotation file"),
        (["scenes:0"], "scenes:0: expected scenes[:N[:seed]]"),
        (["IMAGE", "--save", "coco,pictures"], "--save coco,pictures: expected some of overlay,"),
        (["IMAGE", "--save", ","], "--save ,: expected some of overlay,coco,masks"),
        (["IMAGE", "--score-threshold", "1.5"], "--score-threshold 1.5: expected a number from 0"),
        (["IMAGE", "--score-threshold", "nan"], "--score-threshold nan: expected a number from 0"),
        (["IMAGE", "--score-threshold", "high"], "invalid float value: 'high'"),
        (["IMAGE", "--max-pixels", "0"], "--max-pixels 0: expected a number above 0"),
        (["IMAGE", "--size", "big"], "--size big: expected SHORT or SHORT:LONG in pixels"),
        (["IMAGE", "--device", "tpu"], "device tpu: must be auto, cpu, cuda, cuda:N or mps"),
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
    assert f"{tmp_path / 'out'}: cannot be written" in error
    assert (tmp_path / "out" / "predictions.json").is_file()


def test_no_weights_lists_what_there_is(refused, save, tmp_path, monkeypatch):
    monkeypatch.setattr("fcis.weights.catalog.zoo", lambda: {"a": tmp_path, "b": tmp_path})
    error = refused("predict", save(tmp_path / "x.png"))
    assert "--weights is needed: a .safetensors file, a run folder or hf://owner/name" in error
    assert error.endswith("or one of a, b\n")
