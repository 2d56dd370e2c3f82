"""What a finished table says: figures of each row over its seeds, comparisons, times."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np
from jaxtyping import Float

from fcis.lab.benchmark.timing import Spread, ratio, spread
from fcis.lab.environment import Environment
from fcis.lab.reproduce.outcomes import match
from fcis.lab.reproduce.paper import PAPER
from fcis.lab.reproduce.rows import Plan
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

Samples = Mapping[str, Mapping[str, Float[np.ndarray, " draw"]]]
"""Row, compared metric, the figure on samples of the validation images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Seconds an image, and how many times those of the reference row."""

    seconds: Spread
    ratio: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the finished table.

    Attributes:
        values: of each metric, a figure a seed, in 0..1.
        figures: of each metric, over its seeds.
        over_seeds: by metric, against the reference; from three seeds on.
        over_images: the same on samples of the images.
        times: by column.
        operations: floating-point operations of an image; None where they are not counted.
        paper: the paper's figures, per cent and seconds.
    """

    name: str
    label: str
    values: Mapping[str, list[float]]
    figures: Mapping[str, Summary]
    over_seeds: Mapping[str, Comparison]
    over_images: Mapping[str, Comparison]
    times: Mapping[str, Time]
    operations: int | None
    paper: Mapping[str, float]

    def comparison(self, metric: str) -> Comparison | None:
        """Return the comparison over seeds if there are enough, else that over images."""
        return self.over_seeds.get(metric) or self.over_images.get(metric)


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
            "rows": [asdict(entry) for entry in self.entries],
        }


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
    samples: Samples,
    times: Mapping[str, Rounds],
    operations: Mapping[str, int],
) -> tuple[Entry, ...]:
    """Return the rows of a finished table.

    Args:
        plan: of the table.
        values: what `evaluate_missing` returned.
        samples: what `sample_images` returned.
        times: seconds by column and row, a value a round.
        operations: by row.
    """
    entries = []
    for row in plan.rows:
        own, other = values.get(row.name, {}), values[plan.reference]
        by_seeds, by_images = {}, {}
        for metric in plan.compared if own and row.name != plan.reference else ():
            if len(own[metric]) >= LEAST_SEEDS:
                by_seeds[metric] = over_seeds(own[metric], other[metric])
            difference = fmean(own[metric]) - fmean(other[metric])
            drawn, against = samples[row.name][metric], samples[plan.reference][metric]
            by_images[metric] = over_images(difference, drawn, against)
        rounds = {name: found for name, found in times.items() if row.name in found}
        entry = Entry(
            name=row.name,
            label=row.label,
            values=own,
            figures={metric: summarise(figures) for metric, figures in own.items()},
            over_seeds=by_seeds,
            over_images=by_images,
            times={
                name: Time(
                    seconds=spread(found[row.name]),
                    ratio=ratio(found[row.name], found[plan.reference]),
                )
                for name, found in rounds.items()
            },
            operations=operations.get(row.name),
            paper=PAPER[plan.table].get(row.name, {}),
        )
        entries.append(entry)
    return tuple(entries)
