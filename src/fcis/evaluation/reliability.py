"""How honest scores are: what share of the detections with about a score is right."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure

BINS = 15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliability:
    """Detections by score, in `BINS` intervals of equal width from 0 to 1.

    Attributes:
        counts: detections in each interval.
        scores: their mean score; 0 in an interval without detections.
        right: the share of them that is right; 0 in an interval without detections.
    """

    counts: Int[np.ndarray, " bin"]
    scores: Float[np.ndarray, " bin"]
    right: Float[np.ndarray, " bin"]

    @property
    def ece(self) -> float:
        """Return the expected calibration error, 0..1: how far scores are from what comes true.

        The distance between mean score and share of right detections in each interval, weighted
        by the detections in it; 0 without detections. All detections that count in the figures
        count here, of all categories together; most have low scores.
        """
        distance = np.abs(self.scores - self.right)
        return float((self.counts * distance).sum() / max(1, self.counts.sum()))


def reliability(scores: Float[np.ndarray, " n"], is_right: Bool[np.ndarray, " n"]) -> Reliability:
    """Return detections in intervals of their score, which contain their lower end.

    Args:
        scores: 0..1, in any order; 1 belongs to the last interval.
        is_right: which detections are right.
    """
    index = np.minimum((np.asarray(scores, dtype=np.float64) * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(index, minlength=BINS)
    some = np.maximum(counts, 1)
    return Reliability(
        counts=counts,
        scores=np.bincount(index, weights=scores, minlength=BINS) / some,
        right=np.bincount(index, weights=is_right, minlength=BINS) / some,
    )


def draw_reliability(curves: Mapping[str, Reliability]) -> Figure:
    """Return a picture: share of right detections over the score, and how many there are.

    Honest scores lie on the diagonal; below it they promise too much.

    Args:
        curves: by name, e.g. "before" and "after".
    """
    figure = Figure(figsize=(5.2, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="honest")
    edges = np.linspace(0, 1, BINS + 1)
    for name, curve in curves.items():
        filled = curve.counts > 0
        label = f"{name}, error {curve.ece:.3f}"
        upper.plot(curve.scores[filled], curve.right[filled], marker="o", ms=4, label=label)
        lower.stairs(curve.counts, edges, label=name)
    upper.set(ylabel="share that is right", title="detections, right at mask IoU 0.5")
    upper.set(xlim=(0, 1), ylim=(0, 1))
    upper.grid(color="0.9")
    upper.legend(loc="upper left")
    lower.set(xlabel="score", ylabel="detections")
    lower.set_yscale("symlog", linthresh=1)
    return figure
