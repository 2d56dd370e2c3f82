"""The corrected copy: what is written, under which names, and when nothing is."""

import json

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.checks.check import check
from fcis.data.checks.repair import write_copy
from fcis.data.formats.coco import raw_coco, read_coco

SQUARE = [[2, 3, 12, 3, 12, 13, 2, 13]]
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def write(folder, names, **changes):
    """Write an annotation file with a square in each of the images."""
    images = [
        {"id": i, "file_name": name, "height": 20, "width": 30, "licence": i}
        for i, name in enumerate(names)
    ]
    entries = [
        {"id": i + 1, "image_id": i, "category_id": 1, "segmentation": SQUARE, "note": "mine"}
        for i in range(len(names))
    ]
    document = {"images": images, "annotations": entries, "info": {"year": 2017},
                "categories": [{"id": 1, "name": "cell"}], **changes}  # fmt: skip
    path = folder / "in" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    return path, document


def copy_of(path, out):
    raw = raw_coco(path)
    assert write_copy(raw, check(raw), out) == out / "annotations.json"
    return json.loads((out / "annotations.json").read_text())


def save(path, exif=None, pixels=PIXELS, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"exif": exif} if exif else {}), **options)
    return path.read_bytes()


def test_a_good_dataset_is_copied_as_it_is(tmp_path):
    path, document = write(tmp_path, ["a.jpg", "b/a.jpg"])
    folder = path.parent / "images"
    before = [save(folder / "a.jpg"), save(folder / "b" / "a.jpg", quality=50)]
    assert copy_of(path, tmp_path / "out") == document
    images = tmp_path / "out" / "images"
    assert [(images / n).read_bytes() for n in ("a.jpg", "b/a.jpg")] == before
    assert (tmp_path / "out" / "changes.txt").read_text() == "\n"
    assert len(read_coco(tmp_path / "out" / "annotations.json")) == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "annotations.json", "changes.txt", "images"
    ]  # fmt: skip


def test_names_stay_below_the_folder_and_apart(tmp_path):
    path, _ = write(tmp_path, ["../a.png", "a.png", "b\\c.png", "A.png"])
    for name in ("../a.png", "a.png", "b/c.png", "A.png"):
        save(path.parent / "images" / name)
    document = copy_of(path, tmp_path / "out")
    names = [entry["file_name"] for entry in document["images"]]
    assert names == ["a.png", "a~2.png", "b/c.png", "A~3.png"]
    assert all((tmp_path / "out" / "images" / name).is_file() for name in names)
    assert len(read_coco(tmp_path / "out" / "annotations.json")) == 4


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_rotation_is_taken_away_without_loss(tmp_path, mode):
    exif = Image.Exif()
    exif[0x0112] = 8
    path, _ = write(tmp_path, ["a.jpg", "a.png"])
    file = path.parent / "images" / "a.jpg"
    file.parent.mkdir()
    Image.fromarray(PIXELS).convert(mode).save(file, exif=exif)
    save(path.parent / "images" / "a.png")
    document = copy_of(path, tmp_path / "out")
    assert [entry["file_name"] for entry in document["images"]] == ["a.png", "a~2.png"]
    with Image.open(file) as old, Image.open(tmp_path / "out" / "images" / "a.png") as new:
        assert new.format == "PNG" and not new.getexif()
        np.testing.assert_array_equal(
            np.asarray(old.convert("RGB")), np.asarray(new.convert("RGB"))
        )
    record = read_coco(tmp_path / "out" / "annotations.json").images[0]
    assert record.read().shape == (20, 30, 3)
    lines = (tmp_path / "out" / "changes.txt").read_text().splitlines()
    assert lines == [
        "error rotated: image 0 (a.jpg) is 20 x 30 (width x height), but the dataset says 30 x 20, "
        "which is its size before the EXIF rotation (8): saved without the rotation, as it was "
        "annotated"
    ]


def test_an_image_that_was_resized_keeps_its_pixels(tmp_path):
    path, document = write(tmp_path, ["a.png"])
    save(path.parent / "images" / "a.png", pixels=PIXELS.repeat(2, axis=0).repeat(2, axis=1))
    result = copy_of(path, tmp_path / "out")
    assert result["images"] == [{**document["images"][0], "height": 40, "width": 60}]
    assert result["annotations"][0]["segmentation"] == [[4, 6, 24, 6, 24, 26, 4, 26]]
    (annotation,) = read_coco(tmp_path / "out" / "annotations.json").images[0].annotations
    assert annotation.box == (4, 6, 24, 26) and annotation.area == 400


def test_only_a_new_or_empty_folder_is_written(tmp_path):
    path, _ = write(tmp_path, ["a.png"])
    save(path.parent / "images" / "a.png")
    out = tmp_path / "out"
    out.mkdir()
    copy_of(path, out)
    before = (out / "annotations.json").read_bytes()
    for target in (out, path):
        with pytest.raises(InputError) as error:
            copy_of(path, target)
        assert str(error.value) == f"--fix {target}: is there already; name a new or empty folder"
    assert (out / "annotations.json").read_bytes() == before


def test_nothing_left(tmp_path):
    path, _ = write(tmp_path, ["a.png"])
    with pytest.raises(InputError) as error:
        copy_of(path, tmp_path / "out")
    assert str(error.value) == f"{path}: no annotation is left to correct; nothing was written"
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    path, _ = write(tmp_path, ["a.png"])
    save(path.parent / "images" / "a.png")
    with pytest.raises(InputError, match=r"--fix .*x\.json/out: cannot be written \(Not a dir"):
        copy_of(path, path / "out")
