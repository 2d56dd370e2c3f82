"""Runs whose process is killed, at chosen and at random moments."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fcis.recipe.as_json import to_json

from .run_cases import assert_same_run, with_training

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from dataclasses import replace
import torch
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.recipe.types import Augmentation, Recipe
from fcis.recipe.as_json import from_json, to_json
from fcis.recipe.named import named_recipe
from fcis.training.log import Log
from fcis.training.run import train
from fcis.training.state import RunState
import fcis.weights.weights_file

folder, recipe, where, count = sys.argv[1:]
folder, recipe, count = Path(folder), json.loads(recipe), int(count)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function, half):
    # the count-th call ends in the middle
    calls = [0]

    def call(*arguments, **options):
        calls[0] += 1
        if calls[0] == count:
            half(*arguments)
            die()
        return function(*arguments, **options)

    return call


if where == "checkpoint":
    torch.save = dying(torch.save, lambda _, file: (file.write(b"PK" * 1000), file.flush()))
elif where == "weights":
    fcis.weights.weights_file.put_file = dying(
        fcis.weights.weights_file.put_file,
        lambda path, _: path.with_name(path.name + ".partial").write_bytes(b"half"),
    )
elif where == "before the checkpoint":
    RunState.save = dying(RunState.save, lambda *_: None)
elif where == "table":
    os.replace = dying(os.replace, lambda *_: None)
elif where == "step":
    Log.add_step = dying(Log.add_step, lambda *_: None)

train(
    from_json(Recipe, recipe, "recipe"),
    scene_dataset(12, 1),
    scene_dataset(2, 2),
    folder,
    resume=True,
)
"""


def start(folder, recipe, where="", count=0):
    text = json.dumps(to_json(recipe))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), text, where, str(count)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process, expected):
    _, errors = process.communicate(timeout=600)
    assert process.returncode == expected, errors[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "more"), [(0, {}), (1, {"ema": 0.9, "validation_loss": True, "patience": 9})]
)
def test_a_run_survives_being_killed_anywhere(tmp_path, tiny, workers, more):
    recipe = with_training(
        tiny, steps=24, accumulate=2, workers=workers, validate_every=10, checkpoint_every=4, **more
    )
    finish(start(tmp_path / "whole", recipe), 0)
    torn = tmp_path / "torn"
    for where, count in (
        ("step", 2),  # before the first checkpoint
        ("checkpoint", 1),  # in the middle of the first one
        ("checkpoint", 2),  # in the middle of one that replaces another
        ("weights", 1),  # in the middle of the best weights
        ("before the checkpoint", 1),  # after a validation
        ("table", 1),  # while the table is cut back
        ("step", 3),
    ):
        finish(start(torn, recipe, where, count), -signal.SIGKILL)
    finish(start(torn, recipe), 0)
    assert_same_run(tmp_path / "whole", torn)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "more"), [(0, {"ema": 0.9}), (1, {"validation_loss": True, "accumulate": 2})]
)
def test_a_run_survives_thirty_kills_at_random_moments(tmp_path, tiny, workers, more):
    recipe = with_training(
        tiny, steps=40, workers=workers, validate_every=10, checkpoint_every=3, **more
    )
    text = json.dumps(to_json(recipe))
    found = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killing.py")), tmp_path, text, "30", "1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    result = json.loads(found.stdout.splitlines()[-1])
    assert result["kills"] == 30
    for torn in result["runs"]:
        assert_same_run(tmp_path / "whole", Path(torn))
