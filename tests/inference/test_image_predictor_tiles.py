"""Images looked at tile by tile."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.source import open_dataset
from fcis.inference.predictor import Predictor
from fcis.inference.tiling.tile_grid import make_tiling
from fcis.model.build import build_model

from .predictor_cases import noise, same


def test_one_tile_is_the_plain_result(tiny_predictor, tmp_path):
    """Bit for bit, for tiles of the image's size and larger ones, and every kind of input."""
    pixels = noise(70, 90, 3)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    plain = tiny_predictor.predict(pixels, score_threshold=0)
    for tile in (90, 100, 4096):
        for form in (pixels, path, Image.fromarray(pixels)):
            found = tiny_predictor.predict(form, score_threshold=0, tile=tile)
            same(found, plain)
            np.testing.assert_array_equal(found.image, pixels)
    (alone,) = tiny_predictor.predict([path], score_threshold=0, tile=90)
    same(alone, plain)
    assert alone.file_name == str(path)


@pytest.mark.parametrize("batch", [1, 3])
def test_tiles_are_looked_at_one_by_one_and_joined(tiny_predictor, monkeypatch, batch):
    pixels = noise(150, 200, 3)
    seen = []
    detect = Predictor.detect

    def spy(self, images):
        seen.extend(image.image.copy() for image in images)
        assert len(images) <= batch
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    found = tiny_predictor.predict(pixels, score_threshold=0, tile=100, overlap=20, batch=batch)
    corners = [(y, x) for y in (0, 50) for x in (0, 50, 100)]
    assert len(seen) == 6
    for image, (top, left) in zip(seen, corners, strict=True):
        np.testing.assert_array_equal(image, pixels[top : top + 100, left : left + 100])
    assert len(found) > 20 and found.size == (150, 200)
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_array_equal(found.image, pixels)
    assert len(tiny_predictor.predict(pixels, tile=100)) == 0  # the operating threshold is 0.9


def test_levels_are_stretched_alike_in_all_tiles(tiny_predictor):
    """A dark tile of a bright image stays dark, and is not stretched to noise."""
    model = tiny_predictor.info.model
    recipe = replace(model, preprocessing=replace(model.preprocessing, stretch=(0.1, 99.9)))
    own = Predictor(build_model(recipe), replace(tiny_predictor.info, model=recipe))
    pixels = noise(100, 200, 3) // 50
    pixels[:, 100:] += 200
    inputs = []

    def spy(images):
        inputs.extend(image.pixels for image in images)
        return Predictor.detect(own, images)

    own.detect = spy
    own.predict(pixels, tile=100, overlap=20)
    whole = own.prepare(pixels).pixels
    assert len(inputs) == 3
    for index, left in enumerate((0, 50, 100)):
        assert torch.equal(
            inputs[index], own.prepare(pixels[:, left : left + 100], (0, 205)).pixels
        )
    dark, bright = inputs[0][:, :, :-2], inputs[2]
    assert dark.max() < bright.min()
    assert whole.min() == dark.min() and whole.max() == bright.max()


def test_files_of_very_many_pixels_are_read_by_rows(tiny_predictor, tmp_path, monkeypatch):
    pixels = noise(150, 100, 3)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    expected = tiny_predictor.predict(pixels, score_threshold=0, tile=64)
    monkeypatch.setattr("fcis.inference.image_predictor.MAX_PIXELS", 10_000)
    monkeypatch.setattr("fcis.imaging.multichannel.read_image", None)
    found = tiny_predictor.predict(path, score_threshold=0, tile=64)
    assert found.image is None and found.file_name == str(path)
    same(found, expected)


def test_datasets_in_tiles(tiny_predictor):
    dataset = open_dataset("scenes:2:4")
    own = Predictor(tiny_predictor.model, tiny_predictor.info)
    own.tiling = make_tiling(100)
    found = list(own.detect_dataset(dataset))
    assert [f.image_id for f in found] == [record.id for record in dataset.images]
    for one, record in zip(found, dataset.images, strict=True):
        same(one, own.detect_picture(record.open(), own.tiling))
        assert len(one) > 20


def test_impossible_tiles(tiny_predictor):
    with pytest.raises(InputError, match="tile 10: expected the side of a tile in pixels"):
        tiny_predictor.predict(noise(10, 10, 3), tile=10)


def test_a_tile_that_fails_is_said(tiny_predictor, monkeypatch):
    def detect(self, images):
        raise InputError("device cpu: too little memory")

    monkeypatch.setattr(Predictor, "detect", detect)
    with pytest.raises(InputError, match="device cpu: too little memory"):
        tiny_predictor.predict(noise(100, 200, 3), tile=100)
