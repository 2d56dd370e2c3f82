"""A table of the paper, from what users name to its files; what is done is not done again."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fcis.core.devices import choose_device
from fcis.core.errors import InputError
from fcis.core.output_files import make_folder, write_json, write_picture, write_text
from fcis.data.checks.before_training import check_before_training
from fcis.lab.environment import environment
from fcis.lab.journal import Journal
from fcis.lab.reproduce.budgets import base_recipe, read_budget, steps_for, with_steps
from fcis.lab.reproduce.figures import draw
from fcis.lab.reproduce.results import Results, make_entries, sample_images
from fcis.lab.reproduce.rows import TableName
from fcis.lab.reproduce.running import Job, evaluate_missing, open_journal, train_missing
from fcis.lab.reproduce.sources import open_sources
from fcis.lab.reproduce.table_plans import make_plan
from fcis.lab.reproduce.tables import to_markdown
from fcis.lab.reproduce.times import measure_missing, operations
from fcis.recipe.reading import read_recipe, with_settings

MARKDOWN, JSON, FIGURE = "table.md", "table.json", "table.png"
"""What a finished table is called in its folder."""

_SCENE_SEEDS, _OTHER_SEEDS = 3, 1


def make_table(
    table: TableName,
    data: str,
    folder: Path,
    *,
    budget: str = "cpu",
    seeds: int | None = None,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    device: str = "auto",
    tell: Callable[[str], None],
) -> Results:
    """Do what is missing of a table and write it.

    Args:
        table: which one.
        data: what is trained and evaluated on, as `open_sources` takes it.
        folder: of the table; the same call goes on with what is there.
        budget: of each training, as `read_budget` takes it.
        seeds: runs of each training; None: 3 with scenes, else 1.
        recipe: of FCIS, to make all networks from, instead of the budget's.
        settings: changes of the recipe, KEY=VALUE.
        device: as `choose_device` takes it.
        tell: takes a line on what is done.

    Raises:
        InputError: an argument makes no sense, the data cannot be read, or the folder belongs to
            other settings or cannot be written.
        KeyboardInterrupt: the user stopped; the same call goes on.
    """
    if seeds is not None and seeds < 1:
        raise InputError(f"--seeds {seeds}: expected at least 1")
    limit = read_budget(budget)
    device = choose_device(device)
    sources = open_sources(data)
    check_before_training(sources.train_name, sources.train, sources.val_name, sources.val)
    make_folder(folder)
    journal = open_journal(folder)
    base = base_recipe(table, limit, is_scenes=sources.is_scenes)
    if recipe is not None:
        base = read_recipe(recipe)
        base = with_steps(base, base.training.steps)
    base = with_settings(base, settings)
    plan = make_plan(table, base)
    if isinstance(limit, float):
        networks = {t.name: t.recipe for t in plan.trainings if t.is_trained}
        steps = steps_for(networks, sources.train, limit, journal, device=device, tell=tell)
        plan = make_plan(table, with_steps(base, steps))
    count = seeds or (_SCENE_SEEDS if sources.is_scenes else _OTHER_SEEDS)
    job = Job(
        plan=plan,
        sources=sources,
        seeds=tuple(range(count)),
        folder=folder,
        device=device,
        tell=tell,
    )
    return finish(job, journal, limit if isinstance(limit, str) else f"{limit:g}")


def finish(job: Job, journal: Journal, budget: str) -> Results:
    """Do what is missing of a job and write its table.

    Args:
        job: what to train, to evaluate and to measure.
        journal: of its folder.
        budget: as the table states it.

    Raises:
        InputError: the folder belongs to other settings or cannot be written.
        KeyboardInterrupt: the user stopped; the same call goes on.
    """
    try:
        train_missing(job, journal)
        values = evaluate_missing(job, journal)
        times = measure_missing(job, journal)
        samples = sample_images(job)
    except KeyboardInterrupt:
        job.tell(f"what is done is in {job.folder}; the same command goes on from there")
        raise
    results = Results(
        plan=job.plan,
        entries=make_entries(job.plan, values, samples, times, operations(job)),
        data=(_shown(job.sources.train_name), _shown(job.sources.val_name)),
        budget=budget,
        seeds=job.seeds,
        images=len(job.sources.val),
        environment=environment(job.device),
    )
    write_text(job.folder / MARKDOWN, to_markdown(results))
    write_json(job.folder / JSON, results.to_json())
    write_picture(job.folder / FIGURE, draw(results), dpi=150)
    return results


def _shown(address: str) -> str:
    """Return an address as a table may show it: of a file, its folder's and its own name."""
    path = Path(address)
    return str(Path(*path.parts[-2:])) if path.is_file() else address
