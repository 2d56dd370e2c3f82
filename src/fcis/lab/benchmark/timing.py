"""The method: what is compared runs in turn, and ratios are taken within a round.

A machine's speed drifts: other processes, clock rates, temperature. So the works of a comparison
run A B A B ... in one process, each round gives one ratio, and the median of these ratios is what
counts, with its quartiles. A ratio of two medians would mix rounds.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

Clock = Callable[[], float]
"""Seconds, after all work of the device is done."""

Work = Callable[[], object]
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How often something is measured.

    Attributes:
        rounds: measurements of each work.
        warm_up: calls of each work before the first round, which are not counted.
        least_seconds: works that are faster than this are called several times in a round.

    Raises:
        ValueError: there is no round, or no call before the first one.
    """

    rounds: int = 7
    warm_up: int = 1
    least_seconds: float = 0.05

    def __post_init__(self) -> None:
        for name in ("rounds", "warm_up"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of repeated measurements, and their quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles; between two values they are interpolated.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("values: expected at least one, got none")
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Spread(median=median, low=low, high=high)


def ratio(values: Sequence[float], others: Sequence[float]) -> Spread:
    """Return how many times the others the values are, round by round."""
    return spread([a / b for a, b in zip(values, others, strict=True)])


def alternate(works: Mapping[K, Work], method: Method, clock: Clock) -> dict[K, list[float]]:
    """Return the seconds that one call of each work takes, a value a round.

    Args:
        works: in the order in which they take turns.
        method: how often.
        clock: of the device that they run on.
    """
    calls = {}
    for name, work in works.items():
        seconds = math.inf
        for _ in range(method.warm_up):
            seconds = _seconds(work, 1, clock)
        # the last call alone: first ones compile, allocate and fill caches
        fits = method.least_seconds / seconds if seconds > 0 else 1
        calls[name] = max(1, math.ceil(fits))
    found: dict[K, list[float]] = {name: [] for name in works}
    for _ in range(method.rounds):
        for name, work in works.items():
            found[name].append(_seconds(work, calls[name], clock))
    return found


def device_clock(device: str) -> Clock:
    """Return a clock that waits for a device before it is read."""
    kind = torch.device(device).type

    def now() -> float:
        if kind == "cuda":
            torch.cuda.synchronize(device)
        elif kind == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    return now


def _seconds(work: Work, calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        work()
    return (clock() - start) / calls
