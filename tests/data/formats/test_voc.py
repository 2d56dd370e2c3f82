"""VOC roots -> datasets."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.masks import mask_from_rle, rle_area, rle_box
from fcis.data.checks.check import refuse
from fcis.data.checks.faults import UNKNOWN_CATEGORY
from fcis.data.formats.voc import objects_of_maps, raw_voc, voc_root


def read_voc(*arguments, **options):
    return refuse(raw_voc(*arguments, **options))


@pytest.fixture
def root(make_voc, scenes, tmp_path):
    return make_voc(tmp_path / "VOCdevkit" / "VOC2012", train=scenes(2, 5), val=scenes(1, 6))


def test_the_same_masks(root, scenes, objects):
    data = read_voc(root, "train")
    assert data.name == "VOC2012:train"
    assert objects(data) == objects(scenes(2, 5))
    assert [image.id for image in data.images] == ["2008_000000", "2008_000001"]
    assert data.images[1].file_name == "2008_000001.jpg"
    assert data.images[0].read().shape == (64, 80, 3)
    assert [c.name for c in data.categories][::19] == ["aeroplane", "tvmonitor"]
    assert data.label_of[15] == 15 and data.class_names[15] == "person"
    first = data.images[0].annotations[0]
    mask = mask_from_rle(first.rle)
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    assert first.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert first.area == mask.sum() and not first.is_crowd


def test_the_root_is_found_below(root):
    assert voc_root(root) == voc_root(root.parent) == voc_root(root.parent.parent) == root
    assert voc_root(root / "JPEGImages") is None
    assert len(read_voc(root.parent.parent, "val")) == 1


def test_splits(root):
    with pytest.raises(InputError, match=r"VOC2012: has the splits train, val; write .*2012:val"):
        read_voc(root, None)
    with pytest.raises(InputError, match=r"has no split 'test', it has the splits train, val"):
        read_voc(root, "test")


def test_an_objects_class_is_that_of_most_of_its_pixels():
    objects = np.array([[1, 1, 1, 255], [1, 1, 2, 255]])
    classes = np.array([[7, 7, 0, 255], [3, 255, 20, 255]])
    first, second = objects_of_maps(objects, classes, "x", Path("x.png"))
    assert (first.id, first.category_id, rle_area(first.segmentation)) == ("x/1", 7, 5)
    assert (second.id, second.category_id) == ("x/2", 20)
    assert rle_box(second.segmentation) == (2, 1, 3, 2)


def test_nothing_but_void_is_no_object():
    void = np.full((2, 2), 255)
    assert list(objects_of_maps(void, void, "x", Path("x.png"))) == []


@pytest.mark.parametrize("value", [0, 255, 21])
def test_an_object_without_a_class(value):
    classes = np.full((2, 2), value)
    (raw,) = objects_of_maps(np.full((2, 2), 3), classes, "x", Path("x.png"))
    (problem,) = raw.problems
    assert (raw.where, problem.kind) == ("x.png: object 3", UNKNOWN_CATEGORY)
    assert problem.text == f"lies on the class values {value}"
    assert problem.remedy == "a class is 1 to 20: correct the map of classes"


@pytest.mark.parametrize("folder", ["SegmentationClass", "SegmentationObject"])
def test_a_missing_folder(root, folder):
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(InputError, match=f"{folder}: no such folder, though .* restore it"):
        read_voc(root, "train")


def test_no_root_and_no_lists(root):
    with pytest.raises(InputError, match="no JPEGImages/ in it; name a VOC root"):
        read_voc(root / "ImageSets", "train")
    for file in (root / "ImageSets" / "Segmentation").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"Segmentation: no lists \(\.txt\) of images in it"):
        read_voc(root, "train")


def test_missing_files(root):
    (root / "SegmentationObject" / "2008_000001.png").unlink()
    with pytest.raises(InputError, match=r"2008_000001\.png: no such file; restore it"):
        read_voc(root, "train")
    (root / "JPEGImages" / "2008_000000.jpg").unlink()
    with pytest.raises(InputError, match=r"2008_000000\.jpg: no such image, though a list"):
        read_voc(root, "train")


def test_maps_of_two_sizes(root):
    Image.new("L", (80, 63)).save(root / "SegmentationObject" / "2008_000002.png")
    with pytest.raises(InputError, match=r"is 80 x 63 pixels \(width x height\), but .* 80 x 64"):
        read_voc(root, "val")


def test_an_image_of_another_size(root):
    Image.new("RGB", (64, 80)).save(root / "JPEGImages" / "2008_000002.jpg")
    with pytest.raises(InputError, match=r"2008_000002\.jpg: the image is 64 x 80 .* says 80 x 64"):
        read_voc(root, "val").images[0].read()
