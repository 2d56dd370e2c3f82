"""`fcis evaluate`: its files, and annotation files and weights that it refuses."""

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.output_files import write_picture
from fcis.evaluation.confusion import Confusion, draw_confusion
from fcis.inference.predictor import Predictor
from fcis.model.build import build_model
from fcis.weights.weights_file import load_weights, read_info, save_weights


@pytest.fixture
def perfect(monkeypatch):
    """Make the network find the square of `annotate`, as its first category."""
    from fcis.core.masks import MaskCrop
    from fcis.imaging.instances import Instances

    def detect(self, images):
        names = self.info.model.class_names
        found = Instances(
            size=images[0].image.shape[:2],
            scores=np.array([0.95], dtype=np.float32),
            labels=np.array([1]),
            crops=(MaskCrop(top=10, left=10, bits=np.ones((20, 20), dtype=bool)),),
            class_names=("background", *names),
            category_ids=(0, *self.info.model.category_ids),
        )
        return [found for _ in images]

    monkeypatch.setattr(Predictor, "detect", detect)


def test_weights_by_name(fcis, annotate, add_to_zoo, tmp_path, perfect):
    add_to_zoo("small", "tests")
    code, out, err = fcis("evaluate", "--data", annotate(tmp_path), "--weights", "small")
    assert (code, err) == (0, "") and out.startswith("2 images, 2 instances")


@pytest.mark.parametrize("ids", [(7, 9), ("left", "right")])
def test_figures_and_detections(fcis, annotate, tiny_weights, tmp_path, perfect, ids):
    path = annotate(tmp_path, ids=ids, category_ids=list(range(60, 52, -1)))
    figures, found = tmp_path / "f" / "figures.json", tmp_path / "g" / "found.json"
    code, out, err = fcis(
        "evaluate", "--data", path, "--weights", tiny_weights, "--json", figures,
        "--predictions", found,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out.startswith("2 images, 2 instances, at most 20 detections an image")
    assert out.endswith(f"detections: {found}\nfigures: {figures}\n")
    data = json.loads(figures.read_text())
    assert data.keys() == {
        "segm", "bbox", "voc", "dsb", "per_class", "images", "max_detections", "seconds_per_image",
        "confusion",
    }  # fmt: skip
    counts = np.array(data["confusion"]["counts"])
    assert np.trace(counts) == counts.sum() == 2
    assert (data["segm"]["AP"], data["bbox"]["AP50"]) == (pytest.approx(1.0),) * 2
    assert data["segm"]["AP_medium"] is None
    assert list(data["dsb"]) == [f"{i / 100:.2f}" for i in range(50, 95, 5)]
    assert set(data["dsb"].values()) == {1.0}
    assert (data["images"], data["max_detections"]) == (2, 20)
    results = json.loads(found.read_text())
    assert [(r["image_id"], r["category_id"]) for r in results] == [(i, 60) for i in ids]


def test_low_scores_are_detections_too(fcis, annotate, tiny_weights, tmp_path):
    found = tmp_path / "found.json"
    code, _, _ = fcis(
        "evaluate", "--data", annotate(tmp_path), "--weights", tiny_weights,
        "--predictions", found,
    )  # fmt: skip
    assert code == 0
    results = json.loads(found.read_text())
    assert len(results) == 40 and max(r["score"] for r in results) < 0.2


def test_scenes(fcis, tiny_weights):
    code, out, _ = fcis("evaluate", "--data", "scenes:2:5", "--weights", tiny_weights)
    assert code == 0 and out.startswith("2 images")


def test_deep_images_are_read_with_the_percentiles_of_the_weights(
    fcis, annotate, tiny_weights, tmp_path, monkeypatch
):
    path = annotate(tmp_path)
    values = np.full((48, 64), 100, dtype=np.uint16)
    values[0, 0], values[0, 1], values[24:] = 0, 65535, 200
    for name in ("0.png", "1.png"):
        Image.fromarray(values).save(tmp_path / "images" / name)
    info = read_info(tiny_weights)
    model = build_model(info.model)
    load_weights(tiny_weights, model)
    prep = replace(info.model.preprocessing, high_depth=(0.0, 100.0))
    other = tmp_path / "other.safetensors"
    save_weights(other, model, replace(info, model=replace(info.model, preprocessing=prep)))
    seen = []
    detect = Predictor.detect

    def spy(self, images):
        levels = images[0].image
        seen.append(int(levels[40, 30, 0]) - int(levels[10, 10, 0]))
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    for weights in (tiny_weights, other):
        assert fcis("evaluate", "--data", path, "--weights", weights)[0] == 0
    assert min(seen[:2]) > 90 and max(seen[2:]) <= 1


# --- bad annotation files -------------------------------------------------------------------


def _without(key):
    def change(data):
        del data[key]

    return change


def _with(**values):
    def change(data):
        data["annotations"][0].update(values)

    return change


def _rename(data):
    data["images"][0]["file_name"] = "elsewhere.png"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("images"), "no 'images' in it"),
        (_without("annotations"), "no 'annotations' in it"),
        (_without("categories"), "no 'categories' in it"),
        (lambda data: data["annotations"].clear(), "'annotations' is empty"),
        (_with(image_id=99), "annotation 1 refers to image 99, which is not among the images"),
        (_with(category_id=99), "refers to category 99, which is not among the categories"),
        (_with(bbox=[50, 10, 40, 20]), "annotation 1 (image 7, 0.png)"),
        (_with(segmentation=[[1, 1, 5, 5]]), "annotation 1 (image 7, 0.png)"),
        (_with(segmentation=[]), "annotation 1 (image 7, 0.png)"),
        (_rename, "1 of 2 image files are missing, the first is elsewhere.png"),
    ],
)
def test_bad_annotations(refused, annotate, tiny_weights, tmp_path, change, message):
    path = annotate(tmp_path, change)
    error = refused("evaluate", "--data", path, "--weights", tiny_weights)
    assert error.startswith(f"fcis: {path}: ") and message in error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"", "the file is empty (0 bytes)"),
        (b"[]", "expected a COCO dictionary"),
    ],
)
def test_files_that_are_no_annotations(refused, tiny_weights, tmp_path, content, message):
    path = tmp_path / "data.json"
    path.write_bytes(content)
    assert message in refused("evaluate", "--data", path, "--weights", tiny_weights)


