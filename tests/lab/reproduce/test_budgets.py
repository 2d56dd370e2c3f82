"""From `--budget` to a number of steps."""

from dataclasses import replace

import pytest

from fcis.core.errors import InputError
from fcis.lab.reproduce import budgets
from fcis.lab.reproduce.budgets import (
    STEPS,
    base_recipe,
    read_budget,
    steps_for,
    with_steps,
)
from fcis.lab.reproduce.rows import TABLES
from fcis.lab.reproduce.running import open_journal
from fcis.recipe.named import coco_resnet101, named_recipe, voc_resnet101


@pytest.mark.parametrize(
    ("text", "budget"), [("cpu", "cpu"), ("full", "full"), ("20", 20.0), ("0.5", 0.5)]
)
def test_budgets_are_read(text, budget):
    assert read_budget(text) == budget


@pytest.mark.parametrize("text", ["", "gpu", "0", "-1", "nan", "inf"])
def test_other_budgets_are_refused(text):
    with pytest.raises(InputError, match="expected cpu, full, or the minutes of a training"):
        read_budget(text)


def test_full_is_the_papers_settings():
    voc = base_recipe("table1", "full", is_scenes=False)
    known = voc_resnet101()
    assert voc == replace(known, training=replace(known.training, validate_every=0))
    for table in TABLES[1:]:
        coco = base_recipe(table, "full", is_scenes=True)
        assert coco.model == coco_resnet101().model
        assert coco.training.steps == 236_000 and coco.training.targets.ohem


@pytest.mark.parametrize("table", TABLES)
def test_cpu_is_small(table):
    for is_scenes, name, steps in zip(
        (True, False), ("scenes", "nuclei-cpu"), STEPS[table], strict=True
    ):
        base = base_recipe(table, "cpu", is_scenes=is_scenes)
        assert base.model == named_recipe(name).model
        assert base.training.steps == steps
        assert base.training.augmentation.crop == 192
        assert base.training.targets == named_recipe(name).training.targets


def test_a_schedule_shrinks_with_its_steps():
    recipe = with_steps(voc_resnet101(), 1000)
    assert recipe.training.optimiser.milestones == (round(39_361 * 1000 / 61_842),)
    assert (recipe.training.validate_every, recipe.training.checkpoint_every) == (0, 250)
    few = with_steps(named_recipe("scenes"), 8).training
    assert (few.steps, few.optimiser.warmup_steps, few.checkpoint_every) == (8, 2, 2)
    known = coco_resnet101()
    same = with_steps(known, known.training.steps)
    assert same == replace(known, training=replace(known.training, validate_every=0))


@pytest.fixture
def stepping(monkeypatch):
    """Steps that seem to take as long as the recipe's name says."""
    asked = []

    def seconds(recipes, dataset, device, method):
        assert method.rounds == 5
        asked.extend(recipe.name for recipe in recipes.values())
        return {name: [float(recipe.name)] * 5 for name, recipe in recipes.items()}

    monkeypatch.setattr(budgets, "step_seconds", seconds)
    return asked


def steps_of(tiny, sources, folder, said, minutes=2.0):
    recipes = {name: replace(tiny, name=name) for name in ("0.5", "1.6")}
    journal = open_journal(folder)
    return steps_for(recipes, sources.train, minutes, journal, device="cpu", tell=said.append)


def test_minutes_become_steps_of_the_slowest_once(tiny, sources, tmp_path, said, stepping):
    assert steps_of(tiny, sources, tmp_path, said) == 75  # 120 s / 1.6 s
    assert stepping == ["0.5", "1.6"] and said == ["measuring 5 steps of 0.5, 1.6"]
    (line,) = open_journal(tmp_path).lines
    assert line["step_seconds"] == {"0.5": 0.5, "1.6": 1.6}
    assert steps_of(tiny, sources, tmp_path, said) == 75
    assert len(stepping) == 2, "measured again"


def test_a_short_time_still_trains(tiny, sources, tmp_path, said, stepping):
    assert steps_of(tiny, sources, tmp_path, said, minutes=0.001) == 2


def test_another_budget_is_refused(tiny, sources, tmp_path, said, stepping):
    steps_of(tiny, sources, tmp_path, said)
    with pytest.raises(InputError, match="was made with another recipe, budget or data"):
        steps_of(tiny, sources, tmp_path, said, minutes=3.0)
