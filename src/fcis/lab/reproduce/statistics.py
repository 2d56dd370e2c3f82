"""Is one row of a table better than another by more than chance?

Two sources of chance are looked at. Another set of validation images: the paired bootstrap, in
which all rows are measured on the same samples of the images. Another training: the paired t-test
over runs of the same seeds, which needs three of them to say anything.

Neither knows of other data sets, and with several rows some differences look certain by chance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from fcis.lab.reproduce.outcomes import Outcomes

LEAST_SEEDS = 3
"""Pairs from which on the t-test is taken."""

DRAWS = 1000
_TAIL = 0.025  # of a 95 % interval, on each side


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Values of several seeds.

    Attributes:
        mean: of the values.
        deviation: standard deviation of the sample (n - 1); None with one value.
        count: of the values.
    """

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How far a row is from the reference, in the units of the metric.

    Attributes:
        difference: mean over the seeds.
        low: of the 95 % interval.
        high: of the 95 % interval.
        p: how probable so large a difference is, either way, if there is none.
        over: what was taken as chance, other `seeds` or other `images`.
    """

    difference: float
    low: float
    high: float
    p: float
    over: Literal["seeds", "images"]


def summarise(values: Sequence[float]) -> Summary:
    """Return mean and spread of values of several seeds.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("values: expected at least one, got none")
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(mean=float(np.mean(values)), deviation=deviation, count=len(values))


def over_seeds(values: Sequence[float], others: Sequence[float]) -> Comparison:
    """Return the paired t-test of values against others of the same seeds.

    Differences that are all the same have an interval without width, and p of 0, or 1 at 0.

    Raises:
        ValueError: there are fewer than two pairs, or not as many of both.
    """
    if len(values) != len(others) or len(values) < 2:
        raise ValueError(
            f"values, others: expected two pairs or more, got {len(values)} and {len(others)}"
        )
    found = summarise([a - b for a, b in zip(values, others, strict=True)])
    error = (found.deviation or 0.0) / math.sqrt(found.count)
    reach = float(stats.t.ppf(1 - _TAIL, found.count - 1)) * error
    if error:
        p = 2 * float(stats.t.sf(abs(found.mean) / error, found.count - 1))
    else:
        p = 0.0 if found.mean else 1.0
    return Comparison(
        difference=found.mean, low=found.mean - reach, high=found.mean + reach, p=p, over="seeds"
    )


def resampled(
    runs: Sequence[Outcomes], *, draws: int = DRAWS, seed: int = 0
) -> Float[np.ndarray, " draw"]:
    """Return the metric of a row on samples of its images, a mean over its seeds.

    A sample has as many images as there are, drawn with replacement. Sample number s is the same
    for all rows of as many images.

    Args:
        runs: of each seed.
        draws: samples.
        seed: of the samples.

    Raises:
        ValueError: there is no run, or runs have other numbers of images.
    """
    sizes = {run.images for run in runs}
    if len(sizes) != 1:
        raise ValueError(f"runs: expected runs with the same images, got {sorted(sizes)} of them")
    (images,) = sizes
    random = np.random.default_rng(seed)
    share = np.full(images, 1 / images)
    figures = np.empty(draws)
    for draw in range(draws):
        counts = random.multinomial(images, share)
        figures[draw] = np.mean([run.figure(counts) for run in runs])
    return figures


def over_images(
    difference: float,
    values: Float[np.ndarray, " draw"],
    others: Float[np.ndarray, " draw"],
) -> Comparison:
    """Return the paired bootstrap of a row against the reference.

    The interval is that of the percentiles; p is twice the share of samples on the other side of
    0, at least 2 / (samples + 1).

    Args:
        difference: on the images as they are.
        values: what `resampled` returned.
        others: the same of the reference.
    """
    found = values - others
    low, high = np.quantile(found, (_TAIL, 1 - _TAIL))
    sides = ((found <= 0).sum(), (found >= 0).sum())
    p = min(1.0, 2 * (1 + int(min(sides))) / (len(found) + 1))
    return Comparison(difference=difference, low=float(low), high=float(high), p=p, over="images")
