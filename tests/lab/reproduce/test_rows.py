"""The seeds of a training, and looking things up in a plan."""

from dataclasses import replace

import pytest


def test_a_seed_changes_nothing_else(plan, tiny):
    training = replace(plan.training("fcis"), seed_offset=1000)
    recipe = training.of_seed(2)
    assert recipe.training.seed == 1002
    assert replace(recipe, training=replace(recipe.training, seed=0)) == tiny


def test_trainings_are_found_by_name(plan):
    assert plan.training("fcis-k1").recipe.model.head.k == 1
    with pytest.raises(StopIteration):
        plan.training("mnc")
