"""Datasets as COCO files hold them, read with as few demands as possible."""

import json

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.data.checks.raw import file_name, from_dataset, open_raw
from fcis.data.dataset import Annotation, Category, Dataset, ImageRecord, Polygons
from fcis.data.formats.coco import read_coco
from fcis.data.scenes.shape_scenes import SceneSource, scene_dataset

ENTRIES = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [5], "categories": [None]}


def write(path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**ENTRIES, **changes}))
    return path


def test_entries_may_be_anything(tmp_path):
    images = [{"id": 1, "file_name": "b\\a.png"}, 7, {"id": 2}, {"file_name": 3}]
    raw = open_raw(str(write(tmp_path / "x.json", images=images, info="kept")))
    assert raw.images == images and raw.annotations == [5] and raw.categories == [None]
    assert raw.document["info"] == "kept"
    assert [s and s.path for s in raw.sources] == [tmp_path / "images/b/a.png", None, None, None]


@pytest.mark.parametrize("folder", ["images", "../train2017", "../images/train2017", "."])
def test_images_are_looked_for_where_the_reader_does(tmp_path, folder):
    path = write(tmp_path / "annotations" / "instances_train2017.json")
    image = path.parent / folder / "a.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"")
    (source,) = open_raw(str(path)).sources
    assert source.path.resolve() == image.resolve()


def test_a_named_folder(tmp_path):
    path = write(tmp_path / "x.json")
    assert open_raw(str(path), tmp_path).sources[0].path == tmp_path / "a.png"
    with pytest.raises(InputError, match=r"none: the folder of the images of .* does not exist"):
        open_raw(str(path), tmp_path / "none")


@pytest.mark.parametrize("value", [None, [], {}])
@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_lists_are_needed(tmp_path, key, value):
    path = write(tmp_path / "x.json", **{key: value})
    with pytest.raises(InputError) as error:
        open_raw(str(path))
    assert str(error.value) == (
        f"{path}: {key!r} is not a list with entries (the file has 'images', 'annotations', "
        "'categories'); export the annotations in COCO format"
    )


def test_a_dataset_comes_out_as_it_would_be_read_again(tmp_path):
    dataset = scene_dataset(2, 3, size=(64, 96))
    raw = from_dataset(dataset, "mine")
    assert raw.name == "mine" and raw.sources[0] == SceneSource(seed=3, index=0, size=(64, 96))
    path = tmp_path / "x.json"
    path.write_text(json.dumps(raw.document))
    for record in dataset.images:
        (tmp_path / record.file_name).write_bytes(b"x")
    again = read_coco(path)
    assert again.categories == dataset.categories
    for a, b in zip(again.images, dataset.images, strict=True):
        assert a.annotations == b.annotations


def test_outlines_stay_outlines():
    part = np.array([1.0, 1, 9, 1, 9, 9])
    annotation = Annotation(
        id="a", category_id=4, box=(1.0, 1.0, 9.0, 9.0), area=32.0, is_crowd=True,
        mask=Polygons(parts=(part,), height=20, width=30),
    )  # fmt: skip
    source = SceneSource(seed=0, index=0, size=(64, 64))
    record = ImageRecord(
        id=1, file_name="a", height=20, width=30, source=source, annotations=(annotation,)
    )
    dataset = Dataset(name="d", categories=(Category(id=4, name="x"),), images=(record,))
    assert from_dataset(dataset, "d").annotations == [
        {"id": "a", "image_id": 1, "category_id": 4, "bbox": [1, 1, 8, 8], "area": 32.0,
         "iscrowd": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    ]  # fmt: skip


def test_other_data_go_through_their_readers():
    assert len(open_raw("scenes:3:1").images) == 3
    with pytest.raises(InputError, match="scenes:0"):
        open_raw("scenes:0")


def test_file_names():
    assert [file_name(v) for v in ("a\\b.png", "", 3, None)] == ["a/b.png", None, None, None]
