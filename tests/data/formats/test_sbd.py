"""SBD roots -> datasets."""

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.data.checks.check import refuse
from fcis.data.formats.sbd import raw_sbd, sbd_root


def read_sbd(*arguments, **options):
    return refuse(raw_sbd(*arguments, **options))


@pytest.fixture
def root(make_sbd, scenes, tmp_path):
    return make_sbd(tmp_path / "sbd" / "dataset", train=scenes(2, 5), val=scenes(1, 6))


def test_the_same_masks(root, scenes, objects):
    data = read_sbd(root.parent, "train")
    assert data.name == "sbd:train"
    assert objects(data) == objects(scenes(2, 5))
    assert [image.id for image in data.images] == ["2008_000000", "2008_000001"]
    assert data.images[0].read().shape == (64, 80, 3)
    assert data.class_names[1] == "aeroplane" and len(data.categories) == 20


@pytest.mark.parametrize("below", ["", "dataset", "benchmark_RELEASE/dataset"])
def test_the_root_is_found_below(tmp_path, below):
    for folder in ("img", "cls", "inst"):
        (tmp_path / below / folder).mkdir(parents=True)
    assert sbd_root(tmp_path) == tmp_path / below
    assert sbd_root(tmp_path / below / "img") is None


def ids(root, split):
    return [image.id for image in read_sbd(root, split).images]


def test_trainval_is_both(root):
    assert ids(root, "trainval") == ["2008_000000", "2008_000001", "2008_000002"]


def test_the_splits_of_sds(root):
    """`train_noval.txt` is SBD's list without the images that VOC validates on."""
    (root / "train_noval.txt").write_text("2008_000001\n")
    assert ids(root, "sds_train") == ["2008_000001"]
    assert ids(root, "sds_val") == ["2008_000000", "2008_000002"]
    assert ids(root, "train") == ["2008_000000", "2008_000001"]


def test_lists_where_the_release_has_them(root):
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for file in root.glob("*.txt"):
        file.rename(root / "ImageSets" / "Main" / file.name)
    # with a second column, and an image twice
    (root / "ImageSets" / "Main" / "mine.txt").write_text("2008_000002  1\n\n2008_000002 -1\n")
    assert ids(root, "mine") == ["2008_000002"]
    with pytest.raises(InputError, match="sbd: has the splits mine, train, trainval, val; write"):
        read_sbd(root.parent, None)


def test_void_belongs_to_no_object(root, make_mat):
    numbers = np.array([[1, 255, 0], [1, 2, 2]], dtype=np.uint8)
    classes = np.array([[5, 255, 0], [255, 20, 255]], dtype=np.uint8)
    make_mat(root / "inst" / "2008_000002.mat", "GTinst", numbers)
    make_mat(root / "cls" / "2008_000002.mat", "GTcls", classes)
    (image,) = read_sbd(root, "val").images
    assert [(a.category_id, a.area, a.box) for a in image.annotations] == [
        (5, 2, (0, 0, 1, 2)),
        (20, 2, (1, 1, 3, 2)),
    ]


@pytest.mark.parametrize("folder", ["img", "cls", "inst"])
def test_a_missing_folder(root, folder):
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(InputError, match=f"{folder}: no such folder, though .* restore it"):
        read_sbd(root, "train")


def test_no_root(root):
    with pytest.raises(InputError, match="no img, cls, inst in it; name an SBD root"):
        read_sbd(root / "img", "train")


def test_no_lists(root):
    for file in root.glob("*.txt"):
        file.unlink()
    with pytest.raises(InputError, match=r"no lists of images in it; put train\.txt and val\.txt"):
        read_sbd(root, "train")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:200],
        lambda data: b"nothing of the kind",
        lambda data: b"",
        lambda data: data[:-20] + b"\xff" * 20,
    ],
)
def test_a_damaged_file(root, damage):
    path = root / "inst" / "2008_000001.mat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"2008_000001\.mat: no map of pixels GTinst\.Seg.* again"):
        read_sbd(root, "train")


@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 2, 2), np.uint8), np.full((2, 2), 0.5), np.full((2, 2), -1, np.int16)],
)
def test_no_map(root, make_mat, values):
    make_mat(root / "cls" / "2008_000002.mat", "GTcls", values)
    with pytest.raises(InputError, match=r"000002\.mat: no map of pixels GTcls\.Segmentation can"):
        read_sbd(root, "val")


def test_another_variable(root, make_mat):
    make_mat(root / "cls" / "2008_000002.mat", "other", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match=r"no map of pixels GTcls\.Segmentation can be read"):
        read_sbd(root, "val")


def test_missing_files(root):
    (root / "cls" / "2008_000001.mat").unlink()
    with pytest.raises(InputError, match=r"2008_000001\.mat: no such file, though a list names it"):
        read_sbd(root, "train")
    (root / "img" / "2008_000001.jpg").unlink()
    with pytest.raises(InputError, match=r"2008_000001\.jpg: no such image, though a list"):
        read_sbd(root, "train")


def test_maps_of_two_sizes(root, make_mat):
    make_mat(root / "cls" / "2008_000002.mat", "GTcls", np.zeros((64, 79), np.uint8))
    with pytest.raises(InputError, match=r"is 80 x 64 pixels .* is 79 x 64; make the mask"):
        read_sbd(root, "val")
