"""A table of two small networks, its data, and trainings that take no time."""

from dataclasses import replace

import pytest

from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.lab.reproduce.rows import Plan, Row, Training
from fcis.lab.reproduce.running import Job
from fcis.lab.reproduce.sources import Sources
from fcis.model.build import build_model
from fcis.recipe.named import named_recipe
from fcis.training.run import BEST, RunResult
from fcis.weights.weights_file import WeightsInfo, save_weights


@pytest.fixture(scope="session")
def tiny():
    recipe = named_recipe("tiny")
    return replace(recipe, training=replace(recipe.training, steps=8))


@pytest.fixture
def plan(tiny):
    wide = replace(tiny, name="k1", model=replace(tiny.model, head=replace(tiny.model.head, k=1)))
    return Plan(
        table="table1",
        title="Table 1: two networks",
        base=tiny,
        metrics={"mAP_r@0.5": "mAP^r 0.5"},
        compared=("mAP_r@0.5",),
        reference="fcis",
        trainings=(Training(name="fcis-k1", recipe=wide), Training(name="fcis", recipe=tiny)),
        rows=(
            Row(name="fcis-k1", label="FCIS, k = 1", networks=("fcis-k1",), step_of="fcis-k1"),
            Row(name="fcis", label="FCIS", networks=("fcis",), step_of="fcis"),
        ),
    )


@pytest.fixture(scope="session")
def sources():
    return Sources(
        train=scene_dataset(3, 0, size=(64, 96)),
        val=scene_dataset(2, 1, size=(64, 96)),
        train_name="scenes:3:0",
        val_name="scenes:2:1",
    )


@pytest.fixture
def said():
    return []


@pytest.fixture
def job(plan, sources, said, tmp_path):
    return Job(
        plan=plan,
        sources=sources,
        seeds=(0, 1),
        folder=tmp_path / "table1",
        device="cpu",
        tell=said.append,
    )


class Trainer:
    """Stands in for `train`: writes the initial weights of a network, and notes its name."""

    def __init__(self):
        self.calls = []
        self.stop_at = None

    def __call__(self, recipe, train_set, val_set, folder, *, resume, device):
        call = (recipe.name, recipe.training.seed, folder.name)
        if self.stop_at == len(self.calls):
            raise KeyboardInterrupt
        self.calls.append(call)
        assert resume and device == "cpu"
        folder.mkdir(parents=True, exist_ok=True)
        info = WeightsInfo(model=recipe.model, recipe=recipe.name)
        save_weights(folder / BEST, build_model(recipe.model, seed=recipe.training.seed), info)
        steps = recipe.training.steps
        return RunResult(
            folder=folder,
            recipe=recipe,
            best=0.5,
            best_step=steps,
            steps=steps,
            images=steps * recipe.training.batch // 2,
            seconds=90.0,
            new_arrays=(),
        )


@pytest.fixture
def trained(monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr("fcis.lab.reproduce.running.train", trainer)
    return trainer
