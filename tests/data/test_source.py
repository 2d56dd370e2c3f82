"""What a DATA argument may be."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fcis.cli.main import main
from fcis.core.errors import InputError
from fcis.data.formats.write import write_dataset
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.data.source import check_distinct, open_dataset


def test_scenes_with_number_and_seed():
    data = open_dataset("scenes:3:5")
    expected = scene_dataset(3, 5)
    assert len(data) == 3
    np.testing.assert_array_equal(data.images[2].read(), expected.images[2].read())
    assert (data.images[2].read() != open_dataset("scenes:3:6").images[2].read()).any()


def test_scenes_whose_objects_stay_apart():
    data = open_dataset("scenes:2:5:apart")
    assert (data.name, len(data)) == ("scenes:2:5:apart", 2)
    assert data == scene_dataset(2, 5, apart=True)
    assert data.images != open_dataset("scenes:2:5").images


def test_scenes_by_default():
    assert len(open_dataset("scenes")) == 64
    np.testing.assert_array_equal(
        open_dataset("scenes:2").images[1].read(), open_dataset("scenes:2:0").images[1].read()
    )


@pytest.mark.parametrize(
    "data",
    [
        "scenes:",
        "scenes:x",
        "scenes:0",
        "scenes:3:",
        "scenes:3:-1",
        "scenes:3:1:2",
        "scenes:apart",
        "scenes:3:1:apar",
        "scenes:²",
    ],
)
def test_malformed_scenes(data):
    with pytest.raises(InputError, match=rf"{data}: expected scenes\[:N\[:seed\[:apart\]\]\]"):
        open_dataset(data)


def test_scenes_take_no_images():
    with pytest.raises(InputError, match="scenes: scenes have no image files; leave out --images"):
        open_dataset("scenes", "somewhere")


def test_annotation_file(tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (6, 4)).save(tmp_path / "pictures" / "x.png")
    path = tmp_path / "set.JSON"
    image = {"id": 1, "file_name": "x.png", "height": 4, "width": 6}
    path.write_text(json.dumps({"images": [image]}))
    data = open_dataset(str(path), tmp_path / "pictures", require_annotations=False)
    assert len(data) == 1 and data.images[0].read().shape == (4, 6, 3)
    with pytest.raises(InputError, match="no 'categories' in it"):
        open_dataset(str(path), tmp_path / "pictures")


@pytest.mark.parametrize("data", ["set.yaml", "folder", "scenery", "folder:val"])
def test_nothing_of_that_name(data):
    with pytest.raises(
        InputError,
        match=rf"^{data}: no such file or folder; give a COCO .*scenes\[:N\[:seed\[:apart\]\]\]",
    ):
        open_dataset(data)


def test_no_name():
    with pytest.raises(InputError, match="DATA is empty; give a COCO"):
        open_dataset("")


def test_unknown_kinds(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(
            InputError, match=r"not a known kind of data; give a COCO \.json, a YOLO"
        ):
            open_dataset(str(path))


KINDS = ("sbd", "voc", "cityscapes", "coco-root", "coco", "yolo", "labelme", "maps", "objects")


@pytest.fixture
def written(tmp_path, make_sbd, make_voc, make_cityscapes, make_coco_root):
    """Write two sets of scenes in a format; returns them and the DATA of each."""

    def write(kind, *sets):
        train, val = sets
        roots = {
            "sbd": make_sbd,
            "voc": make_voc,
            "cityscapes": make_cityscapes,
            "coco-root": make_coco_root,
        }
        if kind in roots:
            root = roots[kind](tmp_path / kind, train=train, val=val)
            return f"{root}:train", f"{root}:val"
        if kind in ("coco", "yolo", "labelme"):
            names = [tmp_path / name for name in ("train", "val")]
            for name, data in zip(names, sets, strict=True):
                write_dataset(data, name, kind)
            return str(names[0]), str(names[1])
        names = [tmp_path / name for name in ("train", "val")]
        for name, data in zip(names, sets, strict=True):
            if kind == "objects":  # which is how overlaps are written
                first = data.images[0]
                twice = replace(first.annotations[0], id="again")
                image = replace(first, annotations=(*first.annotations, twice))
                data = replace(data, images=(image, *data.images[1:]))
            write_dataset(data, name, "masks")
        return str(names[0]), str(names[1])

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind, written, scenes, objects):
    sets = scenes(2, 5), scenes(1, 6)
    for data, expected in zip(written(kind, *sets), sets, strict=True):
        found = open_dataset(data)
        if kind == "objects":
            repeated = objects(found)
            assert [sorted(set(image)) for image in repeated] == objects(expected)
        else:
            assert objects(found) == objects(expected)
        for image, original in zip(found.images, expected.images, strict=True):
            error = np.abs(image.read().astype(int) - original.read().astype(int))
            assert error.mean() < 8  # the photos of two formats are JPEGs
        with pytest.raises(InputError, match=r"leave out --images|the folder of the images of"):
            open_dataset(data, "nowhere")
        if kind in ("coco", "labelme", "maps", "objects"):
            with pytest.raises(InputError, match=r"(file|masks|files) has no splits; leave out :x"):
                open_dataset(f"{data}:x")
        else:
            with pytest.raises(InputError, match="has no split 'x', it has the split"):
                open_dataset(f"{data.removesuffix(':train').removesuffix(':val')}:x")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_trains_and_evaluates(kind, written, scenes, tmp_path, capsys):
    train, val = written(kind, scenes(4, 5, (96, 128)), scenes(2, 6, (96, 128)))
    run = tmp_path / "run"
    assert main(["train", "--train", train, "--val", val, "--recipe", "tiny", "--out", str(run),
                 "--device", "cpu"]) == 0  # fmt: skip
    report = tmp_path / "figures.json"
    assert main(["evaluate", "--data", val, "--weights", str(run), "--json", str(report),
                 "--device", "cpu"]) == 0  # fmt: skip
    figures = json.loads(report.read_text())
    assert figures["images"] == 2 and 0 <= figures["segm"]["AP50"] <= 1


def test_a_folder_with_one_annotation_file(tmp_path, scenes, objects):
    path = write_dataset(scenes(), tmp_path / "set", "coco").path
    assert objects(open_dataset(str(tmp_path / "set"))) == objects(open_dataset(str(path)))


def test_a_folder_with_a_yolo_file(tmp_path, scenes, objects):
    path = write_dataset(scenes(), tmp_path / "set", "yolo").path
    assert objects(open_dataset(str(tmp_path / "set"))) == objects(open_dataset(f"{path}:val"))


@pytest.mark.parametrize(
    ("train", "val"), [("scenes:64:0", "scenes:8"), ("scenes:9:3", "scenes:2:3")]
)
def test_the_same_scenes_for_both_are_refused(train, val):
    with pytest.raises(
        InputError,
        match=r"both have seed \d, so they are the same; give one another seed",
    ):
        check_distinct(train, val)


def test_the_remedy_is_one():
    with pytest.raises(InputError, match=r"as in scenes:8:1$"):
        check_distinct("scenes:64:0", "scenes:8")
    check_distinct("scenes:64:0", "scenes:8:1")


def test_the_same_file_for_both_is_allowed_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"a\.json: is used for training and for validation"):
        check_distinct(str(tmp_path / "a.json"), str(tmp_path / "x" / ".." / "a.json"))


def test_distinct_data_are_silent(recwarn):
    check_distinct("a.json", "b.json")
    check_distinct("a.json", "scenes:3")
    check_distinct("scenes:3", "a.json")
    assert not recwarn.list
