"""Folders of images and pictures of their objects -> datasets."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.masks import mask_from_rle
from fcis.data.checks.check import refuse
from fcis.data.formats.mask_folder import (
    is_map_folder,
    is_object_folder,
    raw_map_folder,
    raw_object_folder,
)


def read_map_folder(*arguments, **options):
    return refuse(raw_map_folder(*arguments, **options))


def read_object_folder(*arguments, **options):
    return refuse(raw_object_folder(*arguments, **options))


IDS = np.array([[0, 0, 300, 300], [5, 5, 0, 300], [5, 0, 0, 0]], dtype=np.uint16)
TWO_PIECES = np.array([[255, 0, 255, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.uint8)


def save(path, values=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (4, 3)) if values is None else Image.fromarray(values)
    picture.save(path)


@pytest.fixture
def maps(tmp_path):
    """Return a folder with a picture of masks for the first of two images."""
    save(tmp_path / "set" / "images" / "a.jpg")
    save(tmp_path / "set" / "images" / "sub" / "b.png")
    save(tmp_path / "set" / "masks" / "a.png", IDS)
    return tmp_path / "set"


@pytest.fixture
def singles(tmp_path):
    """Return a folder with a picture for each of the two objects in the first of two images."""
    root = tmp_path / "stage1"
    save(root / "a" / "images" / "a.png")
    save(root / "b" / "images" / "other.tif")
    for number in (5, 300):
        values = (number == IDS).astype(np.uint8) * 255
        save(root / "a" / "masks" / f"{number}.png", values)
    return root


def test_maps(maps):
    data = read_map_folder(maps)
    assert is_map_folder(maps) and not is_object_folder(maps)
    assert [(c.id, c.name) for c in data.categories] == [(1, "object")]
    a, b = data.images
    assert (a.id, a.file_name, a.height, a.width) == ("a", "a.jpg", 3, 4)
    assert (b.id, b.file_name, b.annotations) == ("sub/b", "sub/b.png", ())
    assert [(x.id, x.area, x.box) for x in a.annotations] == [
        ("a/1/5", 3, (0, 1, 2, 3)),
        ("a/1/300", 3, (2, 0, 4, 2)),
    ]
    np.testing.assert_array_equal(mask_from_rle(a.annotations[1].rle), IDS == 300)
    assert a.read().shape == (3, 4, 3)


def test_a_picture_for_each_object(singles):
    data = read_object_folder(singles)
    assert is_object_folder(singles) and not is_map_folder(singles)
    a, b = data.images
    assert (a.id, a.file_name) == ("a", "a.png")
    assert (b.id, b.file_name, b.annotations) == ("b", "b.tif", ())
    masks = [mask_from_rle(x.rle) for x in a.annotations]
    assert [x.id for x in a.annotations] == ["a/300", "a/5"]
    np.testing.assert_array_equal(masks[0], IDS == 300)
    np.testing.assert_array_equal(masks[1], IDS == 5)


def test_objects_may_overlap(singles):
    save(singles / "a" / "masks" / "6.png", np.ones((3, 4), dtype=np.uint8))
    assert sorted(x.area for x in read_object_folder(singles).images[0].annotations) == [3, 3, 12]


def test_folders_of_classes(maps, singles):
    save(maps / "masks" / "sub" / "b.png", IDS)
    (maps / "masks" / "a.png").unlink()
    assert len(read_map_folder(maps).images[1].annotations) == 2  # `sub` is part of a name
    save(maps / "masks" / "cell" / "sub" / "b.png", IDS)
    save(maps / "masks" / "debris" / "a.png", IDS)
    (maps / "masks" / "sub" / "b.png").unlink()
    data = read_map_folder(maps)
    assert [c.name for c in data.categories] == ["cell", "debris"]
    assert [[x.category_id for x in i.annotations] for i in data.images] == [[2, 2], [1, 1]]

    save(singles / "b" / "masks" / "cell" / "1.png", IDS.astype(np.uint8))
    for file in list((singles / "a" / "masks").iterdir()):
        file.unlink()
        save(singles / "a" / "masks" / "debris" / file.name, IDS.astype(np.uint8))
    data = read_object_folder(singles)
    assert [[x.category_id for x in i.annotations] for i in data.images] == [[2, 2], [1]]


def test_a_list_of_classes(maps, singles):
    for folder in (maps, singles):
        (folder / "classes.json").write_text(json.dumps([{"id": 9, "name": "nucleus"}]))
    for data in (read_map_folder(maps), read_object_folder(singles)):
        assert [(c.id, c.name) for c in data.categories] == [(9, "nucleus")]
        assert {x.category_id for x in data.images[0].annotations} == {9}


def test_masks_beside_folders_of_classes(maps, singles):
    save(maps / "masks" / "cell" / "a.png", IDS)
    with pytest.raises(InputError, match="masks: holds masks beside the folders cell; move the"):
        read_map_folder(maps)
    save(singles / "a" / "masks" / "cell" / "1.png", IDS.astype(np.uint8))
    with pytest.raises(InputError, match="masks: holds masks beside the folders cell; move the"):
        read_object_folder(singles)


def test_masks_that_only_tell_objects_from_background(maps):
    save(maps / "masks" / "a.png", TWO_PIECES)
    with pytest.warns(
        UserWarning, match=r"masks: no mask holds more than one .* like a\.png; give"
    ):
        data = read_map_folder(maps)
    assert len(data.images[0].annotations) == 1
    # one that tells them apart shows that the pieces are meant
    save(maps / "masks" / "sub" / "b.png", IDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_map_folder(maps)


def test_a_mask_without_an_image(maps):
    save(maps / "masks" / "a_mask.png", IDS)
    with pytest.raises(
        InputError, match=r"a_mask\.png: no image a_mask\.\* in .*images; give both"
    ):
        read_map_folder(maps)


def test_no_masks(maps, singles):
    (maps / "masks" / "a.png").unlink()
    with pytest.raises(
        InputError, match=r"masks: no masks in it; put NAME\.png there for NAME\.jp"
    ):
        read_map_folder(maps)
    assert len(read_map_folder(maps, require_annotations=False)) == 2
    for file in (singles / "a" / "masks").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="stage1: no masks in any NAME/masks/; add the pictures"):
        read_object_folder(singles)
    assert len(read_object_folder(singles, require_annotations=False)) == 2


def test_masks_of_another_size(maps, singles):
    save(maps / "masks" / "a.png", IDS.T.copy())
    with pytest.raises(
        InputError, match=r"a\.png: is 3 x 4 pixels .*a\.jpg is 4 x 3; make the mask"
    ):
        read_map_folder(maps)
    save(singles / "a" / "masks" / "5.png", IDS.T.astype(np.uint8))
    with pytest.raises(
        InputError, match=r"5\.png: is 3 x 4 pixels .*a\.png is 4 x 3; make the mask"
    ):
        read_object_folder(singles)


def test_black_pictures_of_objects_are_left_out_with_a_warning(singles):
    save(singles / "a" / "masks" / "7.png", np.zeros((3, 4), dtype=np.uint8))
    with pytest.warns(UserWarning, match=r"1 masks without a pixel are left out; .*7\.png"):
        assert len(read_object_folder(singles).images[0].annotations) == 2


@pytest.mark.parametrize("count", [0, 2])
def test_a_folder_of_an_image_holds_one(singles, count):
    (singles / "a" / "images" / "a.png").unlink()
    for number in range(count):
        save(singles / "a" / "images" / f"{number}.png")
    with pytest.raises(InputError, match=f"a/images: holds {count} images; where each object has"):
        read_object_folder(singles)
