"""COCO files: the real ones, the layouts of folders, and every way to be wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from fcis.core.errors import InputError
from fcis.core.masks import mask_from_rle, rle_area, rle_box
from fcis.data.dataset import FileSource, Polygons
from fcis.data.formats.coco import read_coco

# pycocotools with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

JSON = dict[str, object]
SQUARE = [[1, 1, 4, 1, 4, 3, 1, 3]]


def annotation(id: int, **changes) -> JSON:
    entry = {"id": id, "image_id": 10, "category_id": 5, "bbox": [1, 1, 3, 2], "area": 6}
    return {**entry, "iscrowd": 0, "segmentation": SQUARE, **changes}


def document() -> JSON:
    """Two images of 8 x 6 (width x height), categories out of order, one of them unused."""
    return {
        "images": [
            {"id": 10, "file_name": "x.png", "height": 6, "width": 8},
            {"id": "b/y", "file_name": "sub/y.png", "height": 6, "width": 8},
        ],
        "annotations": [annotation(3), annotation(1, category_id=2, iscrowd=1)],
        "categories": [{"id": 5, "name": "cat"}, {"id": 2, "name": "ape"}, {"id": 9, "name": "z"}],
    }


def write(path: Path, content: object, images: Path | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    if images is not None:
        (images / "sub").mkdir(parents=True, exist_ok=True)
        for name in ("x.png", "sub/y.png"):
            Image.new("RGB", (8, 6), (1, 2, 3)).save(images / name)
    return path


def simple(tmp_path: Path, change: Callable[[JSON], object] = lambda d: None) -> Path:
    content = document()
    change(content)
    return write(tmp_path / "a.json", content, tmp_path)


# ---- real files


@pytest.mark.parametrize(
    ("file", "images", "objects", "crowds", "categories"),
    [
        ("coco-mini/annotations/instances_train2017.json", 50, 470, 5, 80),
        ("coco-mini/annotations/instances_val2017.json", 50, 382, 5, 80),
        ("nuclei/train.json", 435, 18468, 0, 1),
        ("nuclei/val.json", 53, 2133, 0, 1),
    ],
)
def test_real_files(shared, recwarn, file, images, objects, crowds, categories):
    data = read_coco(shared / "data" / file)
    annotations = [a for image in data.images for a in image.annotations]
    assert (len(data), len(annotations)) == (images, objects)
    assert (sum(a.is_crowd for a in annotations), len(data.categories)) == (crowds, categories)
    assert data.name == Path(file).stem
    assert not recwarn.list
    for image in data.images[:3]:
        assert image.read().shape == (image.height, image.width, 3)
    for image in data.images:
        for a in image.annotations:
            x0, y0, x1, y1 = a.box
            assert 0 <= x0 < x1 <= image.width and 0 <= y0 < y1 <= image.height and a.area > 0


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_real_masks_equal_pycocotools(shared, split):
    path = shared / "data/coco-mini/annotations" / f"instances_{split}.json"
    coco = COCO(path)
    for image in read_coco(path).images:
        truth = {a["id"]: a for a in coco.loadAnns(coco.getAnnIds(imgIds=[image.id]))}
        assert list(truth) == [a.id for a in image.annotations]
        for a in image.annotations:
            np.testing.assert_array_equal(mask_from_rle(a.rle), coco.annToMask(truth[a.id]))
            x, y, w, h = truth[a.id]["bbox"]
            np.testing.assert_allclose(a.box, (x, y, x + w, y + h))
            assert (a.area, a.category_id) == (truth[a.id]["area"], truth[a.id]["category_id"])


def test_real_dictionary_goes_round(shared, tmp_path):
    data = read_coco(shared / "data/coco-mini/annotations/instances_val2017.json")
    path = tmp_path / "again.json"
    path.write_text(json.dumps(data.to_coco()))
    again = read_coco(path, shared / "data/coco-mini/val2017")
    assert again.categories == data.categories
    for image, copy in zip(data.images, again.images, strict=True):
        assert (image.id, image.file_name) == (copy.id, copy.file_name)
        for a, b in zip(image.annotations, copy.annotations, strict=True):
            assert a.rle == b.rle
            np.testing.assert_allclose(a.box, b.box)


# ---- what is read


def test_fields(tmp_path):
    data = read_coco(simple(tmp_path))
    assert [(c.id, c.name) for c in data.categories] == [(2, "ape"), (5, "cat"), (9, "z")]
    assert data.label_of == {2: 1, 5: 2, 9: 3}
    first, second = data.images
    assert (first.id, first.file_name, first.height, first.width) == (10, "x.png", 6, 8)
    assert (second.id, second.annotations) == ("b/y", ())
    assert first.source == FileSource(path=tmp_path / "x.png")
    assert second.read().shape == (6, 8, 3)
    a, b = first.annotations
    assert (a.id, a.category_id, a.box, a.area, a.is_crowd) == (3, 5, (1, 1, 4, 3), 6, False)
    assert (b.id, b.category_id, b.is_crowd) == (1, 2, True)
    assert isinstance(a.mask, Polygons)
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(mask_from_rle(a.rle), expected)


def test_box_area_and_crowd_may_be_missing(tmp_path):
    def change(d):
        for key in ("bbox", "area", "iscrowd"):
            del d["annotations"][0][key]
        d["annotations"][1]["area"] = 0
        d["annotations"][1]["segmentation"] = {"size": [6, 8], "counts": [6, 2, 40]}

    a, b = read_coco(simple(tmp_path, change)).images[0].annotations
    assert (a.box, a.area, a.is_crowd) == (rle_box(a.rle), rle_area(a.rle), False)
    assert (a.box, a.area, b.area) == ((1, 1, 4, 3), 6, 2)


def test_text_encodings_and_marks_of_byte_order(tmp_path):
    path = simple(tmp_path, lambda d: d["categories"][0].update(name="Käfer"))
    path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False), "utf-8-sig")
    assert "Käfer" in read_coco(path).class_names


def test_without_annotations(tmp_path):
    path = write(tmp_path / "a.json", {"images": document()["images"]}, tmp_path)
    data = read_coco(path, require_annotations=False)
    assert (len(data), data.categories) == (2, ())
    path = simple(tmp_path, lambda d: d.update(annotations=[]))
    assert len(read_coco(path, require_annotations=False).categories) == 3
    # what is there is read
    assert len(read_coco(simple(tmp_path), require_annotations=False).images[0].annotations) == 2


# ---- where the images are


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("a.json", "images"),
        ("a.json", "."),
        ("train.json", "../train"),
        ("annotations/instances_val2017.json", "../val2017"),
        ("annotations/instances_val2017.json", "../images/val2017"),
    ],
)
def test_images_are_found_beside_the_file(tmp_path, monkeypatch, file, images):
    root = tmp_path / "root"
    path = root / file
    write(path, document(), path.parent / images)
    assert read_coco(path).images[1].read().shape == (6, 8, 3)
    monkeypatch.chdir(path.parent)
    assert read_coco(path.name).images[1].read().shape == (6, 8, 3)


def test_given_folder_wins(tmp_path):
    path = simple(tmp_path)
    write(path, document(), tmp_path / "other")
    assert read_coco(path, tmp_path / "other").images[0].source == FileSource(
        path=tmp_path / "other" / "x.png"
    )


def test_backslashes_of_windows(tmp_path):
    path = simple(tmp_path, lambda d: d["images"][1].update(file_name="sub\\y.png"))
    data = read_coco(path)
    assert data.images[1].read().shape == (6, 8, 3)
    assert data.images[1].file_name == "sub\\y.png"


def refused(path: Path, message: str, **options) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_coco(path, **options)
    assert "\n" not in str(caught.value)


def test_missing_images(tmp_path):
    path = simple(tmp_path)
    (tmp_path / "sub" / "y.png").unlink()
    refused(path, r"a\.json: 1 of 2 image files are missing, the first is sub/y\.png \(looked in")
    (tmp_path / "x.png").unlink()
    refused(
        path,
        r"2 of 2 image files are missing, the first is x\.png \(looked in .*images, .*"
        + re.escape(str(tmp_path))
        + r"\); name the folder with --images DIR",
    )
    refused(
        path, "none: the folder of the images of .* does not exist", images_dir=tmp_path / "none"
    )


def test_another_size_than_stated_is_found_when_reading(tmp_path):
    swapped = {"height": 8, "width": 6}
    data = read_coco(
        simple(tmp_path, lambda d: (d["images"][1].update(swapped), d["images"][1].update(id=11)))
    )
    with pytest.raises(InputError, match=r"y\.png: the image is 8 x 6 .* says 6 x 8 .*EXIF"):
        data.images[1].read()


# ---- files that are no annotation files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.json: the file is empty \(0 bytes\); copy or export it again"),
        (b"{'images': []}", r"a\.json: not valid JSON \(.*line 1.*\); copy or export it again"),
        (b'{"images": [', r"not valid JSON"),
        (b"\xff\xfe\xfa\x00\x00", r"not valid JSON"),
        (b"[" * 100_000, r"not valid JSON"),
        (b"[]", r"expected a COCO dictionary .*, got a list; a list of results is no annotation"),
        (b"3", r"got a int"),
        (b"{}", r"no 'images' in it \(it has nothing\); export the annotations in COCO format"),
        (b'{"a": 1, "b": 2}', r"no 'images' in it \(it has 'a', 'b'\)"),
        (b'{"images": {}}', r"'images' is not a list of dictionaries; export it again"),
        (b'{"images": [1]}', r"'images' is not a list of dictionaries"),
        (b'{"images": []}', r"'images' is empty; name a file with images"),
    ],
)
def test_no_annotation_file(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    refused(path, message)


def test_no_file(tmp_path):
    refused(tmp_path / "a.json", r"a\.json: no such annotation file; check the spelling")
    (tmp_path / "b.json").mkdir()
    refused(tmp_path / "b.json", r"b\.json: the annotation file cannot be read \(.*\); name a COCO")


@pytest.mark.parametrize("key", ["annotations", "categories"])
def test_required_lists(tmp_path, key):
    refused(simple(tmp_path, lambda d: d.pop(key)), rf"no '{key}' in it \(it has 'images', ")
    refused(simple(tmp_path, lambda d: d.update({key: []})), rf"'{key}' is empty; name a file with")


# ---- files that contradict themselves


@pytest.mark.parametrize(
    ("list_name", "index", "changes", "message"),
    [
        ("images", 1, {"id": 10}, r"image id 10 occurs more than once; give each its own"),
        ("images", 1, {"id": None}, r"image number 2 has the id None; use a whole number or text"),
        ("images", 1, {"id": True}, r"image number 2 has the id True"),
        ("images", 1, {"file_name": ""}, r"image 'b/y' has no 'file_name'; add it"),
        ("images", 1, {"height": 0}, r"image 'b/y' \(sub/y.png\) needs a positive .*got 0 and 8"),
        ("images", 1, {"width": "8"}, r"needs a positive 'height' and 'width', got 6 and '8'"),
        ("images", 1, {"height": -6, "width": -8}, r"needs a positive"),
        ("images", 1, {"height": 10**9, "width": 10**9}, r"needs a positive"),
        ("categories", 1, {"id": 5}, r"category id 5 occurs more than once"),
        ("categories", 1, {"id": "2"}, r"category id '2' is text; use whole numbers"),
        ("categories", 1, {"name": None}, r"category 2 has no 'name'; add it"),
        ("annotations", 1, {"id": 3}, r"annotation id 3 occurs more than once"),
        ("annotations", 1, {"id": 1.5}, r"annotation number 2 has the id 1\.5"),
        (
            "annotations",
            1,
            {"image_id": 77},
            r"annotation 1 refers to image 77, which is not among the images",
        ),
        ("annotations", 1, {"image_id": [1]}, r"annotation 1 refers to image \[1\], which"),
        (
            "annotations",
            1,
            {"category_id": 77},
            r"1 \(image 10, x\.png\) refers to category 77, which is",
        ),
        ("annotations", 1, {"category_id": None}, r"refers to category None"),
        ("annotations", 1, {"iscrowd": 2}, r"annotation 1 .* has 'iscrowd' 2; use 0 or 1"),
        (
            "annotations",
            1,
            {"bbox": [5, 5, 9, 9]},
            r"1 \(image 10, x\.png\) has the box .* outside the image of 8 x 6",
        ),
        (
            "annotations",
            1,
            {"bbox": [1, 1, 0, 2]},
            r"annotation 1 .*width or height is not positive",
        ),
        ("annotations", 1, {"area": -1}, r"annotation 1 .* has the area -1"),
        ("annotations", 1, {"segmentation": []}, r"annotation 1 .* has no 'segmentation'"),
        ("annotations", 1, {"segmentation": [[1, 2, 3, 4]]}, r"1 .* polygon of 2 points"),
        ("annotations", 1, {"segmentation": [[1, 1, 5, 1, 3, 1]]}, r"1 .* without a pixel"),
        (
            "annotations",
            1,
            {"segmentation": {"size": [6, 8], "counts": [48]}},
            r"mask without a pixel",
        ),
        (
            "annotations",
            1,
            {"segmentation": {"size": [8, 6], "counts": [9, 39]}},
            r"size \[8, 6\], but the",
        ),
    ],
)
def test_contradictions(tmp_path, list_name, index, changes, message):
    path = simple(tmp_path, lambda d: d[list_name][index].update(changes))
    refused(path, rf"a\.json: .*{message}")


def test_the_number_of_problems(tmp_path):
    def two(d):
        for a in d["annotations"]:
            a["category_id"] = 77

    refused(
        simple(tmp_path, two),
        r"annotation 3 .*refers to category 77.* \(and 1 more such problem\)$",
    )

    def many(d):
        d["annotations"] = [annotation(i, image_id=0) for i in range(1, 14)]

    refused(
        simple(tmp_path, many), r"annotation 1 refers to image 0.*\(and 12 more such problems\)$"
    )


def test_one_empty_object_in_100_000_is_left_out_with_a_warning(tmp_path, monkeypatch):
    def change(d):
        flat = {"bbox": [1, 1, 1.5, 0.0], "segmentation": [[1, 1, 2.5, 1, 2.5, 1, 1, 1]]}
        d["annotations"] = [annotation(i) for i in range(1, 50)] + [annotation(50, **flat)]

    path = simple(tmp_path, change)
    refused(path, r"annotation 50 .*whose width or height is not positive; correct or remove")
    monkeypatch.setattr("fcis.data.checks.limits.TOLERATED_EMPTY", 1 / 50)
    with pytest.warns(
        UserWarning, match=r"1 of 50 annotations are left out; the first: annotation 50"
    ):
        data = read_coco(path)
    assert [a.id for a in data.images[0].annotations] == list(range(1, 50))
