"""The steps of a recipe, stage by stage, without an effect on the weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fcis.core.errors import InputError
from fcis.data.scenes.shape_scenes import CATEGORIES, scene_dataset
from fcis.lab.benchmark import training
from fcis.lab.benchmark.stopwatch import Stopwatch
from fcis.lab.benchmark.timing import Method
from fcis.lab.benchmark.training import (
    CASCADE,
    STAGES,
    Trainer,
    measured,
    open_data,
    run_training,
    with_unused_categories,
)
from fcis.recipe.as_json import with_setting
from fcis.recipe.named import named_recipe
from fcis.recipe.types import MNCRecipe
from fcis.training.run import for_dataset


@pytest.fixture(scope="module")
def dataset():
    return scene_dataset(3, 0, size=(64, 96))


@pytest.fixture(scope="module")
def recipe(dataset):
    tiny = with_setting(named_recipe("tiny"), "training.accumulate", "2")
    return for_dataset(measured(tiny, batch=1, workers=0), dataset)


@pytest.fixture(scope="module")
def report(recipe, dataset):
    # of 24 channels oneDNN of torch 2.14 has bfloat16 gradients that are not finite
    wide = with_setting(recipe, "backbone.widths", "[16, 16, 32, 32]")
    half = replace(with_setting(wide, "training.precision", "bfloat16"), name="half")
    return run_training([recipe, half], dataset, "cpu", Method(rounds=2), lambda text: None)


def test_every_stage_runs(report):
    steps = report.figures["steps"]
    for step, (_, times) in zip(steps, report.stages, strict=True):
        assert list(times.seconds) == list(step["stages"]) == list(STAGES)
        assert len(times.runs) == 2 and all(min(run.values()) > 0 for run in times.runs)
        assert step["images"] == 2
        rates = sorted(2 / sum(run.values()) for run in times.runs)
        assert step["images_per_second"]["median"] == pytest.approx(sum(rates) / 2)
        assert step["bytes"] > 0
    assert [step["precision"] for step in steps] == ["float32", "bfloat16"]


def test_a_step_trains_everything_and_moves_nothing(recipe, dataset, clock):
    stopwatch = Stopwatch(clock)
    trainer = Trainer(recipe, dataset, device="cpu", stopwatch=stopwatch)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    seen = []
    hook = trainer.model.head.classes.weight.register_post_accumulate_grad_hook(
        lambda p: seen.append(float(p.grad.abs().sum()))
    )
    trainer.step()
    hook.remove()
    assert len(seen) == 2 and min(seen) > 0
    for now, then in zip(trainer.model.parameters(), before, strict=True):
        assert torch.equal(now, then)


def test_a_loss_that_is_not_finite_is_reported(recipe, dataset, clock):
    trainer = Trainer(recipe, dataset, device="cpu", stopwatch=Stopwatch(clock))
    torch.nn.init.constant_(trainer.model.rpn.scores.bias, torch.nan)
    with pytest.raises(InputError, match=r"the loss rpn_class is not finite; look at this image"):
        trainer.step()


def test_steps_are_measured_in_turn_by_the_devices_clock(recipe, dataset, monkeypatch):
    made = []

    class Counted:
        def __init__(self, recipe, dataset, *, device):
            assert device == "cpu"
            self.name = recipe.name

        def step(self):
            made.append(self.name)

    monkeypatch.setattr(training, "Trainer", Counted)
    monkeypatch.setattr(training, "device_clock", lambda device: lambda: 0.25 * len(made))
    recipes = {"a": recipe, "b": replace(recipe, name="other")}
    method = Method(rounds=2, least_seconds=0.0)
    found = training.step_seconds(recipes, dataset, "cpu", method)
    assert found == {"a": [0.25, 0.25], "b": [0.25, 0.25]}
    assert made == 3 * ["tiny", "other"], "one to warm up, two measured"


def test_measured():
    base = named_recipe("tiny")
    assert measured(base, batch=None, workers=None) == base
    changed = measured(base, batch=3, workers=0).training
    assert (changed.batch, changed.workers) == (3, 0)
    fitting = replace(base, training=replace(base.training, batch=0))
    assert measured(fitting, batch=None, workers=None).training.batch == training.DEFAULT_BATCH


def test_unused_categories(dataset):
    known = len(CATEGORIES)
    many = with_unused_categories(dataset, known + 2)
    assert [c.name for c in many.categories[known:]] == [f"class {known + 1}", f"class {known + 2}"]
    assert with_unused_categories(dataset, 1).categories == dataset.categories


def test_json_and_tables(report):
    found = json.loads(json.dumps(report.to_json()))
    assert set(found) == {"settings", "steps"}
    assert set(found["steps"][0]) == {
        "recipe",
        "images",
        "precision",
        "workers",
        "images_per_second",
        "bytes",
        "stages",
        "total",
    }
    rates, first, second = (table.text() for table in report.tables)
    assert "| tiny   |             2 |   float32 |" in rates
    assert first.startswith("tiny, one step") and second.startswith("half, one step")
    assert "| backward " in first
    assert report.notes[0].startswith("medians of 2 steps")


def test_the_stages_of_mnc(recipe, dataset):
    mnc = MNCRecipe(feature_grid=4, mask_grid=8)
    recipe = replace(recipe, model=replace(recipe.model, system="mnc", mnc=mnc))
    report = run_training([recipe], dataset, "cpu", Method(rounds=1), lambda text: None)
    ((_, times),) = report.stages
    names = list(times.seconds)
    assert CASCADE in names and "assembly" not in names and "targets" in names


def test_data_to_train_on():
    assert len(open_data("scenes:3:1", None, classes=9, quick=True)) == 3
    assert len(open_data(None, None, classes=9, quick=True)) == 2
    assert len(open_data(None, None, classes=9, quick=False).categories) == 9
    with pytest.raises(InputError, match=r"--images belongs to the \.json of --data; give that"):
        open_data(None, Path("x"), classes=9, quick=True)
