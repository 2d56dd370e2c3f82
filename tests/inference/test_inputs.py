import json
from pathlib import Path

import pytest

from fcis.core.errors import InputError
from fcis.data.formats.write import write_dataset
from fcis.data.source import open_dataset
from fcis.inference.inputs import find_jobs
from fcis.recipe.types import ModelRecipe

MODEL = ModelRecipe(class_names=("cat", "dog"), category_ids=(17, 18))


def names(jobs):
    return [(job.name, job.image_id) for job in jobs]


def dataset(folder, file_names, ids=None, categories=()):
    for name in file_names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    ids = ids or range(1, len(file_names) + 1)
    images = [
        {"id": i, "file_name": name, "height": 4, "width": 4}
        for i, name in zip(ids, file_names, strict=True)
    ]
    data = {"images": images, "categories": [{"id": i, "name": n} for i, n in categories]}
    path = folder / "data.json"
    path.write_text(json.dumps(data))
    return str(path)


def test_names_stay_below_the_output_folder(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    absolute = tmp_path / "abs.png"
    absolute.write_bytes(b"x")
    path = dataset(inside, ["x/1.png", "../2.png", "./3.png", str(absolute)])
    expected = ["x/1", "2", "3", str(absolute.with_suffix("")).lstrip("/")]
    assert names(find_jobs([path], MODEL)) == list(zip(expected, (1, 2, 3, 4), strict=True))


def test_backslashes_are_folders(tmp_path):
    dataset(tmp_path, ["x/1.png"])
    data = json.loads((tmp_path / "data.json").read_text())
    data["images"][0]["file_name"] = r"x\1.png"
    (tmp_path / "data.json").write_text(json.dumps(data))
    (job,) = find_jobs([str(tmp_path / "data.json")], MODEL)
    assert (job.name, job.file_name) == ("x/1", r"x\1.png")


def test_equal_names_are_numbered(tmp_path):
    path = dataset(tmp_path / "set", ["1.png", "1.jpg", "1~2.png"])
    (tmp_path / "1.png").write_bytes(b"x")
    jobs = find_jobs([str(tmp_path / "1.png"), path], MODEL)
    assert names(jobs) == [("1", 1), ("1~2", 2), ("1~2~2", 3), ("1~3", "1")]


def test_one_id_twice_is_refused(tmp_path):
    first = dataset(tmp_path / "a", ["1.png"])
    second = dataset(tmp_path / "b", ["2.png"])
    with pytest.raises(InputError, match=r"^2\.png: its image id 1 is that of 1\.png too"):
        find_jobs([first, second], MODEL)


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ([(3, "dog"), (5, "cat"), (9, "cow")], (0, 5, 3)),
        ([(3, "dog")], (0, 17, 18)),
        ([], (0, 17, 18)),
    ],
)
def test_category_ids_are_the_datasets_where_it_has_them_all(tmp_path, categories, expected):
    path = dataset(tmp_path, ["1.png"], categories=categories)
    assert [job.category_ids for job in find_jobs([path], MODEL)] == [expected]


def test_results_of_an_earlier_run_are_no_images(tmp_path):
    for name in ("1.png", "out/1.overlay.png", "out/1.masks.png", "out/2.png", "x.overlay.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    out = tmp_path / "out"
    jobs = find_jobs([str(tmp_path)], MODEL, out=out)
    assert names(jobs) == [(n, n) for n in ("1", "out/2", "x.overlay")]
    named = str(out / "1.overlay.png")
    assert names(find_jobs([named], MODEL, out=out)) == [("1.overlay", "1.overlay")]
    (out / "2.png").unlink()
    with pytest.raises(InputError, match="no images but the results of earlier runs"):
        find_jobs([str(out)], MODEL, out=out)


def test_a_folder_may_be_called_scenes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(find_jobs(["scenes:2"], MODEL)) == 2
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "1.png").write_bytes(b"x")
    assert names(find_jobs(["scenes"], MODEL)) == [("1", "1")]


def test_images_folder_is_for_annotation_files(tmp_path):
    (tmp_path / "1.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"--images .*: is for a COCO \.json; leave it out"):
        find_jobs([str(tmp_path)], MODEL, images_dir=tmp_path)


def test_datasets_as_they_are_distributed(tmp_path):
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    path = dataset(root / "val2017", ["1.png", "2.png"], ids=[7, 9], categories=[(3, "cat")])
    Path(path).rename(root / "annotations" / "instances_val2017.json")
    jobs = find_jobs([f"{root}:val2017"], MODEL)
    assert names(jobs) == [("1", 7), ("2", 9)]
    with pytest.raises(InputError, match="val2018"):
        find_jobs([f"{root}:val2018"], MODEL)
    # a file whose name has a colon is that file
    (tmp_path / "a:b.png").write_bytes(b"x")
    assert names(find_jobs([str(tmp_path / "a:b.png")], MODEL)) == [("a:b", "a:b")]


def test_a_yolo_set(tmp_path):
    write_dataset(open_dataset("scenes:2:1"), tmp_path / "set", "yolo")
    jobs = find_jobs([str(tmp_path / "set" / "data.yaml")], MODEL)
    assert len(jobs) == 2 and jobs[0].read().shape[2] == 3
