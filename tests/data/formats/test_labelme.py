"""Folders of LabelMe files -> datasets."""

import json
import warnings

import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.checks.check import refuse
from fcis.data.formats.labelme import is_labelme, labelme_files, raw_labelme


def read_labelme(*arguments, **options):
    return refuse(raw_labelme(*arguments, **options))


SQUARE = {"label": "cell", "points": [[2, 1], [6, 1], [6, 4], [2, 4]], "shape_type": "polygon"}
DEBRIS = SQUARE | {"label": "debris"}


@pytest.fixture
def write(tmp_path):
    """Write an image and its LabelMe file."""

    def file(name, *shapes, **more):
        path = tmp_path / "set" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10)).save(path.with_suffix(".png"))
        content = {"shapes": list(shapes), "imagePath": path.with_suffix(".png").name, **more}
        path.write_text(json.dumps(content))
        return tmp_path / "set"

    return file


def test_images_and_objects(write):
    write("b/2", SQUARE, DEBRIS)
    folder = write("a", DEBRIS, imageHeight=10, imageWidth=12)
    data = read_labelme(folder)
    assert is_labelme(folder) and data.name == "set"
    assert [(c.id, c.name) for c in data.categories] == [(1, "cell"), (2, "debris")]
    assert [(i.id, i.file_name, i.height) for i in data.images] == [
        ("a", "a.png", 10),
        ("b/2", "b/2.png", 10),
    ]
    assert [(a.id, a.category_id) for a in data.images[1].annotations] == [
        ("b/2/1", 1),
        ("b/2/2", 2),
    ]
    assert data.images[1].read().shape == (10, 12, 3)


def test_groups_join_shapes_of_one_label(write):
    other = [[8, 7], [10, 7], [10, 9], [8, 9]]
    folder = write(
        "a",
        SQUARE | {"group_id": 1},
        DEBRIS | {"group_id": 1},
        SQUARE | {"group_id": 1, "points": other},
        SQUARE | {"points": other, "group_id": None},
    )
    (image,) = read_labelme(folder).images
    assert [(a.category_id, a.area) for a in image.annotations] == [(1, 16), (2, 12), (1, 4)]


def test_an_image_without_shapes_has_no_objects(write):
    write("a", SQUARE)
    assert read_labelme(write("b")).images[1].annotations == ()


def test_ignored_shapes(write):
    folder = write(
        "a", SQUARE, SQUARE | {"label": "__ignore__"}, SQUARE | {"label": "_background_"}
    )
    data = read_labelme(folder)
    assert len(data.categories) == len(data.images[0].annotations) == 1


@pytest.mark.parametrize("place", ["set", "."])
def test_listed_classes(write, tmp_path, place):
    folder = write("a", SQUARE)
    (tmp_path / place / "labels.txt").write_text("__ignore__\n_background_\ndebris\n\ncell\n")
    data = read_labelme(folder)
    assert [(c.id, c.name) for c in data.categories] == [(1, "debris"), (2, "cell")]
    assert data.images[0].annotations[0].category_id == 2
    write("a", SQUARE | {"label": "cel"})
    with pytest.raises(
        InputError,
        match=r"a\.json: shape number 1 \('cel'\) has a label that is not in .*labels\.txt; add",
    ):
        read_labelme(folder)


def test_no_shapes_at_all(write):
    with pytest.raises(
        InputError, match=r"set: no shape in any file; annotate some, or add labels"
    ):
        read_labelme(write("a"))


def test_outlines_without_a_pixel_are_left_out_with_a_warning(write):
    folder = write("a", SQUARE, SQUARE | {"points": [[1, 1], [2, 1], [3, 1]]})
    with pytest.warns(UserWarning, match=r"1 objects without a pixel are left out; .*number 2"):
        assert len(read_labelme(folder).images[0].annotations) == 1


def test_images_without_a_file_are_left_out_with_a_warning(write):
    folder = write("a", SQUARE)
    Image.new("RGB", (3, 3)).save(folder / "new.jpg")
    with pytest.warns(UserWarning, match=r"1 images have no \.json and are left out, .*new\.jpg"):
        assert len(read_labelme(folder)) == 1


def test_a_full_folder_is_silent(write):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_labelme(write("a", SQUARE))


def test_which_folders(write, tmp_path):
    folder = write("a", SQUARE)
    assert not is_labelme(tmp_path / "nothing")
    (folder / ".hidden.json").write_text("{}")
    assert [path.name for path in labelme_files(folder)] == ["a.json"]
    (folder / "a.json").write_text("{broken")
    assert not is_labelme(folder)
    with pytest.raises(InputError, match=r"a\.json: not valid JSON \(.*\); save it again"):
        read_labelme(folder)
    (folder / "a.json").write_text("{}")
    with pytest.raises(InputError, match=r"a\.json: no 'shapes' in it; move what is not"):
        read_labelme(folder)
    (folder / "a.json").write_text('{"shapes": 3}')
    with pytest.raises(InputError, match=r"a\.json: 'shapes' is not a list; move what is not"):
        read_labelme(folder)
    (folder / "a.json").unlink()
    with pytest.raises(InputError, match=r"set: no \.json of LabelMe in or below it"):
        read_labelme(folder)


def test_an_image_of_another_size(write):
    folder = write("a", SQUARE, imageHeight=12, imageWidth=10)
    with pytest.raises(InputError, match=r"a\.png: the image is 12 x 10 .* says 10 x 12 .*swapped"):
        read_labelme(folder).images[0].read()
