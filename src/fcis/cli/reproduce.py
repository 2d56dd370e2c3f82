"""`fcis reproduce`: the paper's tables by one command."""

import argparse
import sys
from pathlib import Path

from fcis.cli.common import check_file, make_folder, write_json
from fcis.cli.train import read_recipe
from fcis.core.devices import choose_device
from fcis.core.errors import InputError
from fcis.data.checks.before_training import check_before_training
from fcis.lab.benchmark.environment import environment
from fcis.lab.benchmark.plots import save
from fcis.lab.reproduce.budgets import base_recipe, read_budget, steps_for, with_steps
from fcis.lab.reproduce.figures import draw
from fcis.lab.reproduce.journal import Journal
from fcis.lab.reproduce.results import Results, make_entries, read_values, sample_images
from fcis.lab.reproduce.rows import Plan
from fcis.lab.reproduce.running import Job, evaluate_missing, train_missing
from fcis.lab.reproduce.sources import Sources, open_sources
from fcis.lab.reproduce.table_plans import make_plan
from fcis.lab.reproduce.tables import to_markdown
from fcis.lab.reproduce.times import measure_missing, operations
from fcis.recipe.as_json import with_setting
from fcis.recipe.types import Recipe
from fcis.training.atomic_files import put_file

_SCENE_SEEDS, _OTHER_SEEDS = 3, 1


def run(options: argparse.Namespace) -> int:
    """Do what is missing of a table, print it and write it."""
    if options.json is not None:
        check_file("--json", options.json)
    if options.seeds is not None and options.seeds < 1:
        raise InputError(f"--seeds {options.seeds}: expected at least 1")
    budget = read_budget(options.budget)
    device = choose_device(options.device)
    sources = open_sources(options.data)
    check_before_training(sources.train_name, sources.train, sources.val_name, sources.val)
    folder: Path = options.out / options.table
    make_folder(folder)
    plan = _plan(options, sources, folder, device)
    count = options.seeds or (_SCENE_SEEDS if sources.is_scenes else _OTHER_SEEDS)
    job = Job(
        plan=plan,
        sources=sources,
        seeds=tuple(range(count)),
        folder=folder,
        device=device,
        tell=_tell,
    )
    journal = Journal(folder)
    try:
        train_missing(job, journal)
        evaluate_missing(job, journal)
        results = _results(job, journal, str(budget))
    except KeyboardInterrupt:
        _tell(f"what is done is in {folder}; the same command goes on from there")
        raise
    _write(results, folder, options.json)
    return 0


def _plan(options: argparse.Namespace, sources: Sources, folder: Path, device: str) -> Plan:
    """Return the plan with the steps that the budget gives."""
    budget = read_budget(options.budget)
    base = base_recipe(options.table, budget, is_scenes=sources.is_scenes)
    if options.recipe is not None:
        base = read_recipe(options.recipe)
        base = with_steps(base, base.training.steps)
    base = _changed(base, options.set)
    plan = make_plan(options.table, base)
    if budget.kind != "minutes":
        return plan
    steps = steps_for(
        {training.name: training.recipe for training in plan.trainings if training.is_trained},
        sources.train,
        budget.minutes,
        folder,
        device=device,
        tell=_tell,
    )
    return make_plan(options.table, with_steps(base, steps))


def _changed(recipe: Recipe, settings: list[str]) -> Recipe:
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: expected KEY=VALUE, e.g. steps=500")
        recipe = with_setting(recipe, key, value)
    return recipe


def _results(job: Job, journal: Journal, budget: str) -> Results:
    times = measure_missing(job, journal)
    values, samples = read_values(job, journal), sample_images(job)
    return Results(
        plan=job.plan,
        entries=make_entries(job.plan, values, samples, times, operations(job)),
        data=(_shown(job.sources.train_name), _shown(job.sources.val_name)),
        budget=budget,
        seeds=job.seeds,
        images=len(job.sources.val),
        environment=environment(job.device),
    )


def _write(results: Results, folder: Path, json_file: Path | None) -> None:
    text, data = to_markdown(results), results.to_json()
    markdown, figure = folder / "table.md", folder / "table.png"
    put_file(markdown, lambda file: file.write(text.encode()))
    write_json(folder / "table.json", data)
    save(draw(results), figure)
    print(text)
    print(f"table:   {markdown}, {folder / 'table.json'}")
    print(f"figure:  {figure}")
    if json_file is not None:
        write_json(json_file, data)
        print(f"figures: {json_file}")


def _shown(address: str) -> str:
    """Return an address as a table may show it: of a file, its folder's and its own name."""
    path = Path(address)
    return str(Path(*path.parts[-2:])) if path.is_file() else address


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
