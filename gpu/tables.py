"""A table of the paper: its networks are trained side by side, `fcis reproduce` does the rest.

`fcis reproduce` trains one network after the other. Here those that are missing are trained several
at a time, with the same recipes in the same folders, and get a line in the table's journal; what
the command then still has to do is to evaluate, to measure times and to compare.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from common import Call, run, tell
from processes import fcis_job
from trainings import Run, add_training, changes, suffix, train_all

from fcis.core.output_files import write_json
from fcis.lab.reproduce.budgets import with_steps
from fcis.lab.reproduce.rows import TABLES, TableName
from fcis.lab.reproduce.running import Job, open_journal
from fcis.lab.reproduce.sources import open_sources
from fcis.lab.reproduce.table_plans import make_plan
from fcis.recipe.as_json import to_json
from fcis.recipe.reading import read_recipe
from fcis.recipe.types import Recipe

SEEDS = 3
RECIPES = {"scenes": "scenes", "nuclei": "nuclei-cpu"}
"""What all networks of a table are made from: small ones, so that a table is minutes."""

STEPS = {"scenes": 2500, "nuclei": 1200}
_QUICK = ("zoom=0.5", "post_nms=10", "augmentation.crop=96", "stem_width=4", "workers=0")
_QUICK_DATA = "scenes:4:0"
_EVALUATION = 40.0
"""Seconds below which the last part is not begun."""


def run_table(file: str, doc: str) -> NoReturn:
    """Run the script of a table, which its name ends in, and exit."""
    table = next(name for name in TABLES if Path(file).stem.endswith(name))
    sys.exit(run(file, doc, lambda call: make_table(call, table), add=add_table, has_state=True))


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
    has_nuclei = not call.quick and (call.carry / "nuclei" / "train.json").is_file()
    for data in call.options.data or (["scenes", "nuclei"] if has_nuclei else ["scenes"]):
        address, job = _job(call, table, data)
        counts = {"steps": job.plan.base.training.steps, "seeds": len(job.seeds)}
        key = {"table": table, "data": data, **counts, **changes(call)}
        if call.known(key):
            continue
        if not _train(call, data, job):
            continue
        if not call.options.inside and call.left() < _EVALUATION:
            call.left_over.append(f"{table} on {data}: trained, to be evaluated")
            continue
        out = job.folder.parent
        path, recipe = out / "figures.json", _recipe_file(job, "base", job.plan.base)
        words = ("reproduce", table, "--data", address, "--recipe", recipe, "--out", out)
        more = ("--seeds", len(job.seeds), "--device", call.device, "--json", path)
        name = f"{table}-{data}"
        outcome = call.run(fcis_job(name, *words, *more))[name]
        if outcome.done:
            figures = json.loads(path.read_text(encoding="utf-8"))
            call.record(key, figures=figures, shown=_shown(figures), seconds=outcome.seconds)


def _job(call: Call, table: TableName, data: str) -> tuple[str, Job]:
    """Return the address of the data, and what `fcis reproduce` makes of the same options."""
    address = "scenes" if data == "scenes" else str(call.nuclei)
    address = _QUICK_DATA if call.quick else address
    quick = _QUICK if call.quick else ()
    name = "tiny" if call.quick else RECIPES[data]
    recipe = read_recipe(name, (*quick, *call.options.set))
    base = with_steps(recipe, call.options.steps or (2 if call.quick else STEPS[data]))
    return address, Job(
        plan=make_plan(table, base),
        sources=open_sources(address),
        seeds=tuple(range(call.options.seeds or (1 if call.quick else SEEDS))),
        folder=call.work / f"{data}{suffix(call)}" / table,
        device=call.device,
        tell=tell,
    )


def _train(call: Call, data: str, job: Job) -> bool:
    """Train what is missing and write it into the journal; tell whether all of it is there."""
    journal = open_journal(job.folder)
    wanted = [(t, seed) for seed in job.seeds for t in job.plan.trainings if t.is_trained]
    runs = [
        Run(
            name=f"{job.plan.table}-{data}-{training.name}-{seed}",
            recipe=_recipe_file(job, f"{training.name}-{seed}", job.recipe(training, seed)),
            train=job.sources.train_name,
            val=job.sources.val_name,
            folder=job.run_folder(training.name, seed),
        )
        for training, seed in wanted
    ]
    train_all(call, runs)
    for (training, seed), one in zip(wanted, runs, strict=True):
        if one.is_finished and job.known(journal, training, seed) is None:
            # several shared the device, so that their seconds say nothing
            job.keep(journal, training, seed, steps=job.plan.base.training.steps, seconds=None)
    return all(one.is_finished for one in runs)


def _recipe_file(job: Job, name: str, recipe: Recipe) -> str:
    """Write a recipe into the folder of the table, and return where."""
    path = job.folder / "recipes" / f"{name}.json"
    write_json(path, to_json(recipe))
    return os.fspath(path)


def _shown(figures: dict) -> dict[str, float | str | None]:
    """Return the mean of each row's metrics, and its ratios of times."""
    shown: dict[str, float | str | None] = {}
    for row in figures["rows"]:
        for metric, found in row["figures"].items():
            shown[f"{row['label']}: {metric}"] = found["mean"]
        for column, time in row["times"].items():
            shown[f"{row['label']}: {column} / reference"] = time["ratio"]["median"]
    return shown
