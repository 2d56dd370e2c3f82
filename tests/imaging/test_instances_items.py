"""Instances one by one, as numbers of pixels, as polygons, and for other tools."""

import sys
from types import ModuleType

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.core.masks import MaskCrop, crop_from_mask, mask_from_rle, rle_from_polygons
from fcis.imaging.instances import Instances

NAMES = ("background", "cat", "dog")


def made(masks, labels, scores):
    return Instances(
        size=masks.shape[1:],
        scores=np.array(scores, dtype=np.float32),
        labels=np.array(labels, dtype=np.int64),
        crops=tuple(crop_from_mask(mask) for mask in masks),
        class_names=NAMES,
        category_ids=(0, 5, 9),
    )


@pytest.fixture
def masks():
    """A square, one that overlaps it, and two pieces of which one has a hole."""
    masks = np.zeros((3, 12, 16), dtype=bool)
    masks[0, 1:5, 1:5] = True
    masks[1, 3:8, 3:6] = True
    masks[2, 6:11, 8:13] = True
    masks[2, 8, 10] = False
    masks[2, 0, 15] = True
    return masks


@pytest.fixture
def found(masks):
    return made(masks, [1, 2, 1], [0.5, 0.75, 0.25])


def test_one_by_one(found):
    first = found[0]
    assert (first.label, first.class_name, first.score) == (1, "cat", 0.5)
    assert first.box == (1, 1, 5, 5) and first.area == 16
    assert [instance.area for instance in found] == found.areas.tolist() == [16, 15, 25]
    assert found[-1].box == tuple(found.boxes[2])
    assert [i.score for i in found[1:]] == [0.75, 0.25] and isinstance(found[:2], Instances)
    with pytest.raises(IndexError):
        found[3]
    assert list(found[:0]) == []


def test_label_images_give_a_pixel_to_the_higher_score(found, masks):
    image = found.label_image()
    assert image.dtype == np.uint16
    expected = np.zeros((12, 16), dtype=np.uint16)
    for number in (2, 0, 1):  # rising scores
        expected[masks[number]] = number + 1
    np.testing.assert_array_equal(image, expected)
    assert image[3, 3] == 2


def test_of_equal_scores_the_first_has_the_pixel(masks):
    image = made(masks, [1, 1, 1], [0.5, 0.5, 0.5]).label_image()
    assert image[3, 3] == 1


def test_many_instances_need_wider_numbers():
    dot = MaskCrop(top=0, left=0, bits=np.ones((1, 1), dtype=bool))
    many = Instances(
        size=(1, 1),
        scores=np.linspace(0, 1, 65_536, dtype=np.float32),
        labels=np.ones(65_536, dtype=np.int64),
        crops=(dot,) * 65_536,
        class_names=NAMES,
        category_ids=(0, 5, 9),
    )
    image = many.label_image()
    assert image.dtype == np.uint32 and image.item() == 65_536


def test_polygons_give_the_masks_again(found, masks):
    polygons = found.polygons()
    assert [len(pieces) for pieces in polygons] == [1, 1, 2]
    for pieces, mask in zip(polygons, masks, strict=True):
        rle = rle_from_polygons([p.ravel().tolist() for p in pieces], *mask.shape)
        np.testing.assert_array_equal(mask_from_rle(rle), mask)
    assert sorted(map(tuple, polygons[0][0].tolist())) == [(1, 1), (1, 5), (5, 1), (5, 5)]


def test_for_supervision(found, masks, monkeypatch):
    class Detections:
        def __init__(self, **values):
            self.values = values

    package = ModuleType("supervision")
    package.Detections = Detections
    monkeypatch.setitem(sys.modules, "supervision", package)
    values = found.to_supervision().values
    np.testing.assert_array_equal(values["xyxy"], found.boxes)
    np.testing.assert_array_equal(values["mask"], masks)
    np.testing.assert_array_equal(values["confidence"], found.scores)
    assert values["class_id"].tolist() == [1, 2, 1]
    assert values["data"]["class_name"].tolist() == ["cat", "dog", "cat"]


def test_without_supervision(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match=r"pip install 'fcis-torch\[supervision\]'"):
        found.to_supervision()
