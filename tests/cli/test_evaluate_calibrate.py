"""`fcis evaluate --calibrate`: what it stores, what predictions make of it, what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fcis.core.masks import MaskCrop
from fcis.imaging.instances import Instances
from fcis.inference.predictor import Predictor, load_predictor
from fcis.model.fcis import FCIS
from fcis.weights import catalog
from fcis.weights.weights_file import read_arrays, read_info, rewrite_info

CORNERS = [(x, y) for x in range(0, 60, 10) for y in range(0, 40, 10)]
# of each score: how many of the 24 detections of an image have it, and how many of these are right
SCORES = {0.95: (12, 6), 0.3: (8, 1), 0.01: (4, 0)}


@pytest.fixture
def data(annotate, tmp_path):
    """Two images with 24 squares each, all of the first category."""

    def squares(data):
        (first, second) = data["annotations"]
        data["annotations"] = [
            base
            | {
                "id": n + 100 * base["id"],
                "bbox": [x, y, 8, 8],
                "area": 64,
                "segmentation": [[x, y, x + 8, y, x + 8, y + 8, x, y + 8]],
            }
            for base in (first, second)
            for n, (x, y) in enumerate(CORNERS)
        ]

    return annotate(tmp_path / "data", squares, category_ids=list(range(60, 52, -1)))


@pytest.fixture
def network(monkeypatch):
    """Make the network find squares, some of them beside those that are there, as in `SCORES`."""

    def detect(self, batch):
        scores, crops = [], []
        places = iter(CORNERS)
        for score, (count, right) in SCORES.items():
            for n in range(count):
                x, y = next(places)
                shift = 0 if n < right else 4
                size = (min(8, 48 - y - shift), 8)
                bits = np.ones(size, dtype=bool)
                scores.append(score)
                crops.append(MaskCrop(top=y + shift, left=x + min(shift, 56 - x), bits=bits))
        found = Instances(
            size=(48, 64),
            scores=np.array(scores, dtype=np.float32),
            labels=np.ones(len(scores), dtype=np.int64),
            crops=tuple(crops),
            class_names=("background", *self.recipe.class_names),
            category_ids=(0, *self.recipe.category_ids),
        )
        return [found] * len(batch.sizes)

    monkeypatch.setattr(FCIS, "detect", detect)


@pytest.fixture
def weights(tiny_weights, tmp_path):
    """A file of one's own, with room for all detections of the network."""
    info = read_info(tiny_weights)
    detection = replace(info.model.detection, max_detections=30)
    path = tmp_path / "own" / "best.safetensors"
    path.parent.mkdir()
    rewrite_info(tiny_weights, path, replace(info, model=replace(info.model, detection=detection)))
    return path


