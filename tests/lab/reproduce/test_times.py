"""Rows take turns, equal rows are measured once, and what was measured is kept."""

from dataclasses import replace

import pytest

from fcis.lab.benchmark import training
from fcis.lab.benchmark.products import system_operations
from fcis.lab.benchmark.timing import Method
from fcis.lab.reproduce import times
from fcis.lab.reproduce.paper import TEST_SECONDS, TRAIN_SECONDS
from fcis.lab.reproduce.rows import Row
from fcis.lab.reproduce.running import open_journal, train_missing
from fcis.lab.reproduce.times import measure_missing, operations, step_times
from fcis.lab.reproduce.times import test_times as times_at_test  # no test of its own
from fcis.recipe.types import MNCRecipe
from fcis.training.run import for_dataset


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(times, "METHOD", Method(rounds=2, least_seconds=0.0))


@pytest.fixture
def ready(job, trained, quick):
    train_missing(job, open_journal(job.folder))
    return job


def test_rows_take_turns_on_the_same_images(ready, monkeypatch):
    seen = []
    seconds = {"fcis": 0.25, "fcis-k1": 0.5}
    open_row = times.open_row

    def fake(job, row, seed):
        predictor = open_row(job, row, seed)

        def detect(images):
            seen.extend((row.name, image.shape) for image in images)

        monkeypatch.setattr(predictor, "detect", detect)
        return predictor

    monkeypatch.setattr(times, "open_row", fake)
    clock = lambda device: lambda: sum(seconds[name] for name, _ in seen)  # noqa: E731
    monkeypatch.setattr(times, "device_clock", clock)
    found = times_at_test(ready)
    assert found == {"fcis-k1": [0.5, 0.5], "fcis": [0.25, 0.25]}
    images = ["fcis-k1", "fcis-k1", "fcis", "fcis"]
    assert [name for name, _ in seen] == 3 * images, "a round to warm up, and two"
    assert {shape for _, shape in seen} == {(64, 96, 3)}


def test_equal_rows_are_measured_once(ready, monkeypatch):
    opened = []
    open_row = times.open_row

    def count(job, row, seed):
        opened.append(row.name)
        return open_row(job, row, seed)

    monkeypatch.setattr(times, "open_row", count)
    again = Row(name="again", label="again", networks=("fcis",), has_figures=False)
    job = replace(ready, plan=replace(ready.plan, rows=(*ready.plan.rows, again)))
    found = times_at_test(job)
    assert opened == ["fcis-k1", "fcis"]
    assert found["again"] == found["fcis"] != found["fcis-k1"]
    assert all(seconds > 0 for rounds in found.values() for seconds in rounds)


def test_the_time_of_a_step_is_that_of_its_images(ready, monkeypatch):
    made = []

    class Steps:
        def __init__(self, recipe, dataset, *, device):
            self.name = recipe.name

        def step(self):
            made.append(self.name)

    monkeypatch.setattr(training, "Trainer", Steps)
    monkeypatch.setattr(training, "device_clock", lambda device: lambda: 2.0 * len(made))
    four = {"batch": 2, "accumulate": 2}
    trainings = tuple(
        replace(t, recipe=replace(t.recipe, training=replace(t.recipe.training, **four)))
        for t in ready.plan.trainings
    )
    job = replace(ready, plan=replace(ready.plan, trainings=trainings))
    assert step_times(job) == {"fcis-k1": [0.5, 0.5], "fcis": [0.5, 0.5]}
    assert made == 3 * ["k1", "tiny"]


def test_times_are_measured_once(ready, monkeypatch, said):
    counted = []
    monkeypatch.setattr(times, "test_times", lambda job: counted.append(1) or {"fcis": [0.5]})
    monkeypatch.setattr(times, "step_times", lambda job: counted.append(2) or {"fcis": [1.5]})
    expected = {TEST_SECONDS: {"fcis": [0.5]}, TRAIN_SECONDS: {"fcis": [1.5]}}
    assert measure_missing(ready, open_journal(ready.folder)) == expected
    assert measure_missing(ready, open_journal(ready.folder)) == expected
    assert counted == [1, 2]
    assert sum("measuring" in text for text in said) == 2


def test_tables_without_steps_have_no_time_of_training(ready, monkeypatch):
    monkeypatch.setattr(times, "test_times", lambda job: {"fcis": [0.5]})
    rows = tuple(replace(row, step_of="") for row in ready.plan.rows)
    job = replace(ready, plan=replace(ready.plan, rows=rows))
    assert measure_missing(job, open_journal(job.folder)) == {TEST_SECONDS: {"fcis": [0.5]}}


def test_operations_are_those_of_the_first_image(job, tiny):
    assert operations(job) == {}
    small = MNCRecipe(feature_grid=2, mask_grid=4, mask_hidden=8)
    model = replace(tiny.model, system="mnc", mnc=small)
    mnc = replace(job.plan.trainings[0], recipe=replace(tiny, model=model))
    plan = replace(job.plan, trainings=(mnc, job.plan.trainings[1]), with_operations=True)
    found = operations(replace(job, plan=plan))
    for one, row in zip(plan.trainings, plan.rows, strict=True):
        recipe = for_dataset(one.recipe, job.sources.train).model
        known = system_operations(recipe, (64, 96), rois=recipe.rpn.post_nms)
        assert found[row.name] == known > 0
    assert found["fcis-k1"] > found["fcis"], "the network of each RoI"
