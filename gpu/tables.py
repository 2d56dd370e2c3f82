"""A table of the paper: its networks are trained side by side, `fcis reproduce` does the rest.

`fcis reproduce` trains one network after the other. Here those that are missing are trained several
at a time, with the same recipes in the same folders, and get a line in the table's journal; what
the command then still has to do is to evaluate, to measure times and to compare.
"""

import argparse
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common import Call, tell
from processes import fcis_job
from trainings import Run, add_training, changes, suffix, train_all

from fcis.lab.reproduce.budgets import with_steps
from fcis.lab.reproduce.journal import Journal, Line
from fcis.lab.reproduce.rows import TableName, Training
from fcis.lab.reproduce.running import Job
from fcis.lab.reproduce.sources import open_sources
from fcis.lab.reproduce.table_plans import make_plan
from fcis.recipe.as_json import to_json, with_setting
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Recipe

SEEDS = 3
RECIPES = {"scenes": "scenes", "nuclei": "nuclei-cpu"}
"""What all networks of a table are made from: small ones, so that a table is minutes."""

STEPS = {"scenes": 2500, "nuclei": 1200}
_QUICK = ("zoom=0.5", "post_nms=10", "augmentation.crop=96", "stem_width=4", "workers=0")
_QUICK_DATA = "scenes:4:0"
_EVALUATION = 40.0
"""Seconds below which the last part is not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One table on one set of data.

    Attributes:
        data: `scenes` or `nuclei`.
        address: as `fcis reproduce` takes it.
        base: recipe of FCIS.
        seeds: how many.
        folder: of the table, below which each has one of its own.
    """

    table: TableName
    data: str
    address: str
    base: Recipe
    seeds: int
    folder: Path


def add_table(parser: argparse.ArgumentParser) -> None:
    """Add the options of a table's script."""
    add_training(parser)
    parser.add_argument(
        "--data",
        action="append",
        choices=tuple(RECIPES),
        help="may be repeated (default: scenes, and nuclei if they have travelled)",
    )


def make_table(call: Call, table: TableName) -> None:
    """Make the table on each set of data that has no result."""
    for data in _datasets(call):
        settings = _settings(call, table, data)
        counts = {"steps": settings.base.training.steps, "seeds": settings.seeds}
        key = {"table": table, "data": data, **counts, **changes(call)}
        if call.known(key):
            continue
        job = _job(call, settings)
        if not _train(call, settings, job) or not _has_time(call, f"{table} on {data}"):
            continue
        path = settings.folder / "figures.json"
        words = ("reproduce", table, "--data", settings.address, "--recipe", _base_file(settings))
        more = ("--seeds", settings.seeds, "--out", settings.folder, "--device", call.device)
        name = f"{table}-{data}"
        outcome = call.run(fcis_job(name, *words, *more, "--json", path))[name]
        if outcome.done:
            figures = json.loads(path.read_text(encoding="utf-8"))
            call.record(key, figures=figures, shown=_shown(figures), seconds=outcome.seconds)


def _datasets(call: Call) -> list[str]:
    if call.options.data:
        return call.options.data
    has_nuclei = not call.quick and (call.carry / "nuclei" / "train.json").is_file()
    return ["scenes", "nuclei"] if has_nuclei else ["scenes"]


def _settings(call: Call, table: TableName, data: str) -> Settings:
    address = "scenes" if data == "scenes" else str(call.nuclei)
    recipe = named_recipe("tiny" if call.quick else RECIPES[data])
    for setting in (*(_QUICK if call.quick else ()), *call.options.set):
        name, _, value = setting.partition("=")
        recipe = with_setting(recipe, name, value)
    return Settings(
        table=table,
        data=data,
        address=_QUICK_DATA if call.quick else address,
        base=with_steps(recipe, call.options.steps or (2 if call.quick else STEPS[data])),
        seeds=call.options.seeds or (1 if call.quick else SEEDS),
        folder=call.work / f"{data}{suffix(call)}",
    )


def _job(call: Call, settings: Settings) -> Job:
    """Return what `fcis reproduce` makes of the same settings."""
    folder = settings.folder / settings.table
    folder.mkdir(parents=True, exist_ok=True)
    _base_file(settings).write_text(json.dumps(to_json(settings.base)), encoding="utf-8")
    return Job(
        plan=make_plan(settings.table, settings.base),
        sources=open_sources(settings.address),
        seeds=tuple(range(settings.seeds)),
        folder=folder,
        device=call.device,
        tell=tell,
    )


def _train(call: Call, settings: Settings, job: Job) -> bool:
    """Train what is missing and write it into the journal; tell whether all of it is there."""
    wanted = [(t, seed) for seed in job.seeds for t in job.plan.trainings if t.is_trained]
    runs = [_run(settings, job, training, seed) for training, seed in wanted]
    train_all(call, runs)
    journal = Journal(job.folder)
    for (training, seed), one in zip(wanted, runs, strict=True):
        print_of = job.settings(training, seed)
        if not one.is_finished or journal.find("training", training.name, seed, print_of):
            continue
        facts = {
            "recipe": job.recipe(training, seed).name,
            "steps": settings.base.training.steps,
            # several shared the device, so that it says nothing
            "seconds": None,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        line = Line(kind="training", name=training.name, seed=seed, settings=print_of, facts=facts)
        journal.add(line)
    return all(one.is_finished for one in runs)


def _run(settings: Settings, job: Job, training: Training, seed: int) -> Run:
    recipe = job.folder / "recipes" / f"{training.name}-{seed}.json"
    recipe.parent.mkdir(exist_ok=True)
    recipe.write_text(json.dumps(to_json(job.recipe(training, seed))), encoding="utf-8")
    return Run(
        name=f"{settings.table}-{settings.data}-{training.name}-{seed}",
        recipe=os.fspath(recipe),
        train=job.sources.train_name,
        val=job.sources.val_name,
        folder=job.run_folder(training.name, seed),
    )


def _has_time(call: Call, what: str) -> bool:
    if call.options.inside or call.left() >= _EVALUATION:
        return True
    call.left_over.append(f"{what}: trained, to be evaluated")
    return False


def _base_file(settings: Settings) -> Path:
    return settings.folder / settings.table / "base.json"


def _shown(figures: dict) -> dict[str, float | str | None]:
    """Return the mean of each row's metrics, and its ratios of times."""
    shown: dict[str, float | str | None] = {}
    for row in figures["rows"]:
        for metric, found in row["figures"].items():
            shown[f"{row['label']}: {metric}"] = found["mean"]
        for column, time in row["times"].items():
            shown[f"{row['label']}: {column} / reference"] = time["ratio"]["median"]
    return shown
