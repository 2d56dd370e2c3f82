import json
import os
import signal
from dataclasses import replace

import pytest
import torch

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.inference.predictor import load_predictor
from fcis.recipe.as_json import from_json
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Augmentation, Recipe
from fcis.training import run
from fcis.training.run import for_dataset, train
from fcis.training.state import AVERAGE
from fcis.training.validating import Judge
from fcis.weights.weights_file import read_info

from .conftest import dataset_of
from .run_cases import PowerCut, assert_same_run, rows_of, stopping_at, with_training


@pytest.fixture(scope="module")
def whole(tmp_path_factory, short_recipe, small_set, small_val):
    """A run that was not stopped; its folder must stay as it is."""
    return train(short_recipe, small_set, small_val, tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.parametrize("stops", [(2, 7), (3, 5), (6, 6)])
def test_a_resumed_run_is_the_run_that_was_never_stopped(
    tmp_path, monkeypatch, whole, short_recipe, small_set, small_val, stops
):
    folder = tmp_path / "torn"
    for step in stops:  # 2: before the first checkpoint; 6, twice: just before the second
        with monkeypatch.context() as patch:
            stopping_at(patch, step, PowerCut())
            with pytest.raises(PowerCut):
                train(short_recipe, small_set, small_val, folder, resume=True)
    resumed = train(short_recipe, small_set, small_val, folder, resume=True)
    assert_same_run(whole.folder, folder)
    assert (resumed.best, resumed.best_step) == (whole.best, whole.best_step)


def test_what_a_run_leaves(whole, short_recipe, small_set):
    result, folder = whole, whole.folder
    names = {
        "best.safetensors",
        "last.ckpt",
        "recipe.json",
        "metrics.csv",
        "tensorboard",
        "curves.png",
        "pictures",
    }
    assert set(os.listdir(folder)) == names
    recipe = from_json(Recipe, json.loads((folder / "recipe.json").read_text()), "recipe")
    assert recipe == short_recipe
    info = read_info(folder / "best.safetensors")
    assert info.model == short_recipe.model and info.recipe == "tiny"
    assert len(info.thresholds) == 8 and all(0 <= t <= 1 for t in info.thresholds)
    assert dict(info.metrics).keys() == {"AP", "AP50", "AP75", "dsb@0.50"}
    assert dict(info.metrics)["AP"] == result.best
    sheets = sorted(os.listdir(folder / "pictures"))
    assert sheets == ["step-000005.png", "step-000008.png"]
    assert (result.recipe, result.steps, result.images) == (short_recipe, 8, 16)
    assert not result.stopped_early
    objects = sum(len(r.annotations) for r in small_set.images)
    assert info.training_data == f"scenes:5:1: 5 images, {objects} objects"
    assert result.seconds > 0 and result.new_arrays == ()
    rows = rows_of(folder)
    assert [(r["step"], bool(r["loss"]), bool(r["val_AP"])) for r in rows] == [
        ("5", False, True), ("8", True, False), ("8", False, True)
    ]  # fmt: skip
    assert result.best_step in (5, 8)


def test_the_best_file_alone_is_enough_to_predict(tmp_path, short_recipe, small_set, small_val):
    train(with_training(short_recipe, steps=2), small_set, small_val, tmp_path / "run")
    alone = tmp_path / "elsewhere.safetensors"
    (tmp_path / "run" / "best.safetensors").rename(alone)
    predictor = load_predictor(alone, fold=False)
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in predictor.model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[f"model.{name}"]), name
    (found,) = predictor.detect([small_val.images[0].read()])
    assert found.class_names[1:] == short_recipe.model.class_names


def test_a_finished_run_resumed_changes_nothing(whole, short_recipe, small_set, small_val):
    before = {p: p.read_bytes() for p in whole.folder.iterdir() if p.is_file()}
    again = train(short_recipe, small_set, small_val, whole.folder, resume=True)
    assert (again.best, again.best_step) == (whole.best, whole.best_step)
    assert (again.images, again.steps, again.stopped_early) == (0, 8, False)
    assert {p: p.read_bytes() for p in whole.folder.iterdir() if p.is_file()} == before


def test_the_same_seed_gives_the_same_run_and_workers_change_nothing(
    tmp_path, whole, short_recipe, small_set, small_val
):
    train(with_training(short_recipe, workers=1), small_set, small_val, tmp_path / "again")
    assert_same_run(whole.folder, tmp_path / "again")
    train(with_training(short_recipe, seed=1), small_set, small_val, tmp_path / "other")
    first, other = (rows_of(f)[1] for f in (whole.folder, tmp_path / "other"))
    assert first["loss"] != other["loss"]


def test_a_recipe_takes_the_categories_of_the_data(short_recipe, small_set):
    recipe = for_dataset(short_recipe, dataset_of([]))
    assert recipe.model.class_names == ("r", "g", "b")
    assert recipe.model.category_ids == (10, 20, 30)
    assert replace(recipe, model=short_recipe.model) == short_recipe
    with pytest.raises(InputError, match="nothing: has no categories; add them"):
        for_dataset(short_recipe, Dataset(name="nothing", categories=(), images=()))


