"""`fcis train`: from arguments to a run folder, and what it refuses before it begins."""

import json
from pathlib import Path

import pytest

from fcis.commands import train as command
from fcis.commands.train import read_recipe
from fcis.recipe_json import to_json
from fcis.recipes import RECIPES, named_recipe
from fcis.training.run import RunResult

SCENES = ("--train", "scenes:4:1", "--val", "scenes:2:2")


@pytest.fixture
def calls(monkeypatch):
    """Record what would be trained, without training."""
    seen = []

    def train(recipe, train_set, val_set, folder, **options):
        seen.append((recipe, train_set, val_set, folder, options))
        return RunResult(folder=folder, best_ap=0.25, best_step=3, seconds=90.0, new_arrays=())

    monkeypatch.setattr(command, "train", train)
    return seen


def test_defaults(fcis, calls):
    code, out, _ = fcis("train", *SCENES, "--recipe", "tiny", "--device", "cpu")
    assert code == 0
    ((recipe, train_set, val_set, folder, options),) = calls
    assert recipe.name == "tiny" and recipe.model.class_names[0] == "disc"
    assert (len(train_set), len(val_set), folder) == (4, 2, Path("runs/tiny"))
    assert options == {"weights": None, "resume": False, "device": "cpu"}
    assert "training tiny on scenes:4:1: 4 images, run runs/tiny\n" in out
    assert "best mask AP 0.250 at step 3, 1.5 min\n" in out
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
    assert {r.source.percentiles for r in calls[0][1].images} == {(1.0, 99.0)}


def test_new_arrays_are_said(tmp_path):
    result = RunResult(
        folder=tmp_path, best_ap=0.0, best_step=1, seconds=1.0, new_arrays=("a.b", "c")
    )
    first = command.summary(result).splitlines()[0]
    assert first == "began anew, because the given weights did not fit: a.b, c"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "best"], f"--recipe best: no such recipe; there are {', '.join(RECIPES)}"),
        (["--recipe", "none.json"], "none.json: cannot be read (No such file or directory)"),
        (["--recipe", "tiny", "--set", "steps"], "--set steps: expected KEY=VALUE"),
        (["--recipe", "tiny", "--set", "stepz=1"], "--set stepz: stepz is not in the recipe"),
        (
            ["--recipe", "tiny", "--set", "steps=many"],
            "--set steps: expected a whole number, got 'many'",
        ),
        (["--recipe", "tiny", "--set", "k=0"], "recipe: head.k is 0, expected at least 1"),
        (["--recipe", "tiny", "--device", "cuda:x"], "device cuda:x: must be auto, cpu, cuda,"),
        (["--recipe", "tiny", "--weights", "none"], "none: no such weights; give a .safetensors"),
        (["--recipe", "tiny", "--train", "photos"], "photos: not a known kind of data"),
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
    assert f"{out}: cannot be written (" in error and "choose another --out" in error


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
