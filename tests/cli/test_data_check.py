"""`fcis data check` on a dataset of scenes with one of every fault planted in it."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tests.cli.planted_faults import (
    SCENES,
    Planted,
    plant_images,
    plant_lists,
    plant_masks,
    write_scenes,
)

from fcis.data.checks import faults
from fcis.data.formats.coco import read_coco
from fcis.data.scenes.shape_scenes import scene_dataset


@pytest.fixture
def planted(tmp_path):
    p = Planted(tmp_path)
    plant_images(p)
    plant_lists(p)
    plant_masks(p)
    p.val = tmp_path / "val" / "val.json"
    document = write_scenes(tmp_path / "val", 3, seed=6)
    document["images"][1]["file_name"] = "copied.png"
    shutil.copy(p.file(22), tmp_path / "val" / "images" / "copied.png")
    document["images"][2]["file_name"] = p.images[23]["file_name"]
    shutil.copy(
        tmp_path / "val" / "images" / "scene-6-000002.png",
        tmp_path / "val" / "images" / p.images[23]["file_name"],
    )
    p.val.write_text(json.dumps(document))
    text = f"{p.name(22)} is in the validation set too, as copied.png"
    p.expect(faults.IN_TRAIN_AND_VAL, text, p.lost(22))
    p.expect(faults.SAME_NAME, f"{p.name(23)} is another file in the validation set",
             "left as it is")  # fmt: skip
    p.lose(22)
    small = [[70, 70, 74, 70, 74, 74, 70, 74]]
    p.annotate(24, segmentation=small, bbox=[70, 70, 4, 4], area=16)
    p.path = tmp_path / "train" / "train.json"
    p.path.write_text(json.dumps(p.document))
    return p


def check(fcis, *arguments, tmp_path):
    out = tmp_path / "findings.json"
    code, text, err = fcis("data", "check", *arguments, "--json", out)
    assert err == ""
    return code, text, json.loads(out.read_text())


def test_every_planted_fault_is_found_and_nothing_else(fcis, planted, tmp_path):
    code, out, report = check(fcis, planted.path, "--val", planted.val, tmp_path=tmp_path)
    assert code == 2
    found = {(f["kind"], f["severity"], f["text"]): f["fix"] for f in report["findings"]}
    assert len(found) == len(report["findings"])
    for kind, severity, text, fix in planted.expected:
        match = [k for k in found if k[:2] == (kind, severity) and k[2].startswith(text)]
        assert len(match) == 1, (kind, text, [k for k in found if k[0] == kind])
        assert fix is None or found[match[0]] == fix
        del found[match[0]]
    assert [key[0] for key in found] == ["small-objects"]
    kinds = {kind for kind, *_ in planted.expected}
    assert len(kinds) == 37 and {"small-objects"} | kinds == {
        kind.name for kind in vars(faults).values() if isinstance(kind, faults.Kind)
    }
    errors = sum(severity == "error" for _, severity, *_ in planted.expected)
    warnings = sum(severity == "warning" for _, severity, *_ in planted.expected)
    assert out.splitlines()[-1] == (
        f"{planted.path}: {errors} errors, {warnings} warnings, 4 notes; --fix OUT writes a "
        "corrected copy"
    )


def test_the_corrected_copy_passes_and_keeps_what_is_healthy(fcis, planted, tmp_path):
    fixed = tmp_path / "fixed"
    code, out, _ = fcis("data", "check", planted.path, "--val", planted.val, "--fix", fixed)
    assert code == 0
    assert f"  image 1 ({planted.images[1]['file_name']}): dropped with its" in out
    assert "  rle-size: 1 dropped\n" in out and "  box-mask: 1 repaired\n" in out
    path = fixed / "annotations.json"
    code, again, _ = fcis("data", "check", path, "--val", planted.val)
    assert code == 0, again
    assert "\nerror " not in again
    read_coco(path)
    document = json.loads(path.read_text())
    copied = {entry["id"]: entry for entry in document["annotations"]}
    assert len(copied) == len(document["annotations"])
    assert planted.healthy and all(copied[e["id"]] == e for e in planted.healthy)
    assert [i["id"] for i in document["images"]] == [
        i for i in [*range(1, SCENES + 1), 200] if i not in (1, 2, 3, 6, 22)
    ]
    assert [c["id"] for c in document["categories"]] == [*range(1, 9), 42]
    assert not any(a["category_id"] == 41 for a in copied.values())
    names = {i["id"]: i["file_name"] for i in document["images"]}
    assert names[5] == "turned.png"
    with Image.open(planted.file(5)) as old, Image.open(fixed / "images" / "turned.png") as new:
        np.testing.assert_array_equal(np.asarray(old), np.asarray(new))
        assert not new.getexif()
    unchanged = fixed / "images" / names[10]
    assert unchanged.read_bytes() == planted.file(10).read_bytes()
    changes = (fixed / "changes.txt").read_text().splitlines()
    assert len(changes) == len(planted.expected) + 1


@pytest.mark.slow
def test_the_corrected_copy_trains(fcis, planted, tmp_path):
    fixed = tmp_path / "fixed"
    assert fcis("data", "check", planted.path, "--val", planted.val, "--fix", fixed)[0] == 0
    path = fixed / "annotations.json"
    code, out, err = fcis(
        "train", "--train", path, "--val", path, "--recipe", "tiny", "--set", "steps=20",
        "--out", tmp_path / "run", "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert "best mask AP" in out


def test_a_clean_dataset(fcis, tmp_path):
    document = write_scenes(tmp_path, 2)
    path = tmp_path / "train.json"
    used = {a["category_id"] for a in document["annotations"]}
    document["categories"] = [c for c in document["categories"] if c["id"] in used]
    path.write_text(json.dumps(document))
    objects = len(document["annotations"])
    code, out, _ = fcis("data", "check", path)
    assert (code, out) == (
        0,
        f"{path}: 2 images, {objects} annotations, {len(used)} categories\n{path}: nothing wrong\n",
    )


def test_scenes_are_checked_and_can_be_written(fcis, tmp_path):
    code, out, _ = fcis("data", "check", "scenes:2:3", "--fix", tmp_path / "copy")
    assert code == 0
    assert out.splitlines()[0].startswith("scenes:2:3: 2 images, ")
    dataset = read_coco(tmp_path / "copy" / "annotations.json")
    scenes = scene_dataset(2, 3)
    for record, scene in zip(dataset.images, scenes.images, strict=True):
        np.testing.assert_array_equal(record.read(), scene.read())
        assert [a.rle for a in record.annotations] == [a.rle for a in scene.annotations]


def test_long_lists_are_cut(fcis, annotate, tmp_path):
    def change(data):
        data["annotations"] = [
            {**data["annotations"][0], "id": i + 1, "bbox": [10, 10, 0, 5]} for i in range(7)
        ]

    path = annotate(tmp_path, change, names=["thing"])
    code, out, _ = fcis("data", "check", path)
    lines = out.splitlines()
    assert code == 2
    assert lines[1] == (
        "error bad-box (7): boxes that are none, have no extent, or lie outside the image; use "
        "[x, y, width, height] in pixels, or leave 'bbox' out: it then comes from the mask"
    )
    assert lines[2] == (
        "  annotation 1 (image 7, 0.png) has the box [10, 10, 0, 5], whose width or height is not "
        "positive"
    )
    assert lines[7] == "  ... and 2 more; --all lists them"
    code, out, _ = fcis("data", "check", path, "--all")
    assert "more; --all" not in out and out.count("has the box [10, 10, 0, 5]") == 7


def test_small_objects_at_the_scale_of_a_recipe(fcis, annotate, tmp_path):
    path = annotate(tmp_path, names=["thing"])
    code, out, _ = fcis("data", "check", path, "--recipe", "coco-resnet101")
    assert (code, out.splitlines()[-1]) == (0, f"{path}: nothing wrong")

    def shrink(data):
        data["annotations"][0] |= {
            "bbox": [10, 10, 5, 5], "area": 25, "segmentation": [[10, 10, 15, 10, 15, 15, 10, 15]],
        }  # fmt: skip

    path = annotate(tmp_path / "small", shrink, names=["thing"])
    _, out, _ = fcis("data", "check", path)
    assert "  1 of 2 objects (50%) are below 8 px in their images\n" in out
    # 48 x 64 becomes 600 x 800
    _, out, _ = fcis("data", "check", path, "--recipe", "coco-resnet101")
    assert "small-objects" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "none.json: no such annotation file; check the spelling"),
        (["photos"], "photos: "),
        (["list.json"], "list.json: expected a COCO dictionary"),
        (["half.json"], "half.json: no 'images' in it (it has 'info'); export the annotations"),
        (["scenes:2:1", "--val-images", "x"], "--val-images x: is for --val; leave it out"),
        (["scenes:2:1", "--fix", "."], "--fix .: is there already; name a new or empty folder"),
        (["scenes:2:1", "--recipe", "best"], "--recipe best: no such recipe"),
    ],
)
def test_bad_arguments(refused, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "half.json").write_text('{"info": {}}')
    assert message in refused("data", "check", *arguments)


def test_a_copy_of_nothing_is_refused(refused, annotate, tmp_path, capsys):
    def change(data):
        data["annotations"] = [{**data["annotations"][0], "image_id": 3}]

    path = annotate(tmp_path, change, names=["thing"])
    from fcis.cli.main import main

    assert main(["data", "check", str(path), "--fix", str(tmp_path / "copy")]) == 2
    err = capsys.readouterr().err
    assert err == f"fcis: {path}: no annotation is left to correct; nothing was written\n"
    assert not (tmp_path / "copy").exists()
