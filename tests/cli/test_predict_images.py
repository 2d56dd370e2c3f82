"""`fcis predict`: images of every kind, and those that cannot be read."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fcis.inference.predictor import Predictor
from fcis.model.build import build_model
from fcis.weights.weights_file import (
    load_weights,
    read_info,
    save_weights,
)


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
