"""Weights and runs of earlier versions open, find what they found, and go on."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from fcis.core.masks import mask_from_rle
from fcis.data.formats.coco import read_coco
from fcis.inference.predictor import load_predictor
from fcis.inference.preprocess import collate
from fcis.recipe.as_json import from_json
from fcis.recipe.types import Recipe
from fcis.training.run import train

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())
# of those that go on: two stages, and an average of the weights
QUICK = ("mnc", "fcis-align-ema")
STOPPED = [name for name in EXPECTED if (HERE / "trainings" / name / "last.ckpt").is_file()]

# Machines differ in the last digits of a sum, and a score a digit lower may change places.
TOLERANCE = 1e-4
LEAST_OVERLAP = 0.9
LEAST_SHARE = 0.9  # of the detections that must be there again


def sample(values):
    """Return fifty numbers of a tensor, evenly apart."""
    flat = values.detach().double().flatten()
    return flat[:: max(1, len(flat) // 50)][:50].tolist()


def overlap(one, two):
    one, two = (mask_from_rle(entry["segmentation"]) for entry in (one, two))
    return (one & two).sum() / max(1, (one | two).sum())


def is_there(wanted, found):
    return any(
        entry["category_id"] == wanted["category_id"]
        and abs(entry["score"] - wanted["score"]) < 1e-3
        and overlap(entry, wanted) > LEAST_OVERLAP
        for entry in found
    )


def test_there_is_a_run_of_every_system():
    assert {"mnc", "naive-mnc", "instfcn-rfcn", "fcis-separate"} <= set(STOPPED)
    assert sum(f.stat().st_size for f in HERE.rglob("*") if f.is_file()) < 5 * 2**20


@pytest.mark.parametrize("name", EXPECTED)
def test_weights_find_what_they_found(name):
    predictor = load_predictor(HERE / "trainings" / name / "best.safetensors")
    for expected in EXPECTED[name]["images"]:
        image = predictor.read(HERE / "val" / "images" / expected["file"])
        prepared = predictor.prepare(image)
        batch = collate([(prepared.pixels, prepared.plan)], [image.shape[:2]])
        with torch.inference_mode():
            output, _ = predictor.model(batch)
        for values, wanted in (
            (output.logits, expected["logits"]),
            (output.deltas, expected["deltas"]),
        ):
            np.testing.assert_allclose(sample(values), wanted, rtol=TOLERANCE, atol=TOLERANCE)
        found = predictor.detect([image])[0].to_coco()
        assert abs(len(found) - expected["count"]) <= 1
        again = [is_there(wanted, found) for wanted in expected["found"]]
        assert sum(again) >= LEAST_SHARE * len(again)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in STOPPED],
)
def test_a_stopped_run_goes_on(name, tmp_path):
    folder = tmp_path / name
    shutil.copytree(HERE / "trainings" / name, folder)
    recipe = from_json(Recipe, json.loads((folder / "recipe.json").read_text()), name)
    sets = [read_coco(HERE / part / "annotations.json") for part in ("train", "val")]
    result = train(recipe, *sets, folder, resume=True)
    assert (result.steps, result.images) == (12, 4 * recipe.training.accumulate)
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(EXPECTED[name]["rows"]) >= 3
    for row, wanted in zip(rows, EXPECTED[name]["rows"], strict=True):
        for column, value in wanted.items():
            assert float(row[column]) == pytest.approx(float(value), rel=1e-3, abs=TOLERANCE)
