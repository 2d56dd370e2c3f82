"""A temperature that turns scores into honest probabilities.

The score of a detection is honest if, of all detections with about that score, that share is
right: matched one to one, in the order of the scores, to an instance of its category at mask
IoU 0.5. Scores of networks are not, but they become so when their log odds are stretched and
shifted by two numbers found on annotated images.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from fcis.core.errors import InputError

# Half the distance from 1 to the next lower float32: a score of 1 has finite odds that are above
# those of every other one.
_EDGE = 2.0**-25
_FEWEST = 10  # right and wrong detections, without which two numbers cannot be found
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What turns a network's score s into a probability: sigmoid(logit(s) / temperature + bias).

    It is the same for all categories, so that the order of detections stays what it was, within a
    category and across them.

    Attributes:
        temperature: above 1 the network is too sure of itself, below 1 not sure enough.
        bias: shift of the log odds; below 0 scores are too high in general, as where training
            shows the network a larger share of objects than whole images do.

    Raises:
        ValueError: the temperature is not positive, or one of the two is not finite.
    """

    temperature: float
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature: expected above 0, got {self.temperature}")
        if not math.isfinite(self.bias):
            raise ValueError(f"bias: expected a finite number, got {self.bias}")

    def apply(self, scores: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
        """Return the probabilities that scores in 0..1 stand for, in the same order."""
        odds = log_odds(scores) / self.temperature + self.bias
        return np.asarray(np.exp(-np.logaddexp(0.0, -odds)), dtype=np.float32)

    def floor(self, score: float) -> float:
        """Return the probability that a score stands for: where one passes, so does the other."""
        return float(self.apply(np.array([score]))[0])

    def to_json(self) -> dict[str, float]:
        """Return the two numbers under their names."""
        return {"temperature": self.temperature, "bias": self.bias}


def log_odds(scores: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return log(s / (1 - s)) in float64, finite for scores of 0 and 1 too."""
    inner = np.clip(np.asarray(scores, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.log(inner) - np.log1p(-inner)


def log_loss(scores: Float[np.ndarray, " n"], is_right: Bool[np.ndarray, " n"]) -> float:
    """Return the mean of -log(probability given to what came true), in nats; 0 of none."""
    if not len(scores):
        return 0.0
    odds = log_odds(scores)
    return float(np.logaddexp(0.0, np.where(is_right, -odds, odds)).mean())


def fit_calibration(
    scores: Float[np.ndarray, " n"], is_right: Bool[np.ndarray, " n"]
) -> Calibration:
    """Return the temperature and the bias with the least log loss on these detections.

    The loss is convex in 1 / temperature and bias, so that Newton's method finds the one minimum.
    Right and wrong count as probabilities a little inside of 1 and 0, as if one more of each kind
    had been seen (Platt 1999): with that the minimum is finite even where all right detections
    score higher than all wrong ones, and with many detections it does not matter.

    Args:
        scores: as the network gives them, 0..1, in any order.
        is_right: which detections are right.

    Raises:
        InputError: fewer than ten right or ten wrong detections, or the right ones do not score
            higher than the wrong ones.
    """
    right = int(np.count_nonzero(is_right))
    wrong = len(is_right) - right
    if min(right, wrong) < _FEWEST:
        raise InputError(
            f"calibration: {right} detections are right and {wrong} wrong, expected at least "
            f"{_FEWEST} of each; take more images or weights that were trained longer"
        )
    targets = np.where(is_right, (right + 1) / (right + 2), 1 / (wrong + 2))
    slope, bias = _least_loss(log_odds(scores), targets)
    if slope <= 0:
        raise InputError(
            "calibration: right detections do not score higher than wrong ones; train longer"
        )
    return Calibration(temperature=1 / slope, bias=bias)


def _least_loss(
    odds: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"]
) -> tuple[float, float]:
    """Return slope and bias of the logistic regression of the targets on the log odds."""
    design = np.stack([odds, np.ones_like(odds)], axis=1)

    def loss(at: Float[np.ndarray, " 2"]) -> float:
        stretched = design @ at
        return float((np.logaddexp(0.0, stretched) - targets * stretched).mean())

    found = np.array([1.0, 0.0])
    best = loss(found)
    for _ in range(_MOST_STEPS):
        share = np.exp(-np.logaddexp(0.0, -(design @ found)))
        gradient = design.T @ (share - targets) / len(odds)
        weighted = design * (share * (1 - share))[:, None]
        # a touch of damping, for scores that are all equal
        step = np.linalg.solve(design.T @ weighted / len(odds) + 1e-12 * np.eye(2), gradient)
        while loss(found - step) > best and np.abs(step).max() > 1e-12:
            step = step / 2
        found = found - step
        best = loss(found)
        if np.abs(step).max() < 1e-10:
            break
    return float(found[0]), float(found[1])
