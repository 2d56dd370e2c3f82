"""Train the networks of a table and evaluate its rows, each once.

Whatever is done has a line in the table's journal; a training that was interrupted goes on from
its checkpoint.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fcis.core.coco_types import CocoDetection
from fcis.core.errors import InputError
from fcis.core.output_files import make_folder, write_text
from fcis.data.dataset import Dataset
from fcis.inference.evaluate_dataset import evaluate_predictor
from fcis.inference.load_predictor import load_any
from fcis.inference.predictor import Predictor
from fcis.lab.journal import Journal, Line, fingerprint
from fcis.lab.reproduce.rows import Plan, Row, Training
from fcis.lab.reproduce.sources import Sources
from fcis.lab.reproduce.written_recipe import as_written
from fcis.recipe.as_json import JSON
from fcis.recipe.types import Recipe
from fcis.training.folder import RECIPE
from fcis.training.run import BEST, for_dataset, train

JOURNAL = "runs.jsonl"
"""In the folder of a table: a line for each training, each evaluated row, and what was measured."""

DETECTIONS = "detections"
"""Folder of the detections of all evaluated rows, as COCO results lists."""

_GLANCE = 16  # validation images at the end of a training; rows are evaluated on all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A table to make.

    Attributes:
        seeds: of the runs of each training.
        folder: of the table.
        device: as torch names it.
        tell: takes a line of text.
    """

    plan: Plan
    sources: Sources
    seeds: tuple[int, ...]
    folder: Path
    device: str
    tell: Callable[[str], None]

    def run_folder(self, name: str, seed: int) -> Path:
        """Return the folder of a training."""
        return self.folder / f"{name}-{seed}"

    def detections(self, row: Row, seed: int) -> Path:
        """Return where the detections of a row are kept."""
        return self.folder / DETECTIONS / f"{row.name}-{seed}.json"

    def recipe(self, training: Training, seed: int) -> Recipe:
        """Return how a network of the table is trained."""
        return for_dataset(training.of_seed(seed), self.sources.train)

    def written(self, recipe: Recipe, name: str, seed: int) -> JSON:
        """Return the JSON of a recipe in the form that the run folder of a training has."""
        return as_written(recipe, self.run_folder(name, seed) / RECIPE)

    def settings(self, training: Training, seed: int) -> str:
        """Return the fingerprint of a training: its recipe and its data."""
        recipe = self.written(self.recipe(training, seed), training.name, seed)
        return fingerprint(recipe, self.sources.train_name, _shape(self.sources.train))

    def known(self, journal: Journal, training: Training, seed: int) -> Line | None:
        """Return the line of a finished training, None if there is none.

        Raises:
            InputError: it was made with other settings.
        """
        key = {"kind": "training", "name": training.name, "seed": seed}
        return journal.find(key, self.settings(training, seed))

    def keep(
        self, journal: Journal, training: Training, seed: int, *, steps: int, seconds: float | None
    ) -> Line:
        """Write the line of a finished training, and return it."""
        facts = {
            "settings": self.settings(training, seed),
            "recipe": self.recipe(training, seed).name,
            "steps": steps,
            "seconds": seconds,
            "finished": _now(),
        }
        return journal.add({"kind": "training", "name": training.name, "seed": seed} | facts)

    def row_settings(self, row: Row, seed: int) -> str:
        """Return the fingerprint of a row: its networks, the test-time tools, the data."""
        networks = [self.settings(self.plan.training(name), seed) for name in row.networks]
        tools = asdict(row.averaging)
        return fingerprint(networks, tools, self.sources.val_name, _shape(self.sources.val))


def open_journal(folder: Path) -> Journal:
    """Return the journal of a table's folder.

    Raises:
        InputError: a line is damaged.
    """
    return Journal(folder / JOURNAL, ("kind", "name", "seed", "settings"))


