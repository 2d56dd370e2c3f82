"""Short runs: changed, torn, and compared to the bit."""

import csv
from dataclasses import replace

import torch

from fcis.training.log import Log
from fcis.training.state import AVERAGE


def with_training(recipe, **changes):
    return replace(recipe, training=replace(recipe.training, **changes))


def rows_of(folder):
    """metrics.csv without what depends on the clock."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.pop("images_per_second")
    return rows


def assert_same_run(first, second):
    """Weights, optimiser, best weights and table of two runs are the same, to the bit."""
    best = (first / "best.safetensors").read_bytes()
    assert best == (second / "best.safetensors").read_bytes()
    one, two = (
        torch.load(f / "last.ckpt", map_location="cpu", weights_only=True) for f in (first, second)
    )
    assert one["global_step"] == two["global_step"]
    for states in ("state_dict", AVERAGE):
        assert one.get(states, {}).keys() == two.get(states, {}).keys()
        for name, value in one.get(states, {}).items():
            assert torch.equal(value, two[states][name]), name
    for a, b in zip(
        _tensors(one["optimizer_states"]), _tensors(two["optimizer_states"]), strict=True
    ):
        assert torch.equal(a, b)
    assert one["callbacks"] == two["callbacks"]
    assert one["lr_schedulers"] == two["lr_schedulers"]
    assert rows_of(first) == rows_of(second)


def _tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def stopping_at(monkeypatch, step, error):
    """Make the run end with an error after a step, before that step's checkpoint."""

    add_step = Log.add_step

    def stopping(self, number, losses):
        if number == step:
            raise error
        add_step(self, number, losses)

    monkeypatch.setattr(Log, "add_step", stopping)


class PowerCut(Exception):
    pass
