"""Calibration and operating thresholds found on annotated images, with figures before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from fcis.core.coco_types import CocoDataset, CocoDetection
from fcis.evaluation.calibration import Calibration, fit_calibration, log_loss
from fcis.evaluation.operating import MATCH_IOU, best_threshold, f1_at
from fcis.evaluation.overlaps import CategoryOverlaps, category_overlaps, greedy_hits
from fcis.evaluation.records import DEFAULT_THRESHOLD, read_evaluation_set, strongest
from fcis.evaluation.reliability import BINS, Reliability, reliability

# A longer table of categories is left to the JSON form.
_MAX_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """Scores and thresholds as they are in use, on one set of images.

    Attributes:
        reliability: of all detections of all categories.
        log_loss: of the same, in nats a detection.
        thresholds: operating threshold by category name, in the scores in use.
        f1: at that threshold and mask IoU 0.5; nothing where there is no ground truth.
    """

    reliability: Reliability
    log_loss: float
    thresholds: Mapping[str, float]
    f1: Mapping[str, float | None]

    def to_json(self) -> dict[str, object]:
        """Return the figures as they stand in `evaluate --json`."""
        return {
            "ece": self.reliability.ece,
            "log_loss": self.log_loss,
            "per_class": {
                name: {"threshold": threshold, "f1": self.f1[name]}
                for name, threshold in self.thresholds.items()
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """What was found, and what it is good for.

    Attributes:
        calibration: for the network's own scores.
        thresholds: best operating thresholds by category id, in calibrated scores.
        num_right: how many of the detections are right.
        before: with the calibration and the thresholds that the weights had.
        after: with those found.
    """

    calibration: Calibration
    thresholds: Mapping[int, float]
    num_detections: int
    num_right: int
    before: Operating
    after: Operating

    def to_json(self) -> dict[str, object]:
        """Return the entry "calibration" of `evaluate --json`."""
        return {
            **self.calibration.to_json(),
            "iou": MATCH_IOU,
            "bins": BINS,
            "detections": self.num_detections,
            "right": self.num_right,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }

    def summary(self) -> str:
        """Return a short table for the terminal, without a line break at its end."""
        found = self.calibration
        lines = [
            f"calibration on {self.num_detections} detections, {self.num_right} right: "
            f"temperature {found.temperature:.3f}, bias {found.bias:.3f}",
            f"calibration error {self.before.reliability.ece:.4f} before, "
            f"{self.after.reliability.ece:.4f} after; log loss {self.before.log_loss:.4f} before, "
            f"{self.after.log_loss:.4f} after",
        ]
        if len(self.after.thresholds) > _MAX_ROWS:
            f1 = (_text(_mean(side.f1)) for side in (self.before, self.after))
            return "\n".join([*lines, "mean F1 {} before, {} after".format(*f1)])
        width = max(len("category"), *(map(len, self.after.thresholds)), 0)
        lines.append(f"{'category':{width}}{'threshold before':>19}{'F1':>7}{'after':>9}{'F1':>7}")
        for name, threshold in self.after.thresholds.items():
            lines.append(
                f"{name:{width}}{self.before.thresholds[name]:>19.3f}"
                f"{_text(self.before.f1[name]):>7}{threshold:>9.3f}{_text(self.after.f1[name]):>7}"
            )
        return "\n".join(lines)


def calibrate(
    ground_truth: CocoDataset,
    detections: Sequence[CocoDetection],
    *,
    max_detections: int,
    calibration: Calibration | None,
    thresholds: Mapping[int, float],
) -> CalibrationReport:
    """Return calibration and thresholds for detections with the network's own scores.

    The detections that count are those of `fcis.evaluation.report.evaluate`. Crowd regions are no
    instances: a detection in one is wrong.

    Args:
        ground_truth: what is annotated.
        detections: with scores as the network gives them, not calibrated.
        max_detections: of each image the highest count.
        calibration: that of the weights so far, for comparison.
        thresholds: those of the weights so far, by category id, in calibrated scores.

    Raises:
        InputError: detections and ground truth do not belong together, or tell too little.
    """
    evaluation_set = strongest(read_evaluation_set(ground_truth, detections), max_detections)
    names, raw = evaluation_set.category_names, category_overlaps(evaluation_set)
    scores, is_right = _outcomes(raw)
    found = fit_calibration(scores, is_right)
    tables = _rescored(raw, found)
    best = {category: best_threshold(table) for category, table in tables.items()}
    return CalibrationReport(
        calibration=found,
        thresholds=best,
        num_detections=len(scores),
        num_right=int(np.count_nonzero(is_right)),
        before=_operating(_rescored(raw, calibration), names, thresholds),
        after=_operating(tables, names, best),
    )


def measured_reliability(
    ground_truth: CocoDataset,
    detections: Sequence[CocoDetection],
    *,
    max_detections: int,
    min_score: float,
) -> Reliability:
    """Return how honest the scores of detections are as they stand, those below a score left out.

    Raises:
        InputError: detections and ground truth do not belong together.
    """
    evaluation_set = read_evaluation_set(ground_truth, detections)
    evaluation_set = strongest(evaluation_set, max_detections, min_score)
    return reliability(*_outcomes(category_overlaps(evaluation_set)))


def _outcomes(
    tables: Mapping[int, CategoryOverlaps],
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Return the scores of all detections and which of them are right."""
    scores = [np.zeros(0), *(table.scores for table in tables.values())]
    hits = [greedy_hits(table, MATCH_IOU) for table in tables.values()]
    return np.concatenate(scores), np.concatenate([np.zeros(0, dtype=bool), *hits])


def _rescored(
    tables: Mapping[int, CategoryOverlaps], calibration: Calibration | None
) -> dict[int, CategoryOverlaps]:
    """Return the same tables with calibrated scores, whose order is the same."""
    if calibration is None:
        return dict(tables)
    return {
        category: replace(table, scores=calibration.apply(table.scores).astype(np.float64))
        for category, table in tables.items()
    }


def _operating(
    tables: Mapping[int, CategoryOverlaps],
    names: Mapping[int, str],
    thresholds: Mapping[int, float],
) -> Operating:
    scores, is_right = _outcomes(tables)
    limits = {i: float(thresholds.get(i, DEFAULT_THRESHOLD)) for i in names}
    return Operating(
        reliability=reliability(scores, is_right),
        log_loss=log_loss(scores, is_right),
        thresholds={names[i]: limit for i, limit in limits.items()},
        f1={names[i]: f1_at(tables[i], limit) for i, limit in limits.items()},
    )


def _mean(values: Mapping[str, float | None]) -> float | None:
    known = [value for value in values.values() if value is not None]
    return sum(known) / len(known) if known else None


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
