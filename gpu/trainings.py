"""Trainings side by side with `fcis train`, and the figures of those that are finished."""

import argparse
import json
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from common import Call
from processes import Job, Outcome, fcis_job
from results import Bar, Key
from travel import FINISHED

from fcis.lab.journal import Line
from fcis.lab.reproduce.running import figures_by_name
from fcis.training.metrics import read_metrics
from fcis.training.run import BEST

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
        key: of its result.
        wanted: what figures should reach, by name.
    """

    name: str
    recipe: str
    train: str
    val: str
    folder: Path
    settings: tuple[str, ...] = ()
    key: Key = field(default_factory=dict)
    wanted: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Tell whether it has come to its last step, and its weights are here."""
        return (self.folder / FINISHED).is_file() and (self.folder / BEST).is_file()

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
        elif rows := read_metrics(run.folder):
            steps = max(int(row["step"]) for row in rows)
            call.notes.append(f"{run.name}: {steps} steps made, the checkpoint may be behind")
    return found


def make_run(
    call: Call,
    recipe: str,
    steps: int,
    seed: int,
    data: tuple[str, str],
    *,
    more: Sequence[str] = (),
    wanted: Mapping[str, float],
) -> Run:
    """Return the training of a named recipe with one seed.

    Args:
        call: whose options change the recipe.
        recipe: its name.
        steps: of the training.
        seed: likewise.
        data: to train on, and to validate on.
        more: settings, besides those of the call.
        wanted: what figures should reach.
    """
    name = f"{recipe}-{steps}-{seed}{suffix(call)}"
    return Run(
        name=name,
        recipe=recipe,
        train=data[0],
        val=data[1],
        folder=call.work / name,
        settings=(f"steps={steps}", f"seed={seed}", *more, *call.options.set),
        key={"recipe": recipe, "steps": steps, "seed": seed, **changes(call)},
        wanted=wanted,
    )


def judge_all(call: Call, runs: Sequence[Run], data: str, names: Sequence[str]) -> dict[str, Line]:
    """Train and evaluate what has no result; return the line of each run that has one, by name.

    Args:
        call: of the script.
        runs: trainings.
        data: what they are evaluated on.
        names: of the figures that the table shows.
    """
    found = {run.name: line for run in runs if (line := call.known(run.key))}
    missing = [run for run in runs if run.name not in found]
    outcomes = train_all(call, missing)
    for run in missing:
        if not run.is_finished:
            continue
        path, name = run.folder / "figures.json", f"{run.name}-evaluation"
        words = ("evaluate", "--data", data, "--weights", run.folder, "--device", call.device)
        if not call.run(fcis_job(name, *words, "--json", path))[name].done:
            continue
        figures = json.loads(path.read_text(encoding="utf-8"))
        named = figures_by_name(figures)
        found[run.name] = call.record(
            run.key,
            figures=figures | {"settings": list(run.settings), "data": data},
            shown={name: named[name] for name in names} | {"images/s": rate(run.folder)},
            bars=[Bar(name=n, wanted=w, found=named[n]) for n, w in run.wanted.items()],
            seconds=outcomes[run.name].seconds if run.name in outcomes else 0.0,
        )
    return found


def rate(folder: Path) -> float | None:
    """Return the median of the images a second in the metrics of a run, None without."""
    rates = [float(r) for row in read_metrics(folder) if (r := row["images_per_second"])]
    return statistics.median_high(rates) if rates else None