def test_a_bad_image_is_named(refused, annotate, tiny_weights, tmp_path):
    path = annotate(tmp_path)
    bad = tmp_path / "images" / "1.png"
    bad.write_bytes(bad.read_bytes()[:100])
    error = refused("evaluate", "--data", path, "--weights", tiny_weights)
    assert f"fcis: {bad}: the image is truncated or damaged" in error


def test_other_categories_are_refused(refused, annotate, tiny_weights, tmp_path):
    path = annotate(tmp_path, names=["cell"])
    error = refused("evaluate", "--data", path, "--weights", tiny_weights)
    assert (
        f"fcis: {path}: its categories (cell) are not those of the weights (disc, square, " in error
    )


# --- bad weights ----------------------------------------------------------------------------


def rewritten(source, target, change):
    """Copy a weights file with changed arrays and description."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(source, framework="pt") as file:
        entry = json.loads(file.metadata()["fcis"])
    arrays = load_file(source)
    metadata = change(arrays, entry)
    save_file(arrays, target, metadata=metadata or {"fcis": json.dumps(entry)})
    return target


def _foreign(arrays, entry):
    return {"format": "pt"}


def _broken(arrays, entry):
    return {"fcis": "{"}


def _shorter(arrays, entry):
    del arrays["head.reduction.weight"]


def _wider(arrays, entry):
    entry["model"]["backbone"]["widths"] = [8, 12, 16, 32]


def _unknown(arrays, entry):
    entry["model"]["backbone"]["kind"] = "vit"


def _keyless(arrays, entry):
    del entry["recipe"]


def _threshold(arrays, entry):
    entry["thresholds"] = [0.5]


def _fewer_ids(arrays, entry):
    entry["model"]["category_ids"] = [1]


def _format(arrays, entry):
    entry["format"] = 99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_foreign, "has no description by fcis; give weights that fcis has trained"),
        (_broken, "its description is damaged; fetch or train it anew"),
        (_keyless, "its description is damaged; fetch or train it anew"),
        (_threshold, "has 1 thresholds for 8 categories; fetch or train it anew"),
        (_fewer_ids, "w.safetensors: model.category_ids: is (1,), expected one id a category"),
        (_format, "format 99 is not known; update fcis"),
        (_shorter, "does not fit the model (head.reduction.weight is missing)"),
        (_wider, "does not fit the model ("),
        (_unknown, "unknown field 'kind'"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "predict", "info"])
def test_weights_that_do_not_fit(
    refused, annotate, tiny_weights, tmp_path, command, change, message
):
    path = annotate(tmp_path)
    weights = rewritten(tiny_weights, tmp_path / "w.safetensors", change)
    if command == "info" and change in (_shorter, _wider):
        return  # reads no arrays
    arguments = {
        "evaluate": ["--data", path, "--weights", weights],
        "predict": [path, "--out", tmp_path / "out", "--weights", weights],
        "info": [weights],
    }
    error = refused(command, *arguments[command])
    assert error.startswith(f"fcis: {weights}: ") and message in error


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip archive", None])
def test_files_that_are_no_weights(refused, annotate, tiny_weights, tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(tiny_weights.read_bytes()[:-1000] if content is None else content)
    error = refused("evaluate", "--data", annotate(tmp_path), "--weights", path)
    assert f"{path}: not a safetensors file or damaged" in error


def test_missing_weights_and_empty_run_folders(refused, annotate, tmp_path):
    data = annotate(tmp_path)
    error = refused("evaluate", "--data", data, "--weights", tmp_path / "w")
    assert f"{tmp_path / 'w'}: no such weights; give nuclei (" in error
    assert ", a .safetensors file, a run folder, " in error
    error = refused("evaluate", "--data", data, "--weights", tmp_path)
    assert f"{tmp_path}: this folder has no best.safetensors; give a run folder whose" in error


def test_the_confusion_matrix_as_a_picture(fcis, annotate, tiny_weights, tmp_path, perfect):
    path = annotate(tmp_path)
    picture = tmp_path / "deep" / "confusion.png"
    code, out, _ = fcis(
        "evaluate", "--data", path, "--weights", tiny_weights, "--confusion", picture
    )
    assert code == 0 and out.endswith(f"confusion matrix: {picture}\n")
    assert "annotated, found" in out
    with Image.open(picture) as image:
        assert min(image.size) > 300


def test_a_picture_that_cannot_be_written(refused, annotate, tiny_weights, tmp_path, monkeypatch):
    data = annotate(tmp_path)
    wrong = tmp_path / "confusion.txt"
    monkeypatch.setattr(Predictor, "detect", None)
    error = refused("evaluate", "--data", data, "--weights", tiny_weights, "--confusion", wrong)
    assert f"--confusion {wrong}: must end in .png, .pdf, .svg" in error

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    matrix = Confusion(names=("a", "background"), counts=np.zeros((2, 2), dtype=np.int64))
    with pytest.raises(InputError, match=r"c\.png: cannot be written \(No space left on device\)"):
        write_picture(tmp_path / "c.png", draw_confusion(matrix))


@pytest.mark.parametrize("option", ["--json", "--predictions", "--confusion", "--reliability"])
def test_unwritable_files_are_refused_before_the_work(
    refused, annotate, tiny_weights, tmp_path, option, monkeypatch
):
    monkeypatch.setattr(Predictor, "detect", None)
    data = annotate(tmp_path)
    below = data / "below" / "file.json"
    error = refused("evaluate", "--data", data, "--weights", tiny_weights, option, below)
    assert f"{option} {below}: cannot be written (" in error
    error = refused("evaluate", "--data", data, "--weights", tiny_weights, option, tmp_path)
    assert f"{option} {tmp_path}: is a folder; name a file in it" in error


def test_scales_mirror_image_and_ensemble(fcis, annotate, tiny_weights, tmp_path):
    path, figures = annotate(tmp_path), tmp_path / "figures.json"
    code, out, err = fcis(
        "evaluate", "--data", path, "--weights", tiny_weights, tiny_weights, "--flip",
        "--scales", "1x,1.5x", "--roi-side", 40, "--json", figures,
    )  # fmt: skip
    assert (code, err) == (0, "") and "s an image" in out
    assert json.loads(figures.read_text())["seconds_per_image"] > 0


def test_images_in_tiles(fcis, annotate, tiny_weights, tmp_path):
    """A tile may have as many detections as the recipe says, and the image that of all tiles."""
    found = tmp_path / "found.json"
    arguments = ("evaluate", "--data", "scenes:1:3", "--weights", tiny_weights)
    code, out, _ = fcis(*arguments, "--tile", 100, "--predictions", found)
    assert code == 0
    most = int(out.split("at most ")[1].split()[0])
    results = json.loads(found.read_text())
    assert most > 20 and most % 20 == 0 and 20 < len(results) <= most
    assert len({tuple(r["segmentation"]["size"]) for r in results}) == 1
    code, out, _ = fcis(*arguments, "--tile", 4096)
    assert code == 0 and "at most 20 detections" in out


def test_tiles_that_make_no_sense(refused, tiny_weights):
    arguments = ("evaluate", "--data", "scenes:1:3", "--weights", tiny_weights)
    assert "--overlap 9: is for tiles; add --tile SIZE" in refused(*arguments, "--overlap", 9)
    assert "tile 9: expected the side" in refused(*arguments, "--tile", 9)