def test_interrupting_is_interrupting(tmp_path, monkeypatch, short_recipe, small_set, small_val):
    stopping_at(monkeypatch, 4, KeyboardInterrupt())
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(short_recipe, small_set, small_val, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture(scope="module")
def watched(short_recipe):
    """The short run with all that may be looked at; every second validation is no better."""
    return with_training(
        short_recipe, ema=0.9, metric="loss", patience=3, validation_loss=True, validate_every=2
    )


@pytest.mark.slow
def test_a_resumed_run_with_averaged_weights_is_the_run_that_was_never_stopped(
    tmp_path, monkeypatch, watched, short_recipe, small_set, small_val
):
    result = train(watched, small_set, small_val, tmp_path / "whole")
    for step in (2, 4, 7):  # 4: after a validation, before a checkpoint
        with monkeypatch.context() as patch:
            stopping_at(patch, step, PowerCut())
            with pytest.raises(PowerCut):
                train(watched, small_set, small_val, tmp_path / "torn", resume=True)
    resumed = train(watched, small_set, small_val, tmp_path / "torn", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "torn")
    assert (resumed.best, resumed.best_step) == (result.best, result.best_step)
    state = torch.load(tmp_path / "whole" / "last.ckpt", weights_only=True)
    plain = train(short_recipe, small_set, small_val, tmp_path / "plain")
    other = torch.load(plain.folder / "last.ckpt", weights_only=True)
    assert AVERAGE not in other
    differs = 0
    for name, value in other["state_dict"].items():  # being watched changes nothing
        assert torch.equal(state["state_dict"][name], value), name
        differs += not torch.equal(state[AVERAGE][name.removeprefix("model.")], value)
    assert differs > 20
    rows = [r for r in rows_of(tmp_path / "whole") if r["val_loss"]]
    assert [r["step"] for r in rows] == ["2", "4", "6", "8"]
    assert min(float(r["val_loss"]) for r in rows) == pytest.approx(result.best, rel=1e-5)


def test_the_averaged_weights_are_validated_and_kept(tmp_path, short_recipe, small_set, small_val):
    recipe = with_training(short_recipe, steps=2, ema=0.9)
    train(recipe, small_set, small_val, tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    best = load_predictor(tmp_path / "best.safetensors", fold=False).model.state_dict()
    latest = 0
    for name, value in best.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[AVERAGE][name]), name
            latest += torch.equal(value, state["state_dict"][f"model.{name}"])
    assert latest < len(best) / 2


def without_progress(monkeypatch):
    """Make all validations find the same figures."""
    validate = Judge.validate

    def same(self):
        return dict.fromkeys(validate(self), 0.25)

    monkeypatch.setattr(Judge, "validate", same)


def test_a_run_that_stopped_early_does_not_go_on_by_itself(
    tmp_path, monkeypatch, short_recipe, small_set, small_val
):
    recipe = with_training(short_recipe, patience=2, validate_every=1)
    with monkeypatch.context() as patch:
        without_progress(patch)
        result = train(recipe, small_set, small_val, tmp_path / "run")
        assert result.stopped_early and (result.steps, result.images) == (3, 6)
        assert (result.best, result.best_step) == (0.25, 1)
        before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
        again = train(recipe, small_set, small_val, tmp_path / "run", resume=True)
        assert again.stopped_early and (again.steps, again.images) == (3, 0)
        assert (again.best, again.best_step) == (0.25, 1)
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()} == before
    rows = rows_of(tmp_path / "run")
    assert [(r["step"], bool(r["loss"])) for r in rows][-2:] == [("3", True), ("3", False)]


@pytest.mark.slow
def test_a_run_that_stopped_early_can_be_told_to_go_on(
    tmp_path, monkeypatch, short_recipe, small_set, small_val
):
    """It ends with the weights of a run that was never stopped."""
    recipe = with_training(short_recipe, patience=1, validate_every=2)
    with monkeypatch.context() as patch:
        without_progress(patch)
        train(recipe, small_set, small_val, tmp_path / "run")
    patient = with_training(recipe, patience=0)
    gone_on = train(patient, small_set, small_val, tmp_path / "run", resume=True)
    assert (gone_on.steps, gone_on.stopped_early) == (8, False)
    whole = train(patient, small_set, small_val, tmp_path / "whole")
    one, two = (
        torch.load(f / "last.ckpt", weights_only=True)["state_dict"]
        for f in (gone_on.folder, whole.folder)
    )
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_an_open_batch_is_found_once(
    tmp_path, monkeypatch, caplog, short_recipe, small_set, small_val
):
    caplog.set_level("INFO", logger="fcis")
    recipe = with_training(short_recipe, batch=0, accumulate=1, steps=3, checkpoint_every=1)
    stopping_at(monkeypatch, 2, PowerCut())
    with pytest.raises(PowerCut):
        train(recipe, small_set, small_val, tmp_path)
    assert caplog.messages[0] == "batch: 4 images at a time on cpu"
    written = json.loads((tmp_path / "recipe.json").read_text())
    assert written["training"]["batch"] == 4
    monkeypatch.undo()
    monkeypatch.setattr(run, "with_batch", None)  # a second try could find another
    result = train(recipe, small_set, small_val, tmp_path, resume=True)
    assert (result.recipe.training.batch, result.images) == (4, 8)
    assert json.loads((tmp_path / "recipe.json").read_text()) == written
    train(with_training(recipe, batch=4), small_set, small_val, tmp_path, resume=True)


@pytest.mark.slow
def test_four_scenes_can_be_learnt_by_heart(tmp_path, small_set):
    """Detections, categories and masks of the training images, found again."""
    data = Dataset(name="four", categories=small_set.categories, images=small_set.images[:4])
    base = for_dataset(named_recipe("scenes"), data)
    recipe = with_training(
        base,
        steps=250,
        workers=0,
        augmentation=Augmentation(flip=0.0),
        optimiser=replace(base.training.optimiser, warmup_steps=20),
    )
    train(recipe, data, data, tmp_path / "run")
    metrics = dict(read_info(tmp_path / "run" / "best.safetensors").metrics)
    assert metrics["AP50"] > 0.9, metrics
    assert metrics["AP"] > 0.6, metrics
