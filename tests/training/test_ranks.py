"""Several processes of one run: alone, met over gloo, and as a whole command."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.recipe.types import TrainingRecipe
from fcis.training import ranks
from fcis.training.state import AVERAGE

STARTED = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_PROCID")


@pytest.fixture
def environment(monkeypatch):
    for name in STARTED:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_process_alone(environment):
    assert ranks.is_main()
    assert ranks.place_of(TrainingRecipe()) == (0, 1)
    assert ranks.started_devices() is None
    assert ranks.gather("x") == ["x"]
    assert ranks.from_main("x") == "x"
    assert ranks.mean_of([1.0, 2.5], torch.device("cpu")) == [1.0, 2.5]
    assert list(ranks.own_share(3)) == [0, 1, 2]
    assert ranks.in_order([["a", "b"]]) == ["a", "b"]


def test_items_come_back_in_their_order():
    for count in range(8):
        for processes in range(1, 5):
            shares = [list(range(r, count, processes)) for r in range(processes)]
            assert ranks.in_order(shares) == list(range(count))


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_only_rank_0_is_the_main_process(environment, name):
    environment.setenv(name, "0")
    assert ranks.is_main()
    environment.setenv(name, "1")
    assert not ranks.is_main()


def test_places_before_the_processes_have_met(environment):
    training = TrainingRecipe(devices=4, num_nodes=2)
    environment.setenv("WORLD_SIZE", "8")
    environment.setenv("NODE_RANK", "1")
    environment.setenv("LOCAL_RANK", "3")
    assert ranks.place_of(training) == (7, 8)
    environment.setenv("RANK", "5")  # of torchrun, which knows better
    assert ranks.place_of(training) == (5, 8)
    environment.setenv("WORLD_SIZE", "6")
    with pytest.raises(InputError, match="is 8, but 6 processes were started; say --set devices=3"):
        ranks.place_of(training)


def test_torchrun_says_how_many_devices(environment):
    environment.setenv("TORCHELASTIC_RUN_ID", "x")
    environment.setenv("LOCAL_WORLD_SIZE", "4")
    environment.setenv("WORLD_SIZE", "12")
    assert ranks.started_devices() == (4, 3)


MEETING = """
import os, sys, json, torch
from fcis.training import ranks
torch.distributed.init_process_group("gloo")
mine = [f"item {i}" for i in ranks.own_share(5)]
rank = torch.distributed.get_rank()
said = [
    ranks.is_main(),
    ranks.gather(rank * 10),
    ranks.from_main(f"from {rank}"),
    ranks.mean_of([float(rank), 3.0], torch.device("cpu")),
    ranks.in_order(ranks.gather(mine)),
]
torch.distributed.destroy_process_group()
print(json.dumps(said))
"""


@pytest.mark.slow
def test_two_processes_tell_each_other():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = surroundings() | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MEETING],
            env=meeting | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    found = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    same = [[0, 10], "from 0", [0.5, 3.0], [f"item {i}" for i in range(5)]]
    assert found == [[True, *same], [False, *same]]


SETTINGS = {
    "steps": 10,
    "training.optimiser.warmup_steps": 2,
    "precision": "float64",
    "model.backbone.norm": "group",  # statistics of a batch would depend on how it is split
}


def train_command(out, *, train="scenes:20:1", val="scenes:53:2", **changes):
    settings = SETTINGS | changes
    return [
        *(str(Path(sys.executable).with_name("fcis")), "train"),
        *("--train", str(train), "--val", str(val), "--recipe", "tiny"),
        *("--device", "cpu", "--out", str(out)),
        *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
    ]


def surroundings():
    return {k: v for k, v in os.environ.items() if k not in STARTED} | {"OMP_NUM_THREADS": "1"}


def run(command):
    return subprocess.run(command, env=surroundings(), capture_output=True, text=True)


def checkpoint(folder):
    return torch.load(folder / "last.ckpt", map_location="cpu", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"accumulate": 2, "ema": 0.9, "validation_loss": "true"}])
def test_two_processes_learn_what_one_learns(tmp_path, more):
    """In float64, with half the images each; 53 validation images, one of them has one more."""
    one, two = tmp_path / "one", tmp_path / "two"
    alone = run(train_command(one, batch=2, **more))
    assert alone.returncode == 0, alone.stderr
    together = run(train_command(two, batch=1, devices=2, **more))
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("best mask AP") == 1  # the other one is silent
    first, second = checkpoint(one), checkpoint(two)
    assert first["state_dict"].keys() == second["state_dict"].keys()
    assert (AVERAGE in first) == (AVERAGE in second) == ("ema" in more)
    for states in ("state_dict", AVERAGE):
        for name, value in first.get(states, {}).items():
            assert (value.double() - second[states][name].double()).abs().max() < 1e-9, name
    assert first["callbacks"] == second["callbacks"]
    figures = [
        [line.split(",")[-6:] for line in (f / "metrics.csv").read_text().splitlines()]
        for f in (one, two)
    ]
    assert figures[0] == figures[1] and len(figures[0]) > 1
    assert bool(figures[0][-1][-1]) == ("validation_loss" in more)
    sheets = [next((f / "pictures").iterdir()) for f in (one, two)]
    with Image.open(sheets[0]) as single, Image.open(sheets[1]) as both:
        assert single.size == both.size


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = {"batch": 1, "devices": 2, "val": "scenes:3:2", "checkpoint_every": 3, "steps": 30}
    assert run(train_command(whole, **settings)).returncode == 0
    command = train_command(parts, **settings)
    running = subprocess.Popen(command, env=surroundings(), start_new_session=True)
    while not (parts / "last.ckpt").exists() and running.poll() is None:
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert checkpoint(parts)["global_step"] < 30
    refused = run(command)
    assert refused.returncode == 2
    assert "holds a training run; go on with --resume" in refused.stderr
    again = run([*command, "--resume"])
    assert again.returncode == 0, again.stderr
    for name, value in checkpoint(whole)["state_dict"].items():
        assert torch.equal(value, checkpoint(parts)["state_dict"][name])


def write_scenes(folder, count):
    scenes = scene_dataset(count, 1, size=(96, 96))
    (folder / "images").mkdir(parents=True)
    for record in scenes.images:
        Image.fromarray(record.read()).save(folder / "images" / record.file_name)
    (folder / "train.json").write_text(json.dumps(scenes.to_coco()))
    return folder / "train.json"


@pytest.mark.slow
def test_what_one_process_cannot_read_stops_both(tmp_path):
    """Each image is read by one of the two processes in each epoch."""
    data = write_scenes(tmp_path / "data", 2)
    settings = {"batch": 1, "devices": 2, "val": "scenes:3:2", "steps": 4}
    (tmp_path / "data" / "images" / "scene-1-000000.png").write_bytes(b"")
    stopped = run(train_command(tmp_path / "run", train=data, **settings))
    assert stopped.returncode != 0
    assert "Traceback" not in stopped.stderr
    assert "scene-1-000000.png" in stopped.stderr
