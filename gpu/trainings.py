"""Trainings side by side with `fcis train`, and the figures of those that are finished."""

import argparse
import csv
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common import Call
from processes import Job, Outcome, fcis_job
from travel import FINISHED

_WEIGHTS, _METRICS = "best.safetensors", "metrics.csv"
_PROCESSORS = 3  # of a training: its own process, and those that read images


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training.

    Attributes:
        name: of its folder and its log.
        recipe: name of a recipe, or a .json.
        train: DATA, as `fcis train` takes it.
        val: likewise.
        folder: of the run.
        settings: for `--set`.
    """

    name: str
    recipe: str
    train: str
    val: str
    folder: Path
    settings: tuple[str, ...] = ()

    @property
    def is_finished(self) -> bool:
        """Tell whether it has come to its last step, and its weights are here."""
        return (self.folder / FINISHED).is_file() and (self.folder / _WEIGHTS).is_file()

    def job(self, device: str, threads: int) -> Job:
        """Return the command that begins it, or goes on with it, with so many threads."""
        words = ("train", "--train", self.train, "--val", self.val, "--recipe", self.recipe)
        settings = [word for setting in self.settings for word in ("--set", setting)]
        end = ("--out", self.folder, "--resume", "--device", device)
        job = fcis_job(self.name, *words, *settings, *end)
        return replace(job, environment={"OMP_NUM_THREADS": str(threads)})


def add_counts(parser: argparse.ArgumentParser) -> None:
    """Add how many steps, seeds and trainings at a time."""
    parser.add_argument("--parallel", type=int, help="trainings at a time (default: by processors)")
    parser.add_argument("--seeds", type=int, help="runs of each training")
    parser.add_argument("--steps", type=int, help="of each training (default: the script's)")


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the options of scripts that train with `fcis train`."""
    add_counts(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe"
    )


def changes(call: Call) -> dict[str, str | int]:
    """Return what `--set` adds to the key of a run."""
    return {"set": " ".join(call.options.set)} if call.options.set else {}


def suffix(call: Call) -> str:
    """Return what `--set` adds to the name of a folder."""
    return "".join("-" + re.sub(r"[^\w.=-]", "_", setting) for setting in call.options.set)


def train_all(call: Call, runs: Sequence[Run]) -> dict[str, Outcome]:
    """Train what is not finished, as far as the time goes; return what was run."""
    waiting = [run for run in runs if not run.is_finished]
    processors = os.cpu_count() or 1
    parallel = call.options.parallel or max(1, processors // _PROCESSORS)
    threads = max(1, processors // parallel)
    found = call.run(*(run.job(call.device, threads) for run in waiting), parallel=parallel)
    for run in waiting:
        if found[run.name].done:
            (run.folder / FINISHED).touch()
        elif steps := steps_made(run.folder):
            call.notes.append(f"{run.name}: {steps} steps made, the checkpoint may be behind")
    return found


def evaluate(call: Call, run: Run, data: str) -> dict[str, dict[str, float | None]] | None:
    """Return what `fcis evaluate` finds with the weights of a finished run, None without time."""
    path = run.folder / "figures.json"
    name = f"{run.name}-evaluation"
    words = ("evaluate", "--data", data, "--weights", run.folder, "--device", call.device)
    found = call.run(fcis_job(name, *words, "--json", path))
    return json.loads(path.read_text(encoding="utf-8")) if found[name].done else None


def steps_made(folder: Path) -> int:
    """Return the last step in the metrics of a run, 0 if there is none."""
    path = folder / _METRICS
    if not path.is_file():
        return 0
    with path.open(encoding="utf-8", newline="") as file:
        return max((int(row["step"]) for row in csv.DictReader(file)), default=0)


def rate(folder: Path) -> float | None:
    """Return the median of the images a second in the metrics of a run, None without."""
    path = folder / _METRICS
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rates = sorted(float(r) for row in csv.DictReader(file) if (r := row["images_per_second"]))
    return rates[len(rates) // 2] if rates else None
