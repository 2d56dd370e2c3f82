"""`fcis data convert`: what it writes, says and refuses."""

import json

import pytest

from fcis.data.source import open_dataset


@pytest.mark.parametrize(
    ("to", "opens"),
    [
        ("coco", "out/annotations.json"),
        ("yolo", "out/data.yaml"),
        ("labelme", "out"),
        ("masks", "out"),
    ],
)
def test_every_format(fcis, tmp_path, to, opens):
    code, out, err = fcis("data", "convert", "scenes:2:3", tmp_path / "out", "--to", to)
    expected = open_dataset("scenes:2:3")
    count = sum(len(image.annotations) for image in expected.images)
    assert (code, err) == (0, "")
    assert out == f"2 images, {count} objects: {tmp_path / opens}\n"
    data = open_dataset(str(tmp_path / opens))
    found = [sorted(a.rle["counts"] for a in image.annotations) for image in data.images]
    assert found == [sorted(a.rle["counts"] for a in i.annotations) for i in expected.images]


def test_crowds(fcis, annotate, tmp_path):
    def crowd(data):
        data["annotations"][0] |= {"iscrowd": 1}

    path = annotate(tmp_path / "set", crowd)
    code, out, _ = fcis("data", "convert", path, tmp_path / "yolo", "--to", "yolo")
    assert code == 0
    assert "2 images, 1 objects: " in out
    assert "\n1 crowd regions are left out: the format yolo cannot mark them\n" in out
    code, out, _ = fcis("data", "convert", path, tmp_path / "labelme", "--to", "labelme")
    assert code == 0 and "2 images, 2 objects: " in out and "left out" not in out


def test_images_from_elsewhere(fcis, annotate, tmp_path):
    path = annotate(tmp_path / "set")
    (tmp_path / "set" / "images").rename(tmp_path / "pictures")
    arguments = ("data", "convert", path, tmp_path / "out", "--to", "coco")
    assert fcis(*arguments)[0] == 2
    assert fcis(*arguments, "--images", tmp_path / "pictures")[0] == 0
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [image["id"] for image in content["images"]] == [7, 9]


def test_refused(refused, annotate, tmp_path):
    assert "the following arguments are required: --to" in refused("data", "convert", "scenes", "x")
    assert "invalid choice: 'voc'" in refused("data", "convert", "scenes", "x", "--to", "voc")
    path = annotate(tmp_path / "set")
    line = refused("data", "convert", path, tmp_path / "set", "--to", "masks")
    assert "set: is not empty; name a new folder" in line
    line = refused("data", "convert", tmp_path / "none", tmp_path / "out", "--to", "masks")
    assert "none: no such file or folder; give a COCO .json" in line
