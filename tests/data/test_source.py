"""What a DATA argument may be."""

import json

import numpy as np
import pytest
from PIL import Image

from fcis.data.scenes import scene_dataset
from fcis.data.source import check_distinct, open_dataset
from fcis.errors import InputError


def test_scenes_with_number_and_seed():
    data = open_dataset("scenes:3:5")
    expected = scene_dataset(3, 5)
    assert len(data) == 3
    np.testing.assert_array_equal(data.images[2].read(), expected.images[2].read())
    assert (data.images[2].read() != open_dataset("scenes:3:6").images[2].read()).any()


def test_scenes_by_default():
    assert len(open_dataset("scenes")) == 64
    np.testing.assert_array_equal(
        open_dataset("scenes:2").images[1].read(), open_dataset("scenes:2:0").images[1].read()
    )


@pytest.mark.parametrize(
    "data",
    ["scenes:", "scenes:x", "scenes:0", "scenes:3:", "scenes:3:-1", "scenes:3:1:2", "scenes:²"],
)
def test_malformed_scenes(data):
    with pytest.raises(InputError, match=rf"{data}: expected scenes\[:N\[:seed\]\]"):
        open_dataset(data)


def test_scenes_take_no_images():
    with pytest.raises(InputError, match="scenes: scenes have no image files; leave out --images"):
        open_dataset("scenes", "somewhere")


def test_annotation_file(tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (6, 4)).save(tmp_path / "pictures" / "x.png")
    path = tmp_path / "set.JSON"
    image = {"id": 1, "file_name": "x.png", "height": 4, "width": 6}
    path.write_text(json.dumps({"images": [image]}))
    data = open_dataset(str(path), tmp_path / "pictures", require_annotations=False)
    assert len(data) == 1 and data.images[0].read().shape == (4, 6, 3)
    with pytest.raises(InputError, match="no 'categories' in it"):
        open_dataset(str(path), tmp_path / "pictures")


@pytest.mark.parametrize("data", ["set.yaml", "folder", "", "scenery"])
def test_unknown_kinds(data):
    with pytest.raises(
        InputError, match=r"not a known kind of data; give a COCO .*scenes\[:N\[:seed\]\]"
    ):
        open_dataset(data)


@pytest.mark.parametrize(
    ("train", "val"), [("scenes:64:0", "scenes:8"), ("scenes:9:3", "scenes:2:3")]
)
def test_the_same_scenes_for_both_are_refused(train, val):
    with pytest.raises(
        InputError,
        match=r"both have seed \d, so they are the same; give one another seed",
    ):
        check_distinct(train, val)


def test_the_remedy_is_one():
    with pytest.raises(InputError, match=r"as in scenes:8:1$"):
        check_distinct("scenes:64:0", "scenes:8")
    check_distinct("scenes:64:0", "scenes:8:1")


def test_the_same_file_for_both_is_allowed_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"a\.json: is used for training and for validation"):
        check_distinct(str(tmp_path / "a.json"), str(tmp_path / "x" / ".." / "a.json"))


def test_distinct_data_are_silent(recwarn):
    check_distinct("a.json", "b.json")
    check_distinct("a.json", "scenes:3")
    check_distinct("scenes:3", "a.json")
    assert not recwarn.list
