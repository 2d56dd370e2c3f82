"""From names to a run; all that is refused is tested with `fcis train`."""

from pathlib import Path

import pytest
from tests.training.results import result_of

from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.recipe.named import named_recipe
from fcis.training.start import start_training

SCENES = ("scenes:4:1", "scenes:2:2")


@pytest.fixture
def calls(monkeypatch):
    """Record what would be trained, without training."""
    seen = []

    def train(recipe, train_set, val_set, folder, **options):
        seen.append((recipe, train_set, val_set, folder, options))
        return result_of(folder, recipe)

    monkeypatch.setattr("fcis.training.start.train", train)
    return seen


def test_names_are_enough(calls, caplog):
    caplog.set_level("INFO", logger="fcis")
    result = start_training(named_recipe("tiny"), *SCENES, device="cpu")
    ((recipe, train_set, val_set, folder, options),) = calls
    assert result.folder == folder == Path("runs/tiny")
    assert recipe.model.class_names == tuple(c.name for c in train_set.categories)
    assert (len(train_set), len(val_set)) == (4, 2)
    assert options == {"weights": None, "resume": False, "device": "cpu", "watch": None}
    assert caplog.messages == ["training tiny on scenes:4:1: 4 images, run runs/tiny"]


def test_datasets_may_be_open_already(calls):
    train, val = scene_dataset(3, 1), scene_dataset(2, 2)
    start_training(named_recipe("tiny"), train, val, device="cpu", watch=print)
    ((_, train_set, val_set, _, options),) = calls
    assert (len(train_set), len(val_set)) == (3, 2) and options["watch"] is print


def test_as_many_devices_as_processes_were_started(calls, monkeypatch):
    started = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    start_training(named_recipe("tiny"), *SCENES, device="cpu")
    training = calls[0][0].training
    assert (training.devices, training.num_nodes) == (2, 2)