@pytest.mark.parametrize("as_run", [False, True])
def test_calibration_is_stored_and_used(fcis, data, weights, network, tmp_path, as_run):
    before, arrays = read_info(weights), read_arrays(weights)
    figures, found = tmp_path / "figures.json", tmp_path / "found.json"
    picture = tmp_path / "reliability.png"
    code, out, err = fcis(
        "evaluate", "--data", data, "--weights", weights.parent if as_run else weights,
        "--calibrate", "--json", figures, "--predictions", found, "--reliability", picture,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "calibration  temperature " in fcis("info", weights)[1]
    assert f"weights: {weights}\n" in out and f"reliability: {picture}\n" in out
    assert "calibration on 48 detections, 14 right: temperature " in out
    entry = json.loads(figures.read_text())["calibration"]
    assert entry["before"]["per_class"]["disc"] == {"threshold": 0.9, "f1": pytest.approx(2 / 6)}
    assert entry["after"]["ece"] < 0.1 < entry["before"]["ece"]
    info = read_info(weights)
    assert info.calibration is not None and info.calibration.to_json() == {
        k: entry[k] for k in ("temperature", "bias")
    }
    assert (info.model, info.metrics, info.training_data) == (
        before.model, before.metrics, before.training_data,
    )  # fmt: skip
    after = read_arrays(weights)
    assert arrays.keys() == after.keys() and all(arrays[k].equal(after[k]) for k in arrays)
    # the best cut lets the twelve of 0.95 pass, of which six are right
    (score,) = load_predictor(weights).info.calibration.apply(np.array([0.95], dtype=np.float32))
    assert info.thresholds[0] == entry["after"]["per_class"]["disc"]["threshold"] == score
    assert info.thresholds[1:] == (0.5,) * 7
    assert score == pytest.approx(0.5, abs=0.1)
    scores = {d["score"] for d in json.loads(found.read_text())}
    assert len(scores) == 3 and max(scores) == score
    with Image.open(picture) as image:
        assert min(image.size) > 300
    image = tmp_path / "data" / "images" / "0.png"
    shown = load_predictor(weights).predict(image)
    assert len(shown) == 12 and set(shown.scores.tolist()) == {float(score)}


def test_a_copy_has_it_and_the_weights_do_not(fcis, data, weights, network, tmp_path):
    before, copy = weights.read_bytes(), tmp_path / "new" / "copy.safetensors"
    arguments = ("evaluate", "--data", data, "--weights")
    code, out, _ = fcis(*arguments, weights, "--calibrate", "--out", copy)
    assert code == 0 and out.endswith(f"weights: {copy}\n")
    assert weights.read_bytes() == before and read_info(copy).calibration is not None
    # the copy gives the figures that were printed, and calibrating it finds the same
    _, again, _ = fcis(*arguments, copy)
    assert again.splitlines()[1:] == out.splitlines()[1 : len(again.splitlines())]
    first = read_info(copy)
    assert fcis(*arguments, copy, "--calibrate")[0] == 0
    assert read_info(copy) == first


def test_settings_of_one_evaluation_are_not_stored(fcis, data, weights, network):
    model = read_info(weights).model
    arguments = ("--data", data, "--weights", weights, "--size", "64", "--calibrate")
    assert fcis("evaluate", *arguments)[0] == 0
    info = read_info(weights)
    assert info.model == model and info.calibration is not None


def test_how_honest_scores_are_without_changing_them(fcis, data, weights, network, tmp_path):
    before, picture = weights.read_bytes(), tmp_path / "reliability.png"
    code, out, _ = fcis("evaluate", "--data", data, "--weights", weights, "--reliability", picture)
    assert code == 0 and out.endswith(f"reliability: {picture}\n") and picture.is_file()
    assert "calibration" not in out and weights.read_bytes() == before


def test_too_little_to_calibrate_on_changes_nothing(refused, annotate, weights, network, tmp_path):
    before = weights.read_bytes()
    path = annotate(tmp_path / "few")
    error = refused("evaluate", "--data", path, "--weights", weights, "--calibrate")
    assert "calibration: 0 detections are right and 48 wrong, expected at least 10 of" in error
    assert weights.read_bytes() == before


def test_weights_that_are_not_a_file_of_ones_own(
    refused, fcis, data, weights, network, monkeypatch
):
    monkeypatch.setattr(catalog, "zoo", lambda: {"small": weights})
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "detect", None)
        error = refused("evaluate", "--data", data, "--weights", "small", "--calibrate")
        assert (
            "--calibrate: small is not a file of yours; add --out FILE.safetensors for a" in error
        )
        patch.setattr(catalog, "from_hub", lambda name: weights)
        error = refused("evaluate", "--data", data, "--weights", "hf://a/b", "--calibrate")
        assert "--calibrate: hf://a/b is not a file of yours; add --out FILE.safetensors" in error
    before = weights.read_bytes()
    out = weights.with_name("copy.safetensors")
    arguments = ("--data", data, "--weights", "small", "--calibrate", "--out", out)
    assert fcis("evaluate", *arguments)[0] == 0
    assert read_info(out).calibration is not None and weights.read_bytes() == before


def test_weights_that_cannot_be_written(refused, data, weights, monkeypatch):
    monkeypatch.setattr(Predictor, "detect", None)
    monkeypatch.setattr("fcis.inference.calibrate.os.access", lambda path, mode: path != weights)
    error = refused("evaluate", "--data", data, "--weights", weights, "--calibrate")
    assert f"--calibrate: {weights} cannot be written; add --out FILE.safetensors for a" in error


def test_several_weights_are_refused(refused, data, weights, monkeypatch):
    monkeypatch.setattr(Predictor, "detect", None)
    arguments = ("--data", data, "--weights", weights, "--weights", weights, "--calibrate")
    error = refused("evaluate", *arguments)
    assert (
        "--calibrate: is for one network, and there are several --weights; calibrate the" in error
    )


def test_copies_that_make_no_sense(refused, data, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(Predictor, "detect", None)
    arguments = ("evaluate", "--data", data, "--weights", weights, "--out")
    error = refused(*arguments, tmp_path / "a.safetensors")
    assert "a.safetensors: is where --calibrate writes; add --calibrate" in error
    error = refused(*arguments, tmp_path / "a.pt", "--calibrate")
    assert "a.pt: must end in .safetensors" in error
    error = refused(*arguments, data / "below" / "a.safetensors", "--calibrate")
    assert "a.safetensors: cannot be written (" in error


def test_an_ensemble_is_not_calibrated(refused, data, tiny_weights):
    weights = ("--weights", tiny_weights, "--weights", tiny_weights)
    error = refused("evaluate", "--data", data, *weights, "--calibrate")
    assert "--calibrate: is for one network, and there are several --weights" in error