def train_missing(job: Job, journal: Journal) -> None:
    """Train each network that is not finished, all of them of one seed before the next seed.

    Raises:
        InputError: a folder or a line belongs to other settings, or a training cannot go on.
        KeyboardInterrupt: the user stopped; the same call goes on.
    """
    runs = [(seed, t) for seed in job.seeds for t in job.plan.trainings if t.is_trained]
    known = [job.known(journal, training, seed) for seed, training in runs]
    for place, (seed, training) in enumerate(runs):
        folder = job.run_folder(training.name, seed)
        if known[place] is not None and (folder / BEST).is_file():
            continue
        recipe = job.recipe(training, seed)
        job.tell(
            f"{job.plan.table}: training {place + 1} of {len(runs)}, {training.name} with seed "
            f"{seed}, {recipe.training.steps} steps{_time_left(known, place)}"
        )
        glance = job.sources.val.first(_GLANCE)
        result = train(recipe, job.sources.train, glance, folder, resume=True, device=job.device)
        done = result.images / (result.recipe.training.batch * result.recipe.training.accumulate)
        # of a training that was taken up again, the time of its last part is scaled to the whole
        whole = result.seconds * recipe.training.steps / done if done else None
        seconds = None if whole is None else round(whole, 1)
        known[place] = job.keep(journal, training, seed, steps=result.steps, seconds=seconds)


def evaluate_missing(job: Job, journal: Journal) -> dict[str, dict[str, list[float]]]:
    """Evaluate each row that is not finished, and keep its detections.

    Returns:
        Row, metric of the table, a value a seed in 0..1; without ground truth a figure is 0.

    Raises:
        InputError: a line belongs to other settings, an image or weights cannot be read, or
            detections cannot be written.
        KeyboardInterrupt: the user stopped; the same call goes on.
    """
    rows = [(seed, r) for seed in job.seeds for r in job.plan.rows if r.has_figures]
    values = {row.name: {metric: [] for metric in job.plan.metrics} for _, row in rows}
    for place, (seed, row) in enumerate(rows):
        settings, path = job.row_settings(row, seed), job.detections(row, seed)
        key = {"kind": "row", "name": row.name, "seed": seed}
        line = journal.find(key, settings)
        if line is None or not path.is_file():
            job.tell(
                f"{job.plan.table}: evaluation {place + 1} of {len(rows)}, {row.name} with seed "
                f"{seed}"
            )
            report, found = evaluate_predictor(open_row(job, row, seed), job.sources.val)
            make_folder(path.parent)
            write_text(path, json.dumps(found))
            facts = {"figures": figures_by_name(report.to_json()), "finished": _now()}
            line = journal.add(key | {"settings": settings} | facts)
        for metric, found in values[row.name].items():
            found.append(line["figures"].get(metric) or 0.0)
    return values


def figures_by_name(report: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures of masks that `fcis evaluate --json` writes: AP50, mAP_r@0.7, dsb@0.50."""
    dsb = {f"dsb@{iou}": share for iou, share in report["dsb"].items()}
    return report["segm"] | report["voc"] | dsb


def open_row(job: Job, row: Row, seed: int) -> Predictor:
    """Return what tests a row.

    Raises:
        InputError: the weights of a network cannot be read.
    """
    weights = [job.run_folder(name, seed) / BEST for name in row.networks]
    return load_any(weights, device=job.device, averaging=row.averaging)


def read_detections(job: Job, row: Row, seed: int) -> list[CocoDetection]:
    """Return what was found when a row was evaluated.

    Raises:
        InputError: the file cannot be read.
    """
    path = job.detections(row, seed)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); delete it, and its row is evaluated again"
        ) from None


def _time_left(known: list[Line | None], place: int) -> str:
    """Return how long the trainings from this one on may take, by those that are finished."""
    taken = [s for line in known if line is not None and (s := line["seconds"])]
    if not taken:
        return ""
    left = sum(line is None for line in known[place:])
    minutes = max(1, round(left * sum(taken) / len(taken) / 60))
    return f"; about {minutes} min of training left"


def _shape(dataset: Dataset) -> list[int]:
    return [len(dataset), sum(len(record.annotations) for record in dataset.images)]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
