"""What can be said of a dataset without decoding anything."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFile

from fcis.data import dataset as records
from fcis.data.checks import faults, image_facts
from fcis.data.checks.short_check import check_apart, check_categories_used, check_files
from fcis.data.dataset import Category, Dataset, FileSource, ImageRecord
from fcis.data.scenes.shape_scenes import scene_dataset


@pytest.fixture
def no_pixels(monkeypatch):
    """Let decoding fail."""

    def refuse(*arguments, **options):
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(records, "read_as", refuse)
    monkeypatch.setattr(records, "read_image", refuse)
    monkeypatch.setattr(image_facts, "read_image", refuse)
    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)


def dataset_of(*paths, height=20, width=30):
    images = tuple(
        ImageRecord(id=i, file_name=path.name, height=height, width=width,
                    source=FileSource(path=path))
        for i, path in enumerate(paths)
    )  # fmt: skip
    return Dataset(name="x", categories=(Category(id=4, name="cell"),), images=images)


def save(path, orientation=None):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(path, exif=exif)
    return path


def test_files(tmp_path, request):
    good, turned = save(tmp_path / "a.png"), save(tmp_path / "b.jpg", 6)
    bad = tmp_path / "c.png"
    bad.write_bytes(b"x")
    request.getfixturevalue("no_pixels")
    dataset = dataset_of(good, turned, bad, tmp_path / "d.png")
    found = [(f.kind, str(f)) for f in check_files(dataset)]
    assert found[0] == (
        faults.ROTATED,
        "image 1 (b.jpg) is 20 x 30 (width x height), but the dataset says 30 x 20",
    )
    assert found[1][0] is faults.UNREADABLE_FILE
    assert found[1][1].startswith("image 2 (c.png) cannot be read: not an image that can be read")
    assert found[2] == (faults.MISSING_FILE, f"image 3 (d.png) has no file {tmp_path / 'd.png'}")
    assert len(found) == 3
    ((kind, text),) = [(f.kind, str(f)) for f in check_files(dataset_of(good, width=31))]
    assert kind is faults.WRONG_SIZE
    assert text == "image 0 (a.png) is 30 x 20 (width x height), but the dataset says 31 x 20"


def test_scenes_have_no_files():
    scenes = scene_dataset(2, 1)
    assert list(check_files(scenes)) == list(check_apart(scenes, scenes)) == []


def test_unused_categories():
    scenes = scene_dataset(2, 1)
    empty = replace(scenes, images=tuple(replace(r, annotations=()) for r in scenes.images))
    found = list(check_categories_used(empty))
    assert len(found) == 8 and {f.kind for f in found} == {faults.UNUSED_CATEGORY}
    assert str(found[0]) == "category 1 (disc) has no object"
    used = {a.category_id for r in scenes.images for a in r.annotations}
    assert len(list(check_categories_used(scenes))) == 8 - len(used)


def test_one_file_in_both(tmp_path):
    a, b = save(tmp_path / "a.png"), save(tmp_path / "b.png")
    link = tmp_path / "folder" / ".." / "b.png"
    (tmp_path / "folder").mkdir()
    (finding,) = check_apart(dataset_of(a, b), dataset_of(link))
    assert finding.kind is faults.IN_TRAIN_AND_VAL
    assert str(finding) == "image 1 (b.png) is in the validation set too, as b.png"
    assert list(check_apart(dataset_of(a), dataset_of(b))) == []
    assert list(check_apart(dataset_of(a), scene_dataset(1, 1))) == []
