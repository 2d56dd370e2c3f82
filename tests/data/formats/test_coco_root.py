"""Folders laid out like COCO's downloads -> datasets."""

import json

import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.checks.check import refuse
from fcis.data.formats.coco_root import coco_splits, raw_coco_root


def read_coco_root(*arguments, **options):
    return refuse(raw_coco_root(*arguments, **options))


SQUARE = [[1, 1, 5, 1, 5, 4, 1, 4]]


def write(root, split, image_ids, folder=None, name="instances_{}.json", categories=("cat",)):
    """Write a split whose images lie in a folder, with an object in each."""
    images = []
    for id in image_ids:
        path = root / (folder or split) / f"{id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)
        images.append({"id": id, "file_name": path.name, "height": 6, "width": 8})
    content = {
        "images": images,
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, start=5)],
        "annotations": [
            {"id": id, "image_id": id, "category_id": 5, "bbox": [1, 1, 4, 3], "area": 12,
             "segmentation": SQUARE}
            for id in image_ids
        ],
    }  # fmt: skip
    path = root / "annotations" / name.format(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def ids(data):
    return [image.id for image in data.images]


def test_real_images(shared):
    root = shared / "data" / "coco-mini"
    assert {"train2017", "val2017"} <= set(coco_splits(root))
    data = read_coco_root(root, "val2017")
    assert data.name == "coco-mini:val2017" and len(data.categories) > 1
    record = data.images[0]
    assert record.source.path.parent.name == "val2017"
    assert record.read().shape == (record.height, record.width, 3)


@pytest.mark.parametrize("folder", ["{}", "images/{}"])
def test_the_images_of_a_split(tmp_path, folder):
    write(tmp_path, "train2017", [1, 2], folder.format("train2017"))
    write(tmp_path, "val2017", [3], folder.format("val2017"))
    assert list(coco_splits(tmp_path)) == ["train2017", "val2017"]
    data = read_coco_root(tmp_path, "val2017")
    assert ids(data) == [3] and data.images[0].read().shape == (6, 8, 3)
    assert [a.category_id for a in data.images[0].annotations] == [5]
    with pytest.raises(InputError, match=r"has the splits train2017, val2017; write .*:val2017"):
        read_coco_root(tmp_path, None)
    with pytest.raises(InputError, match="has no split 'test', it has the splits train2017, val2"):
        read_coco_root(tmp_path, "test")


def test_the_only_split_goes_without_saying(tmp_path):
    write(tmp_path, "train2017", [1, 2])
    assert ids(read_coco_root(tmp_path, None)) == [1, 2]


def test_the_splits_of_2014(tmp_path):
    write(tmp_path, "train2014", [1, 2])
    write(tmp_path, "valminusminival2014", [3], "val2014")
    write(tmp_path, "minival2014", [4], "val2014")
    assert ids(read_coco_root(tmp_path, "minival2014")) == [4]
    both = read_coco_root(tmp_path, "trainval35k")
    assert ids(both) == [1, 2, 3] and both.name == f"{tmp_path.name}:trainval35k"
    assert [image.source.path.parent.name for image in both.images] == [
        "train2014", "train2014", "val2014",
    ]  # fmt: skip
    # a file of that name is what it says
    write(tmp_path, "trainval35k", [2], "train2014", name="instances_{}.json")
    assert ids(read_coco_root(tmp_path, "trainval35k", tmp_path / "train2014")) == [2]


def test_images_without_annotations(tmp_path):
    path = write(tmp_path, "test-dev2015", [1], "test2015", name="image_info_{}.json")
    content = json.loads(path.read_text())
    del content["annotations"]
    path.write_text(json.dumps(content))
    data = read_coco_root(tmp_path, "test-dev2015", require_annotations=False)
    assert ids(data) == [1] and data.images[0].annotations == ()
    with pytest.raises(InputError, match="no 'annotations' in it"):
        read_coco_root(tmp_path, "test-dev2015")
    write(tmp_path, "test-dev2015", [1], "test2015")  # and with them
    assert len(read_coco_root(tmp_path, "test-dev2015").images[0].annotations) == 1


def test_other_tasks_are_no_splits(tmp_path):
    write(tmp_path, "val2017", [1])
    write(tmp_path, "val2017", [1], name="person_keypoints_{}.json")
    write(tmp_path, "val2017", [1], name="captions_{}.json")
    write(tmp_path, "mine", [2], name="{}.json")
    assert list(coco_splits(tmp_path)) == ["val2017"]


def test_annotations_beside_the_images(tmp_path):
    path = write(tmp_path, "valid", [1])
    path.rename(tmp_path / "valid" / "_annotations.coco.json")
    assert ids(read_coco_root(tmp_path, "valid")) == [1]


def test_given_images(tmp_path):
    write(tmp_path / "set", "train2014", [1], "../else/train2014")
    write(tmp_path / "set", "valminusminival2014", [2], "../else/val2014")
    both = read_coco_root(tmp_path / "set", "trainval35k", tmp_path / "else")
    assert both.images[1].source.path == tmp_path / "else" / "val2014" / "2.png"


def test_no_root(tmp_path):
    with pytest.raises(InputError, match=r"no annotations/instances_\*\.json in it; name a COCO"):
        read_coco_root(tmp_path, None)


def test_files_that_do_not_belong_together(tmp_path):
    write(tmp_path, "train2014", [1, 2])
    write(tmp_path, "valminusminival2014", [2], "val2014")
    with pytest.raises(
        InputError, match=r"1 of its images are in .*train2014, too, the first is 2"
    ):
        read_coco_root(tmp_path, "trainval35k")
    write(tmp_path, "valminusminival2014", [3], "val2014", categories=("dog",))
    with pytest.raises(InputError, match=r"its categories are not those of instances_train2014; "):
        read_coco_root(tmp_path, "trainval35k")
