"""Cityscapes roots -> datasets."""

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.checks.check import refuse
from fcis.data.formats.cityscapes import is_cityscapes, raw_cityscapes


def read_cityscapes(*arguments, **options):
    return refuse(raw_cityscapes(*arguments, **options))


@pytest.fixture
def root(make_cityscapes, scenes, tmp_path):
    return make_cityscapes(tmp_path / "cityscapes", train=scenes(2, 5), val=scenes(1, 6))


def test_the_same_masks(root, scenes, objects):
    data = read_cityscapes(root, "train")
    assert is_cityscapes(root) and not is_cityscapes(root / "gtFine")
    assert data.name == "cityscapes:train"
    assert objects(data) == objects(scenes(2, 5))
    assert [image.id for image in data.images] == ["ulm_000000_000019", "ulm_000001_000019"]
    np.testing.assert_array_equal(data.images[1].read(), scenes(2, 5).images[1].read())
    assert list(data.label_of) == [24, 25, 26, 27, 28, 31, 32, 33]


def label(root, values):
    path = next((root / "gtFine" / "val").rglob("*.png"))
    Image.fromarray(values).save(path)
    return path


def test_groups_are_crowds_and_other_classes_are_left_out(root):
    # road 7, a group of cars, two cars, a caravan, an ego vehicle
    values = np.array([[7, 26, 26], [26001, 26000, 26000], [29000, 26, 1]], dtype=np.uint16)
    label(root, values)
    (image,) = read_cityscapes(root, "val").images
    found = [(a.category_id, a.is_crowd, a.area, a.id) for a in image.annotations]
    stem = "ulm_000000_000019"
    assert found == [
        (26, True, 3, f"{stem}/26"),
        (26, False, 2, f"{stem}/26000"),
        (26, False, 1, f"{stem}/26001"),
    ]


def test_a_missing_folder(root):
    (root / "gtFine").rename(root / "gtCoarse")
    with pytest.raises(InputError, match=r"gtFine: no such folder, though .* restore it"):
        read_cityscapes(root, "train")


def test_splits(root):
    with pytest.raises(InputError, match=r"has the splits train, val; write .*cityscapes:val"):
        read_cityscapes(root, None)
    (root / "leftImg8bit" / "test").mkdir()
    with pytest.raises(InputError, match=r"test: no images CITY/\*_leftImg8bit\.png in it"):
        read_cityscapes(root, "test")


def test_no_splits(root):
    (root / "leftImg8bit").rename(root / "gone")
    (root / "leftImg8bit").mkdir()
    with pytest.raises(InputError, match="leftImg8bit: no folder of a split in it, like train"):
        read_cityscapes(root, None)


def test_a_missing_map(root):
    label(root, np.zeros((64, 80), np.uint16)).unlink()
    with pytest.raises(InputError, match=r"_gtFine_instanceIds\.png: no such file; restore it"):
        read_cityscapes(root, "val")


def test_a_damaged_map(root):
    path = label(root, np.zeros((64, 80), np.uint16))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"instanceIds\.png: cannot be read as a picture"):
        read_cityscapes(root, "val")
