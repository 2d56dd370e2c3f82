"""`fcis predict`: what it writes and says of good images."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from tests.cli.outputs import written

from fcis.inference.predictor import Predictor
from fcis.model.build import build_model
from fcis.weights.weights_file import (
    load_weights,
    read_info,
    rewrite_info,
    save_weights,
)


def test_folder_gives_results_and_overlays_by_path(predict, save, tmp_path):
    save(tmp_path / "in" / "a" / "1.png")
    save(tmp_path / "in" / "b" / "1.png", 40, 30, seed=1)
    code, out, err, results = predict(tmp_path / "in")
    assert (code, err) == (0, "")
    assert out == f"{len(results)} instances in 2 images: {tmp_path / 'out'}\n"
    assert written(tmp_path / "out") == [
        "a/1.overlay.png",
        "b/1.overlay.png",
        "predictions.json",
    ]
    assert {r["image_id"] for r in results} == {"a/1", "b/1"}
    assert {r["file_name"] for r in results} == {
        str(tmp_path / "in" / "a" / "1.png"),
        str(tmp_path / "in" / "b" / "1.png"),
    }
    for name, size in (("a/1", (64, 48)), ("b/1", (30, 40))):
        assert Image.open(tmp_path / "out" / f"{name}.overlay.png").size == size


def test_results_are_a_coco_list(predict, save, tmp_path):
    _, _, _, results = predict(save(tmp_path / "x.png"))
    assert len(results) == 20  # the recipe's maximum
    scores = [r["score"] for r in results]
    assert scores == sorted(scores, reverse=True)
    for r in results:
        assert r.keys() == {
            "image_id",
            "category_id",
            "bbox",
            "segmentation",
            "score",
            "file_name",
        }
        assert r["segmentation"]["size"] == [48, 64]
        assert isinstance(r["segmentation"]["counts"], str)
        assert r["bbox"] == coco_mask.toBbox(r["segmentation"]).tolist()
        assert 1 <= r["category_id"] <= 8


def test_inputs_may_be_files_and_globs(predict, save, tmp_path):
    for name in ("a.png", "b.png", "c.jpg"):
        save(tmp_path / "in" / name)
    _, _, _, results = predict(tmp_path / "in" / "*.png", tmp_path / "in" / "c.jpg")
    assert {r["image_id"] for r in results} == {"a", "b", "c"}


def test_save_chooses_what_is_written(predict, save, tmp_path):
    predict(save(tmp_path / "x.png"), "--save", "masks")
    assert written(tmp_path / "out") == ["x.masks.png"]
    numbers = np.asarray(Image.open(tmp_path / "out" / "x.masks.png"))
    assert numbers.dtype == np.uint16 and numbers.shape == (48, 64)
    assert 1 <= numbers.max() <= 20


def test_nothing_above_the_threshold_names_the_top_score(predict, save, tmp_path):
    path = save(tmp_path / "x.png")
    _, _, _, everything = predict(path)
    code, out, err, results = predict(path, everything=False)
    top = max(r["score"] for r in everything)
    assert (code, results) == (0, [])
    assert err == f"{path}: nothing reaches the threshold; the top score is {top:.3f}\n"
    assert out == f"0 instances in 1 image: {tmp_path / 'out'}\n"


def test_many_empty_images_are_counted_at_the_end(predict, save, tmp_path):
    for i in range(12):
        save(tmp_path / "in" / f"{i:02d}.png", 16, 16, seed=i)
    code, _, err, _ = predict(tmp_path / "in", everything=False)
    lines = err.splitlines()
    assert code == 0 and len(lines) == 11
    assert lines[-1].startswith("12 images in which nothing reaches the threshold; the top score")


@pytest.fixture
def eager_weights(tiny_weights, tmp_path):
    """Untrained weights that put out three instances at once, and show whatever they find."""
    info = read_info(tiny_weights)
    model = replace(info.model, detection=replace(info.model.detection, max_detections=3))
    path = tmp_path / "eager.safetensors"
    network = build_model(info.model)
    load_weights(tiny_weights, network)
    save_weights(path, network, replace(info, model=model, thresholds=(0.0,) * 8))
    return path


def test_as_many_as_the_weights_put_out_is_said(fcis, save, eager_weights, tmp_path):
    path = save(tmp_path / "x.png", 120, 160)
    command = ("predict", path, "--weights", eager_weights, "--out", tmp_path / "out")
    code, out, err = fcis(*command)
    assert (code, out) == (0, f"3 instances in 1 image: {tmp_path / 'out'}\n")
    assert err == (
        f"{path}: 3 instances, the most that these weights put out at once; for all there are, "
        "look in tiles: --tile SIZE\n"
    )
    # fewer than that; and tiles, which put out as many each
    assert "at once" not in fcis(*command, "--score-threshold", 0.99)[2]
    code, out, err = fcis(*command, "--tile", 64, "--overlap", 16)
    assert err == "" and int(out.split()[0]) > 3
    # nor where all three are shown because low scores were asked for
    rewrite_info(eager_weights, eager_weights, replace(read_info(eager_weights), thresholds=()))
    code, out, err = fcis(*command, "--score-threshold", 0)
    assert (code, err) == (0, "") and out.startswith("3 instances in 1 image")


def test_many_full_images_are_counted_at_the_end(fcis, save, eager_weights, tmp_path):
    for i in range(12):
        save(tmp_path / "in" / f"{i:02d}.png", 60, 80, seed=i)
    arguments = ("--weights", eager_weights, "--out", tmp_path / "out")
    lines = fcis("predict", tmp_path / "in", *arguments)[2].splitlines()
    assert len(lines) == 11 and lines[-1] == "12 images with the most instances at once"


def test_threshold_between_scores_divides_them(predict, save, tmp_path):
    path = save(tmp_path / "x.png")
    _, _, _, everything = predict(path)
    limit = everything[7]["score"]
    _, _, _, some = predict(path, "--score-threshold", repr(limit), everything=False)
    assert [r["score"] for r in some] == [r["score"] for r in everything if r["score"] >= limit]


def test_coco_file_gives_its_ids(predict, annotate, tmp_path):
    path = annotate(tmp_path / "set", category_ids=list(range(50, 58)))
    code, _, _, results = predict(path)
    assert code == 0
    assert {r["image_id"] for r in results} == {7, 9}
    assert {r["file_name"] for r in results} == {"0.png", "1.png"}
    assert {r["category_id"] for r in results} <= set(range(50, 58))
    assert written(tmp_path / "out") == ["0.overlay.png", "1.overlay.png", "predictions.json"]


def test_coco_file_without_annotations_and_categories(predict, annotate, tmp_path):
    def bare(data):
        del data["annotations"], data["categories"]

    path = annotate(tmp_path / "set", bare, ids=("left", "right"))
    moved = tmp_path / "elsewhere"
    (tmp_path / "set" / "images").rename(moved)
    code, _, _, results = predict(path, "--images", moved)
    assert code == 0
    assert {r["image_id"] for r in results} == {"left", "right"}
    assert {r["category_id"] for r in results} <= set(range(1, 9))


def test_scenes(predict, tmp_path):
    code, _, _, results = predict("scenes:1:3")
    assert code == 0 and {r["image_id"] for r in results} == {1}
    assert written(tmp_path / "out") == ["predictions.json", "scene-3-000000.overlay.png"]


def test_size_changes_what_the_network_sees(predict, save, tmp_path, monkeypatch):
    sizes = []
    detect = Predictor.detect

    def spy(self, images):
        prep = self.model.recipe.preprocessing
        sizes.append((prep.short_side, prep.long_side))
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    path = save(tmp_path / "x.png")
    for option in ("96", "96:120"):
        _, _, _, results = predict(path, "--size", option)
        assert results[0]["segmentation"]["size"] == [48, 64]
    assert sizes == [(96, 0), (96, 120)]


def test_without_weights_the_only_sensible_ones_are_taken(fcis, save, add_to_zoo, tmp_path):
    add_to_zoo("scenes", "drawn shapes")
    add_to_zoo("cells", "fluorescence")
    image, out = save(tmp_path / "x.png"), tmp_path / "out"
    code, _, err = fcis("predict", image, "--out", out, "--device", "cpu", "--score-threshold", 0)
    assert (code, err) == (0, "weights: cells (fluorescence); --weights names others\n")
    assert (out / "x.overlay.png").is_file()


def test_scales_mirror_image_and_ensemble(fcis, save, tiny_weights, tmp_path):
    path = save(tmp_path / "a.png", 80, 100)

    def scores(*arguments):
        out = tmp_path / "o"
        code, _, err = fcis(
            "predict", path, "--out", out, "--score-threshold", 0, "--save", "coco", *arguments
        )
        assert (code, err) == (0, "")
        return [r["score"] for r in json.loads((out / "predictions.json").read_text())]

    plain = scores("--weights", tiny_weights)
    assert scores("--weights", tiny_weights, tiny_weights) == plain
    assert scores("--weights", tiny_weights, "--scales", "1x") == plain
    tools = ("--scales", "0.5x,1.5x", "--roi-side", 30, "--flip")
    found = scores("--weights", tiny_weights, "--weights", tiny_weights, *tools)
    assert len(found) > 5 and found != plain
    tiled = scores("--weights", tiny_weights, *tools, "--tile", 64, "--overlap", 16)
    assert len(tiled) > 5 and tiled != found
