"""Runs that begin with weights."""

from dataclasses import replace

import pytest
import torch

from fcis.core.errors import InputError
from fcis.inference.predictor import load_predictor
from fcis.training import run
from fcis.training.run import for_dataset, train
from fcis.weights.weights_file import read_info, save_weights

from .run_cases import with_training


@pytest.fixture
def trained(tmp_path, short_recipe, small_set, small_val):
    """Weights of a short run on eight categories."""
    train(with_training(short_recipe, steps=2), small_set, small_val, tmp_path / "first")
    return tmp_path / "first" / "best.safetensors"


def initial_state(monkeypatch, recipe, *arguments, **options):
    """The model that a run begins with, and the run's result without steps."""
    models = []
    monkeypatch.setattr(run, "run_loop", lambda _, state, *__: models.append(state.model))
    result = train(recipe, *arguments, **options)
    return models[0].state_dict(), result


def test_weights_of_the_same_categories_are_taken_over_whole(
    tmp_path, monkeypatch, short_recipe, small_set, small_val, trained
):
    state, result = initial_state(
        monkeypatch,
        with_training(short_recipe, seed=9),
        small_set,
        small_val,
        tmp_path / "b",
        weights=trained,
    )
    assert result.new_arrays == ()
    for name, value in load_predictor(trained, fold=False).model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(state[name], value), name


def test_weights_of_other_categories_keep_all_that_fits(
    tmp_path, monkeypatch, short_recipe, small_set, small_val, trained
):
    def renamed(dataset):
        categories = tuple(replace(c, name=c.name.upper()) for c in dataset.categories)
        return replace(dataset, categories=categories)

    data, val = renamed(small_set), renamed(small_val)
    recipe = for_dataset(with_training(short_recipe, seed=9), data)
    state, result = initial_state(monkeypatch, recipe, data, val, tmp_path / "b", weights=trained)
    assert result.new_arrays == ("head.classes.bias", "head.classes.weight")
    for name, value in load_predictor(trained, fold=False).model.state_dict().items():
        if name == "head.classes.weight":
            assert not torch.equal(state[name], value)
        elif not name.endswith("num_batches_tracked") and name != "head.classes.bias":
            assert torch.equal(state[name], value), name


def test_weights_of_another_network_are_refused(
    tmp_path, short_recipe, small_set, small_val, trained
):
    foreign = tmp_path / "foreign.safetensors"
    save_weights(foreign, torch.nn.Linear(3, 3), read_info(trained))
    with pytest.raises(InputError, match=r"foreign\.safetensors: no array fits this recipe"):
        train(short_recipe, small_set, small_val, tmp_path / "b", weights=foreign)
