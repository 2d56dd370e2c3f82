"""What a finished table says: figures of each row over its seeds, comparisons, times."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from fcis.lab.benchmark.environment import Environment
from fcis.lab.benchmark.timing import Spread, ratio, spread
from fcis.lab.reproduce.journal import Journal
from fcis.lab.reproduce.outcomes import match
from fcis.lab.reproduce.paper import TEST_SECONDS, TRAIN_SECONDS
from fcis.lab.reproduce.rows import Plan, Row
from fcis.lab.reproduce.running import Job, read_detections
from fcis.lab.reproduce.statistics import (
    LEAST_SEEDS,
    Comparison,
    Summary,
    over_images,
    over_seeds,
    resampled,
    summarise,
)
from fcis.lab.reproduce.times import Rounds

Values = Mapping[str, Mapping[str, list[float]]]
"""Row, metric, a value a seed in 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Seconds an image, and how many times those of the reference row."""

    seconds: Spread
    ratio: Spread

    def to_json(self) -> dict[str, object]:
        """Return both with their quartiles."""
        return {"seconds": self.seconds.to_json(), "ratio": self.ratio.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the finished table.

    Attributes:
        values: of each metric, a figure a seed, in 0..1.
        summaries: of each metric.
        by_seeds: by metric, against the reference; from three seeds on.
        by_images: the same on samples of the images.
        times: by column.
        operations: floating-point operations of an image; None where they are not counted.
        paper: the paper's figures, per cent and seconds.
    """

    name: str
    label: str
    values: Mapping[str, list[float]]
    summaries: Mapping[str, Summary]
    by_seeds: Mapping[str, Comparison]
    by_images: Mapping[str, Comparison]
    times: Mapping[str, Time]
    operations: int | None
    paper: Mapping[str, float]

    def comparison(self, metric: str) -> Comparison | None:
        """Return the comparison over seeds if there are enough, else that over images."""
        return self.by_seeds.get(metric) or self.by_images.get(metric)

    def to_json(self) -> dict[str, object]:
        """Return all of it by name."""
        return {
            "name": self.name,
            "label": self.label,
            "values": dict(self.values),
            "figures": {name: asdict(found) for name, found in self.summaries.items()},
            "over_seeds": {name: c.to_json() for name, c in self.by_seeds.items()},
            "over_images": {name: c.to_json() for name, c in self.by_images.items()},
            "times": {name: time.to_json() for name, time in self.times.items()},
            "operations": self.operations,
            "paper": dict(self.paper),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A finished table.

    Attributes:
        data: addresses of what was trained on and evaluated on.
        budget: as `--budget` says.
        images: of the validation set.
        environment: where times were read and the table was made.
    """

    plan: Plan
    entries: tuple[Entry, ...]
    data: tuple[str, str]
    budget: str
    seeds: tuple[int, ...]
    images: int
    environment: Environment

    def to_json(self) -> dict[str, object]:
        """Return what `--json` writes; figures in 0..1, the paper's as printed."""
        return {
            "table": self.plan.table,
            "reference": self.plan.reference,
            "train": self.data[0],
            "val": self.data[1],
            "val_images": self.images,
            "budget": self.budget,
            "recipe": self.plan.base.name,
            "steps": self.plan.base.training.steps,
            "seeds": list(self.seeds),
            "environment": self.environment.to_json(),
            "rows": [entry.to_json() for entry in self.entries],
        }


def read_values(job: Job, journal: Journal) -> dict[str, dict[str, list[float]]]:
    """Return the figures of all evaluated rows; without ground truth a figure is 0."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in job.plan.rows:
        if not row.has_figures:
            continue
        found[row.name] = {metric: [] for metric in job.plan.metrics}
        for seed in job.seeds:
            line = journal.find("row", row.name, seed, job.row_settings(row, seed))
            figures = line.facts.get("figures") if line is not None else None
            for metric, values in found[row.name].items():
                value = figures.get(metric) if isinstance(figures, dict) else None
                values.append(float(value) if isinstance(value, int | float) else 0.0)
    return found


def sample_images(job: Job) -> dict[str, dict[str, Float[np.ndarray, " draw"]]]:
    """Return, by row and compared metric, the figures on samples of the validation images.

    Raises:
        InputError: the detections of a row cannot be read.
    """
    truth = job.sources.val.to_coco()
    found: dict[str, dict[str, Float[np.ndarray, " draw"]]] = {}
    for row in job.plan.rows:
        if not row.has_figures:
            continue
        job.tell(f"{job.plan.table}: comparing {row.name}")
        network = job.plan.training(row.networks[0]).recipe.model
        most = network.detection.max_detections
        detections = [read_detections(job, row, seed) for seed in job.seeds]
        found[row.name] = {
            metric: resampled([match(truth, d, metric, max_detections=most) for d in detections])
            for metric in job.plan.compared
        }
    return found


def make_entries(
    plan: Plan,
    values: Values,
    samples: Mapping[str, Mapping[str, Float[np.ndarray, " draw"]]],
    times: Mapping[str, Rounds],
    operations: Mapping[str, int],
) -> tuple[Entry, ...]:
    """Return the rows of a finished table.

    Args:
        plan: of the table.
        values: what `read_values` returned.
        samples: what `sample_images` returned.
        times: seconds by column and row, a value a round.
        operations: by row.
    """
    return tuple(_entry(plan, row, values, samples, times, operations) for row in plan.rows)


def _entry(
    plan: Plan,
    row: Row,
    values: Values,
    samples: Mapping[str, Mapping[str, Float[np.ndarray, " draw"]]],
    times: Mapping[str, Rounds],
    operations: Mapping[str, int],
) -> Entry:
    own, other = values.get(row.name, {}), values[plan.reference]
    by_seeds, by_images = {}, {}
    for metric in plan.compared if own and row.name != plan.reference else ():
        if len(own[metric]) >= LEAST_SEEDS:
            by_seeds[metric] = over_seeds(own[metric], other[metric])
        difference = _mean(own[metric]) - _mean(other[metric])
        drawn, against = samples[row.name][metric], samples[plan.reference][metric]
        by_images[metric] = over_images(difference, drawn, against)
    return Entry(
        name=row.name,
        label=row.label,
        values=own,
        summaries={metric: summarise(figures) for metric, figures in own.items()},
        by_seeds=by_seeds,
        by_images=by_images,
        times={
            name: Time(
                seconds=spread(rounds[row.name]),
                ratio=ratio(rounds[row.name], rounds[plan.reference]),
            )
            for name in (TEST_SECONDS, TRAIN_SECONDS)
            if row.name in (rounds := times.get(name, {}))
        },
        operations=operations.get(row.name),
        paper=plan.paper.get(row.name, {}),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
