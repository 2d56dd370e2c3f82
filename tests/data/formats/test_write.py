"""Datasets -> folders in the formats with free classes, from one to the next, and back."""

from dataclasses import replace

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.data.dataset import Category, Dataset
from fcis.data.formats.write import FORMATS, write_dataset
from fcis.data.source import open_dataset


def convert(dataset, out, to):
    return open_dataset(str(write_dataset(dataset, out, to).path))


@pytest.mark.parametrize("second", FORMATS)
@pytest.mark.parametrize("first", FORMATS)
def test_masks_survive_to_the_pixel(difficult, without_crowds, objects, tmp_path, first, second):
    between = convert(difficult, tmp_path / "1", first)
    data = convert(between, tmp_path / "2", second)
    kept = difficult if {first, second} <= {"coco", "labelme"} else without_crowds(difficult)
    assert sorted(objects(data)) == sorted(objects(kept))
    assert data.class_names == difficult.class_names
    ids = {image.id: image for image in data.images}
    if {first, second} == {"coco"}:
        assert set(ids) == {17, 4} and list(data.label_of) == [3, 7, 90]
    else:
        assert set(ids) in ({"sub/a b", "c"}, {17, 4}), second


def test_images_survive(difficult, tmp_path):
    for to in FORMATS:
        data = convert(difficult, tmp_path / to, to)
        found = {image.file_name.rpartition("/")[2]: image for image in data.images}
        for image in difficult.images:
            name = image.file_name.rpartition("/")[2]
            np.testing.assert_array_equal(found[name].read(), image.read())


@pytest.mark.parametrize("to", FORMATS)
def test_real_images(shared, tmp_path, to):
    """Outlines of people, with crowds; nuclei by the hundred."""
    for name, count in (("coco-mini:val2017", 6), ("nuclei/val.json", 3)):
        whole = open_dataset(str(shared / "data" / name))
        part = replace(whole, images=whole.images[:count])
        written = write_dataset(part, tmp_path / name.partition("/")[0], to)
        data = open_dataset(str(written.path))
        assert len(data) == count
        by_name = {image.file_name.rpartition("/")[2]: image for image in data.images}
        for before in part.images:
            after = by_name[before.file_name.rpartition("/")[2]]
            kept = [a for a in before.annotations if not a.is_crowd or to in ("coco", "labelme")]
            expected = sorted((part.label_of[a.category_id], a.rle["counts"]) for a in kept)
            found = sorted(
                (data.label_of[a.category_id], a.rle["counts"]) for a in after.annotations
            )
            assert found == expected


def test_what_is_said(difficult, tmp_path):
    written = {to: write_dataset(difficult, tmp_path / to, to) for to in FORMATS}
    assert {to: (w.objects, w.crowds) for to, w in written.items()} == {
        "coco": (5, 0),
        "labelme": (5, 0),
        "yolo": (4, 1),
        "masks": (4, 1),
    }
    assert written["coco"].path == tmp_path / "coco" / "annotations.json"
    assert written["yolo"].path == tmp_path / "yolo" / "data.yaml"
    # the folder does, too
    assert len(open_dataset(str(tmp_path / "coco"))) == len(open_dataset(str(tmp_path / "yolo")))


@pytest.mark.parametrize("to", FORMATS)
def test_the_folder_must_be_empty(difficult, tmp_path, to):
    (tmp_path / "out").mkdir()
    write_dataset(difficult, tmp_path / "out", to)
    with pytest.raises(InputError, match="out: is not empty; name a new folder, so that nothing"):
        write_dataset(difficult, tmp_path / "out", to)


def test_a_folder_that_cannot_be_made(difficult, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot be written \(.*\); make room or choose"):
        write_dataset(difficult, tmp_path / "file", "coco")
    with pytest.raises(
        InputError, match=r"file.out: cannot be written \(.*\); make room or choose"
    ):
        write_dataset(difficult, tmp_path / "file" / "out", "coco")


def test_two_classes_of_one_name(tmp_path, objects, scenes):
    two = tuple(Category(id=n, name="cell") for n in range(1, 9))
    data = Dataset(name="x", categories=two, images=scenes().images)
    with pytest.raises(
        InputError, match="x: several classes are called 'cell', which LabelMe could"
    ):
        write_dataset(data, tmp_path / "labelme", "labelme")
    for to in ("coco", "yolo", "masks"):
        assert objects(convert(data, tmp_path / to, to)) == objects(data)


def test_names_that_are_no_text(difficult, tmp_path):
    """Files whose names are not UTF-8 come with such characters."""
    first, *_ = difficult.images
    data = replace(difficult, images=(replace(first, file_name="caf\udce9.png"),))
    with pytest.raises(
        InputError, match=r"caf\\udce9.* cannot be written as UTF-8; rename the file"
    ):
        write_dataset(data, tmp_path / "out", "labelme")
