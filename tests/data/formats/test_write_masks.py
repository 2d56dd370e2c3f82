"""Pictures of objects as others read them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fcis.core.masks import mask_from_rle
from fcis.data.dataset import Category
from fcis.data.formats.copied_images import output_names
from fcis.data.formats.write_masks import write_masks


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def apart(difficult):
    """The same without the second object, which overlaps the first."""
    first, second = difficult.images
    annotations = (first.annotations[0], *first.annotations[2:])
    return replace(difficult, images=(replace(first, annotations=annotations), second))


def test_one_picture_an_image(apart, tmp_path):
    write_masks(apart, output_names(apart), tmp_path / "out")
    assert files(tmp_path / "out") == [
        "classes.json",
        "images/c.jpg",
        "images/sub/a b.png",
        "masks/a_b_ \u00fc/sub/a b.png",
        "masks/no/sub/a b.png",
        "masks/traffic light/sub/a b.png",
    ]
    ids = np.asarray(Image.open(tmp_path / "out" / "masks" / "traffic light" / "sub" / "a b.png"))
    assert ids.dtype == np.uint16
    expected = mask_from_rle(apart.images[0].annotations[0].rle)
    np.testing.assert_array_equal(ids, expected)
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == [
        {"id": 3, "name": "no", "folder": "no"},
        {"id": 7, "name": "traffic light", "folder": "traffic light"},
        {"id": 90, "name": "a/b: \u00fc", "folder": "a_b_ \u00fc"},
    ]


def test_overlaps_need_a_picture_for_each_object(difficult, tmp_path):
    write_masks(difficult, output_names(difficult), tmp_path / "out")
    assert files(tmp_path / "out") == [
        "c/images/c.jpg",
        "classes.json",
        "sub/a b/images/a b.png",
        "sub/a b/masks/a_b_ \u00fc/00004.png",
        "sub/a b/masks/no/00001.png",
        "sub/a b/masks/traffic light/00002.png",
        "sub/a b/masks/traffic light/00003.png",
    ]
    mask = np.asarray(Image.open(tmp_path / "out/sub/a b/masks/traffic light/00003.png"))
    expected = mask_from_rle(difficult.images[0].annotations[1].rle)
    np.testing.assert_array_equal(mask, expected * np.uint8(255))


def test_one_class_has_no_folder(scenes, tmp_path):
    data = scenes()
    images = tuple(
        replace(i, annotations=tuple(replace(a, category_id=6) for a in i.annotations))
        for i in data.images
    )
    one = replace(data, categories=(Category(id=6, name="nucleus"),), images=images)
    write_masks(one, ["a.png", "b.png"], tmp_path)
    assert files(tmp_path / "masks") == ["a.png", "b.png"]
    ids = np.asarray(Image.open(tmp_path / "masks" / "b.png"))
    for number, annotation in enumerate(images[1].annotations, start=1):
        np.testing.assert_array_equal(ids == number, mask_from_rle(annotation.rle))
