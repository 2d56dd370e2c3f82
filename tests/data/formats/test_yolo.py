"""YOLO segmentation sets -> datasets."""

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.masks import mask_from_rle
from fcis.data.checks.check import refuse
from fcis.data.formats.yolo import raw_yolo


def read_yolo(*arguments, **options):
    return refuse(raw_yolo(*arguments, **options))


SQUARE = "0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6"


@pytest.fixture
def root(tmp_path):
    """Return a set of two images of 10 x 20 pixels (height x width), one without labels."""

    def write(
        yaml="train: images/train\nval: images/val\nnames: [cell, debris]", labels="0 " + SQUARE
    ):
        for split, name in (("train", "a.png"), ("train", "sub/b.png"), ("val", "c.JPG")):
            path = tmp_path / "images" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 10)).save(path)
        (tmp_path / "labels" / "train").mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / "train" / "a.txt").write_text(labels)
        (tmp_path / "data.yaml").write_text(yaml)
        return tmp_path / "data.yaml"

    return write


def test_objects_of_an_image(root):
    data = read_yolo(root(labels=f"0 {SQUARE}\n\n1.0 0 0 1 0 1 1\n"), "train")
    assert data.name == "data:train"
    assert [(c.id, c.name) for c in data.categories] == [(0, "cell"), (1, "debris")]
    first, second = data.images
    assert (first.id, first.file_name, first.height, first.width) == ("a", "a.png", 10, 20)
    assert (second.id, second.file_name, second.annotations) == ("sub/b", "sub/b.png", ())
    square, triangle = first.annotations
    expected = np.zeros((10, 20), dtype=bool)
    expected[2:6, 2:10] = True
    np.testing.assert_array_equal(mask_from_rle(square.rle), expected)
    assert (square.box, square.area, square.category_id) == ((2, 2, 10, 6), 32, 0)
    assert (triangle.category_id, triangle.id) == (1, "a/3")
    assert first.read().shape == (10, 20, 3)


def test_names_as_a_dictionary_and_yaml_types(root):
    data = read_yolo(root("train: images/train\nnames: {2: no, 0: 3}"), None)
    assert [(c.id, c.name) for c in data.categories] == [(0, "3"), (2, "False")]


def test_a_split_has_to_be_named_where_there_are_several(root):
    path = root()
    with pytest.raises(InputError, match=r"has the splits train, val; write .*data\.yaml:val"):
        read_yolo(path, None)
    with pytest.raises(InputError, match="has no split 'test', it has the splits train, val"):
        read_yolo(path, "test")
    same = root("train: images/train\nval: images/train\nnames: [cell]")
    assert len(read_yolo(same, None)) == len(read_yolo(same, "val")) == 2


@pytest.mark.parametrize(
    "train",
    ["images/train", "../images/train", "[images/train]", "list.txt", "./images/train/"],
)
@pytest.mark.parametrize("path", ["", "path: .\n", "path: /nowhere/at/all\n"])
def test_where_images_are(root, tmp_path, train, path):
    file = root(f"{path}train: {train}\nnames: [cell]")
    (tmp_path / "list.txt").write_text("./images/train/a.png\n\nimages/train/sub/b.png\n")
    data = read_yolo(file, None)
    assert [image.source.path.name for image in data.images] == ["a.png", "b.png"]
    assert len(data.images[0].annotations) == 1


def test_path_is_where_entries_begin(root, tmp_path):
    file = root("path: images\ntrain: train\nnames: [cell]")
    assert [image.id for image in read_yolo(file, None).images] == ["a", "sub/b"]


def test_a_broken_yaml(root):
    with pytest.raises(InputError, match=r"data\.yaml: not valid YAML \(.*\); correct it"):
        read_yolo(root("names: [a\ntrain"), None)
    with pytest.raises(InputError, match=r"data\.yaml: not a YOLO data\.yaml with train, val and"):
        read_yolo(root("just text"), None)


@pytest.mark.parametrize("names", ["", "names:", "names: {a: 1}", "names: []", "names: cell"])
def test_no_names(root, names):
    with pytest.raises(InputError, match=r"'names' is .*; give the names of the classes, as in"):
        read_yolo(root(f"train: images/train\n{names}"), None)


