import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.masks import MaskCrop
from fcis.imaging.instances import Instances
from fcis.imaging.strips.picture import ArrayPicture
from fcis.inference.explain.scores import score_maps
from fcis.inference.predictor import load_predictor
from fcis.inference.results import result_pictures as pictures
from fcis.inference.results.result_pictures import (
    number_image,
    shrunk,
    with_image,
    write_maps,
    write_masks,
    write_overlay,
)


def make(size, crops, image=None):
    return Instances(
        size=size,
        scores=np.full(len(crops), 0.5, dtype=np.float32),
        labels=np.ones(len(crops), dtype=np.int64),
        crops=tuple(crops),
        class_names=("background", "thing"),
        category_ids=(0, 1),
        image=image,
    )


def square(top, left, side=2):
    return MaskCrop(top=top, left=left, bits=np.ones((side, side), dtype=bool))


def test_number_image_puts_the_first_instance_in_front():
    found = make((3, 4), [square(0, 0), square(1, 1)])
    assert number_image(found).tolist() == [[1, 1, 0, 0], [1, 1, 2, 0], [0, 2, 2, 0]]
    assert number_image(found).dtype == np.uint16


def test_more_instances_than_16_bits_can_number(tmp_path, monkeypatch):
    found = make((300, 300), [square(y, x, 1) for y in range(300) for x in range(300)])
    numbers = number_image(found)
    assert numbers.dtype == np.int32
    np.testing.assert_array_equal(numbers.ravel(), np.arange(1, 90_001))
    write_masks(tmp_path, "a/x", found)
    with Image.open(tmp_path / "a" / "x.masks.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), numbers)
    monkeypatch.setattr(pictures, "_MOST_NUMBERED", 90_000)
    write_masks(tmp_path, "b/x", make((3, 4), [square(0, 0)]))
    assert np.asarray(Image.open(tmp_path / "b" / "x.masks.png")).max() == 1


def test_very_large_pictures_are_drawn_smaller(monkeypatch):
    monkeypatch.setattr(pictures, "_MOST_DRAWN", 100)
    image = np.full((30, 29, 3), 7, dtype=np.uint8)
    found = with_image(make((30, 29), [square(3, 3, 6), square(28, 28, 1)]), ArrayPicture(image))
    assert found.size == (10, 10) and found.image.shape == (10, 10, 3)
    assert found.masks[0].sum() == 4 and found.masks[0, 1:3, 1:3].all()
    assert found.masks[1].sum() == 1 and found.masks[1, 9, 9]  # small ones do not vanish
    assert found.draw(scale=1).size == (10, 10)


def test_others_as_they_are():
    image = np.zeros((10, 10, 3), dtype=np.uint8)
    found = with_image(make((10, 10), [square(0, 0)]), ArrayPicture(image))
    assert found.size == (10, 10) and found.image is image


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_shrunk_masks_are_those_of_the_majority(factor):
    rng = np.random.default_rng(0)
    bits = rng.random((17, 13)) < 0.6
    whole = np.zeros((40, 40), dtype=bool)
    whole[6:23, 7:20] = bits
    small = (40 // factor + (40 % factor > 0),) * 2
    found = shrunk(
        make((40, 40), [MaskCrop(top=6, left=7, bits=bits)]),
        factor,
        np.zeros((*small, 3), dtype=np.uint8),
    )
    padded = np.zeros((small[0] * factor,) * 2)
    padded[:40, :40] = whole
    expected = padded.reshape(small[0], factor, small[1], factor).mean(axis=(1, 3)) >= 0.5
    np.testing.assert_array_equal(found.masks[0], expected)


def test_pictures_that_cannot_be_written(tmp_path):
    (tmp_path / "x.overlay.png").mkdir()
    (tmp_path / "x.masks.png").mkdir()
    found = make((20, 20), [square(0, 0)], np.zeros((20, 20, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"x\.overlay\.png: cannot be written"):
        write_overlay(tmp_path / "x.overlay.png", found)
    with pytest.raises(InputError, match=r"x\.masks\.png: cannot be written"):
        write_masks(tmp_path, "x", found)


def test_maps_are_written_where_there_is_an_instance(tiny_weights, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    scores = score_maps(load_predictor(tiny_weights), image)
    empty = MaskCrop(top=0, left=0, bits=np.zeros((2, 2), dtype=bool))
    for crops in ([], [empty]):
        write_maps(tmp_path / "a" / "x.maps.png", scores, make((20, 24), crops))
        assert list(tmp_path.iterdir()) == []
    found = make((20, 24), [square(4, 4, 8)])
    write_maps(tmp_path / "a" / "x.maps.png", scores, found)
    assert Image.open(tmp_path / "a" / "x.maps.png").size[0] == 1376
    (tmp_path / "y.maps.png").mkdir()
    with pytest.raises(InputError, match=r"y\.maps\.png: cannot be written"):
        write_maps(tmp_path / "y.maps.png", scores, found)
