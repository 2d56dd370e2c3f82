"""`fcis train`: from arguments to a run folder, and what it refuses before it begins."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.training.results import result_of

from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.inference.predictor import load_predictor
from fcis.recipe.as_json import to_json
from fcis.recipe.named import RECIPES, named_recipe
from fcis.recipe.reading import read_recipe
from fcis.weights.weights_file import read_info

SCENES = ("--train", "scenes:4:1", "--val", "scenes:2:2")


@pytest.fixture
def calls(monkeypatch):
    """Record what would be trained, without training."""
    seen = []

    def train(recipe, train_set, val_set, folder, **options):
        seen.append((recipe, train_set, val_set, folder, options))
        return result_of(folder, recipe)

    monkeypatch.setattr("fcis.training.start.train", train)
    return seen


def test_defaults(fcis, calls):
    code, out, _ = fcis("train", *SCENES, "--recipe", "tiny", "--device", "cpu")
    assert code == 0
    ((recipe, train_set, val_set, folder, options),) = calls
    assert recipe.name == "tiny" and recipe.model.class_names[0] == "disc"
    assert (len(train_set), len(val_set), folder) == (4, 2, Path("runs/tiny"))
    assert options == {"weights": None, "resume": False, "device": "cpu", "watch": None}
    assert "training tiny on scenes:4:1: 4 images, run runs/tiny\n" in out
    assert "trained on 270 images in 1.5 min, 3 a second, validations included\n" in out
    assert "best mask AP 0.250 at step 3\n" in out
    assert "measure: fcis evaluate --data scenes:2:2 --weights runs/tiny\n" in out
    assert "try it:  fcis predict IMAGES --weights runs/tiny\n" in out


def test_options(fcis, calls, tiny_weights, tmp_path):
    code, _, _ = fcis(
        "train", *SCENES, "--recipe", "tiny", "--out", tmp_path, "--resume", "--weights",
        tiny_weights, "--set", "steps=7", "--set", "training.optimiser.lr=0.5",
    )  # fmt: skip
    assert code == 0
    ((recipe, _, _, folder, options),) = calls
    assert (recipe.training.steps, recipe.training.optimiser.lr) == (7, 0.5)
    assert (folder, options["resume"], options["weights"]) == (tmp_path, True, tiny_weights)


def test_weights_by_name(fcis, calls, add_to_zoo):
    path = add_to_zoo("small", "tests")
    assert fcis("train", *SCENES, "--recipe", "tiny", "--weights", "small")[0] == 0
    assert calls[0][4]["weights"] == path


def test_recipe_from_a_file(fcis, calls, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(to_json(named_recipe("tiny")) | {"name": "mine"}))
    assert fcis("train", *SCENES, "--recipe", path)[0] == 0
    assert (calls[0][0].name, calls[0][3]) == ("mine", Path("runs/mine"))
    assert read_recipe("scenes") == named_recipe("scenes")


def test_deep_images_are_read_with_the_percentiles_of_the_recipe(fcis, calls, annotate, tmp_path):
    path = annotate(tmp_path)
    code, _, _ = fcis(
        "train", "--train", path, "--val", "scenes:2:2", "--recipe", "tiny",
        "--set", "high_depth=[1, 99]",
    )  # fmt: skip
    assert code == 0
    assert {r.source.reading.percentiles for r in calls[0][1].images} == {(1.0, 99.0)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "best"], f"--recipe best: no such recipe; there are {', '.join(RECIPES)}"),
        (["--recipe", "none.json"], "none.json: cannot be read (No such file or directory)"),
        (["--recipe", "tiny", "--set", "steps"], "--set steps: expected KEY=VALUE"),
        (["--recipe", "tiny", "--set", "stepz=1"], "--set stepz: stepz is not in the recipe"),
        (
            ["--recipe", "tiny", "--set", "steps=many"],
            "--set training.steps: expected a whole number, got 'many'",
        ),
        (["--recipe", "tiny", "--set", "k=0"], "--set model.head.k: is 0, expected 1 to 64"),
        (["--recipe", "tiny", "--device", "cuda:x"], "device cuda:x: must be auto, cpu, cuda,"),
        (["--recipe", "tiny", "--weights", "none"], "none: no such weights; give nuclei ("),
        (["--recipe", "tiny", "--train", "photos"], "photos: no such file or folder"),
        (["--recipe", "tiny", "--val-images", "x"], "scenes have no image files"),
    ],
)
def test_bad_arguments(refused, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused("train", *SCENES, *arguments)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "mine.json: not valid JSON"),
        (b"\xff\xfe", "mine.json: not valid JSON"),
        (b"[1]", "mine.json: expected an object"),
        (b'{"name": "x", "color": 1}', "mine.json: unknown field 'color'"),
    ],
)
def test_bad_recipe_files(refused, tmp_path, content, message):
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    assert message in refused("train", *SCENES, "--recipe", path)


def test_the_same_scenes_twice_are_refused(refused):
    error = refused("train", "--train", "scenes:9:4", "--val", "scenes:2:4", "--recipe", "tiny")
    assert "training and validation scenes both have seed 4" in error


def test_unwritable_out(refused, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    error = refused("train", *SCENES, "--recipe", "tiny", "--out", out)
    assert (
        f"{out / 'recipe.json'}: cannot be written (" in error and "choose another --out" in error
    )


def test_one_file_for_both_is_warned_of(fcis, calls, annotate, tmp_path):
    path = annotate(tmp_path, names=["thing"])
    code, _, err = fcis("train", "--train", path, "--val", path, "--recipe", "tiny")
    assert code == 0
    assert err.startswith(f"fcis: warning: {path}: is used for training and for validation")
    assert err.count("\n") == 1


def test_train_predict_evaluate_and_resume(fcis, tmp_path):
    run = tmp_path / "run"
    arguments = ("train", *SCENES, "--recipe", "tiny", "--out", run, "--device", "cpu")
    code, out, _ = fcis(*arguments, "--set", "steps=6")
    assert code == 0 and f"weights: {run / 'best.safetensors'}\n" in out
    names = {p.name for p in run.iterdir()}
    assert {"best.safetensors", "last.ckpt", "recipe.json", "metrics.csv", "curves.png"} <= names
    code, _, err = fcis(*arguments, "--set", "steps=6")
    assert code == 2 and "holds a training run; go on with --resume" in err
    code, _, err = fcis(*arguments, "--set", "steps=8", "--resume")
    assert code == 2 and "the run was begun with training.steps = 6, not 8" in err
    assert fcis("evaluate", "--data", "scenes:2:2", "--weights", run)[0] == 0
    assert fcis("predict", "scenes:1:9", "--weights", run, "--out", tmp_path / "out")[0] == 0


def write_stacks(folder, dataset, pages):
    """Write scenes as 16-bit TIFFs with so many pages, and their annotations; return the latter."""
    (folder / "images").mkdir(parents=True)
    coco = dataset.to_coco()
    for record, entry in zip(dataset.images, coco["images"], strict=True):
        levels = record.read().astype(np.uint16)
        entry["file_name"] = f"{record.id}.tif"
        first, *others = (Image.fromarray(levels[:, :, i % 3] * (50 + i)) for i in range(pages))
        path = folder / "images" / entry["file_name"]
        first.save(path, save_all=True, append_images=others)
    (folder / "data.json").write_text(json.dumps(coco))
    return folder / "data.json"


def test_a_network_of_five_channels_learns_and_predicts(tmp_path, fcis):
    train, val = (
        write_stacks(tmp_path / name, scene_dataset(count, seed, size=(96, 96)), 5)
        for name, count, seed in (("train", 4, 1), ("val", 2, 2))
    )
    run = tmp_path / "run"
    data = ("--train", str(train), "--val", str(val), "--recipe", "tiny", "--device", "cpu")
    channels = ("--set", "backbone.in_channels=5", "--set", "steps=2")
    code, _, _ = fcis("train", *data, *channels, "--out", str(run))
    assert code == 0
    info = read_info(run / "best.safetensors")
    assert info.model.backbone.in_channels == len(info.model.preprocessing.mean) == 5
    code, _, _ = fcis("evaluate", "--data", str(val), "--weights", str(run), "--device", "cpu")
    assert code == 0
    out = tmp_path / "found"
    where = ("--weights", str(run), "--out", str(out), "--device", "cpu")
    code, _, _ = fcis("predict", str(val.parent / "images"), "--score-threshold", "0", *where)
    assert code == 0
    with Image.open(next(out.glob("*.overlay.png"))) as overlay:
        assert overlay.size == (96, 96) and overlay.mode == "RGB"
    array = np.zeros((96, 96, 5), dtype=np.uint16)
    assert load_predictor(run / "best.safetensors").predict(array).size == (96, 96)
    code, _, errors = fcis("predict", "scenes:1", *where)
    assert code == 2 and "has 3 channels, the network takes 5" in errors