def test_no_splits(root):
    with pytest.raises(InputError, match=r"none of train, val, test in it; add 'train: images/tra"):
        read_yolo(root("names: [cell]"), None)


def test_a_missing_folder_of_images(root):
    with pytest.raises(InputError, match=r"data\.yaml: images/x does not exist \(looked in "):
        read_yolo(root("train: images/x\nnames: [cell]"), None)


def test_missing_labels(root):
    path = root()
    with pytest.raises(InputError, match=r"labels/val: no label file for any of the 1 images of "):
        read_yolo(path, "val")
    (image,) = read_yolo(path, "val", require_annotations=False).images
    assert image.annotations == () and image.file_name == "c.JPG"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"2 {SQUARE}", r"line 2 has the class 2, which is not among the names of .*0 to 1"),
        (f"0.5 {SQUARE}", "line 2 has the class 0.5, which is not"),
        (f"-1 {SQUARE}", "line 2 has the class -1, which is not"),
        (f"cell {SQUARE}", "line 2 has the class cell, which is not"),
        (f"nan {SQUARE}", "line 2 has the class nan, which is not"),
        ("0 0.5 0.5 0.2 0.2", r"line 2 has boxes, no polygons \(a class and 4 numbers\)"),
        (f"0 {SQUARE} 0.3", "line 2 has 9 coordinates; a polygon has x and y of 3 points"),
        ("0 0.5 0.5", "line 2 has 2 coordinates; a polygon"),
        ("0", "line 2 has 0 coordinates; a polygon"),
        (
            "0 1 2 x 4 5 6",
            "line 2 has what is no number: .* 'x'.*; write numbers",
        ),
        ("0 4 4 9 4 9 8", "line 2 has coordinates outside the image; they are fractions"),
        ("0 0 0 nan 0 1 1", "line 2 has coordinates outside the image; they are fractions"),
    ],
)
def test_bad_lines(root, line, message):
    with pytest.raises(InputError, match=r"labels/train/a\.txt: " + message):
        read_yolo(root(labels=f"0 {SQUARE}\n{line}\n"), "train")


def test_a_file_that_is_no_text(root, tmp_path):
    path = root()
    (tmp_path / "labels" / "train" / "a.txt").write_bytes(b"\xff\xfe0 ")
    with pytest.raises(InputError, match=r"a\.txt: is not text in UTF-8; save it as that"):
        read_yolo(path, "train")


def test_outlines_without_a_pixel_are_left_out_with_a_warning(root):
    path = root(labels=f"0 {SQUARE}\n0 0.1 0.1 0.2 0.1 0.3 0.1\n")
    with pytest.warns(UserWarning, match=r"1 outlines without a pixel are left out; the .*line 2"):
        data = read_yolo(path, "train")
    assert len(data.images[0].annotations) == 1


def test_rounding_may_pass_the_border(root):
    data = read_yolo(root(labels="0 -0.001 0 1.002 0 1.002 1 -0.001 1"), "train")
    assert data.images[0].annotations[0].box == (0, 0, 20, 10)


NAMES = "train: images/train\nnames: [cell]\n"
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [
        NAMES + "extra: 2001-99-99",
        NAMES + "extra: !!timestamp z",
        NAMES + "extra: !!int abc",
        NAMES + "extra: !!bool maybe",
        NAMES + "extra: " + "[" * 3000,
        BOMB + "train: images/train\nnames: *a8",
        BOMB + "train: images/train\nnames: [*a8]",
        BOMB + "train: *a8\nnames: [cell]",
        BOMB + "train: [*a8]\nnames: [cell]",
        BOMB + "path: *a8\ntrain: images/train\nnames: [cell]",
        MERGED + NAMES,
        f"train: images/train\nnames: [0x{'f' * 5000}]",
        f"train: images/train\nnames: {{0x{'f' * 5000}: cell}}",
        f"train: 0x{'f' * 5000}\nnames: [cell]",
        f"train: {'y' * 300}\nnames: [cell]",
        f"path: {'y' * 300}\ntrain: nowhere\nnames: [cell]",
    ],
)
def test_hostile_yaml_is_one_short_line(root, text):
    with pytest.raises(InputError, match=r"data\.yaml: .*; ") as caught:
        read_yolo(root(text), None)
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
