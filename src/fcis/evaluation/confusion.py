"""Which class was found where which was annotated, missed and false instances included."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from fcis.core.coco_types import ImageId
from fcis.evaluation.overlaps import greedy_pairs
from fcis.evaluation.records import (
    DEFAULT_THRESHOLD,
    EvaluationSet,
    ScoredInstance,
    TrueInstance,
)

MATCH_IOU = 0.5
BACKGROUND = "background"
_MOST_PRINTED = 10  # classes of a matrix in the terminal
_PAIRS_PRINTED = 5  # most frequent confusions, where there are more classes
_NAME, _CELL = 16, 8  # characters of a row's name and of a column
_MOST_NUMBERED = 20  # classes of a drawn matrix whose cells have numbers in them


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confusion:
    """Counts of instances by annotated and by found class.

    Attributes:
        names: the classes in the order of the data set, the background last.
        counts: the last row are false instances, the last column missed ones; nothing is both.
    """

    names: tuple[str, ...]
    counts: Int[np.ndarray, "annotated found"]

    def to_json(self) -> dict[str, object]:
        """Return the matrix as `evaluate --json` writes it: a row for each annotated class."""
        return {"iou": MATCH_IOU, "classes": list(self.names), "counts": self.counts.tolist()}

    def lines(self) -> list[str]:
        """Return the matrix for the terminal; of many classes only what is confused most often."""
        classes = len(self.names) - 1
        if classes == 1:
            right, missed, false = self.counts[0, 0], self.counts[0, 1], self.counts[1, 0]
            return [f"shown   {right} right, {missed} missed, {false} false (mask IoU {MATCH_IOU})"]
        if classes > _MOST_PRINTED:
            return self._worst()
        columns = "".join(f"{name[: _CELL - 1].strip():>{_CELL}}" for name in self.names)
        return [f"{'annotated, found':{_NAME}}{columns}"] + [
            f"{name[:_NAME].strip():{_NAME}}" + "".join(f"{count or '.':>{_CELL}}" for count in row)
            for name, row in zip(self.names, self.counts.tolist(), strict=True)
        ]

    def _worst(self) -> list[str]:
        """Return the most frequent confusions of two classes, and what is missed and false."""
        missed, false = self.counts[:-1, -1].sum(), self.counts[-1, :-1].sum()
        right = np.trace(self.counts)
        lines = [f"shown   {right} right, {missed} missed, {false} false (mask IoU {MATCH_IOU})"]
        mixed = self.counts[:-1, :-1].copy()
        np.fill_diagonal(mixed, 0)
        order = np.argsort(-mixed, axis=None, kind="stable")[:_PAIRS_PRINTED]
        pairs = [
            f"{self.names[row]} as {self.names[column]} {mixed[row, column]}"
            for row, column in zip(*np.unravel_index(order, mixed.shape), strict=True)
            if mixed[row, column]
        ]
        return [*lines, f"most often confused: {', '.join(pairs)}"] if pairs else lines


def confusion_matrix(evaluation_set: EvaluationSet, thresholds: Mapping[int, float]) -> Confusion:
    """Return which class was found where which was annotated, at mask IoU 0.5.

    Detections count from their category's threshold on, `DEFAULT_THRESHOLD` where none is given.
    Within a category they are matched as in `fcis.evaluation.dsb`, so that the diagonal holds what
    is right there; what is left on both sides is then matched across categories, in the order of
    the scores. Crowd regions are no instances.
    """
    places = {category: i for i, category in enumerate(evaluation_set.category_names)}
    truth: defaultdict[ImageId, list[TrueInstance]] = defaultdict(list)
    for instance in evaluation_set.truth:
        if not instance.is_crowd:
            truth[instance.image_id].append(instance)
    found: defaultdict[ImageId, list[ScoredInstance]] = defaultdict(list)
    for detection in evaluation_set.detections:
        if detection.score >= thresholds.get(detection.category_id, DEFAULT_THRESHOLD):
            found[detection.image_id].append(detection)
    counts = np.zeros((len(places) + 1, len(places) + 1), dtype=np.int64)
    for image_id in truth.keys() | found.keys():
        here = sorted(found[image_id], key=lambda detection: -detection.score)
        rows = np.array([places[t.category_id] for t in truth[image_id]], dtype=np.int64)
        columns = np.array([places[d.category_id] for d in here], dtype=np.int64)
        chosen = _matched(_overlaps(here, truth[image_id]), columns, rows)
        is_missed = np.ones(len(rows), dtype=bool)
        is_missed[chosen[chosen >= 0]] = False
        annotated = np.append(rows, len(places))[chosen]  # -1, the last one, is the background
        np.add.at(counts, (annotated, columns), 1)
        missed = rows[is_missed]
        np.add.at(counts, (missed, np.full_like(missed, len(places))), 1)
    return Confusion(names=(*evaluation_set.category_names.values(), BACKGROUND), counts=counts)


def draw_confusion(matrix: Confusion) -> Figure:
    """Return the matrix as a picture; colours are shares of the instances annotated in a row."""
    count = len(matrix.names)
    side = min(16.0, 3.2 + 0.5 * count)
    figure = Figure(figsize=(side, side * 0.9), layout="constrained")
    axes = figure.subplots()
    shares = matrix.counts / np.maximum(matrix.counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if count <= _MOST_NUMBERED else max(3, 180 // count)
    names = [" ".join(name.split()) for name in matrix.names]
    axes.set_xticks(range(count), names, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(count), names, fontsize=size, parse_math=False)
    axes.set(xlabel="found", ylabel="annotated", title=f"instances at mask IoU {MATCH_IOU}")
    if count <= _MOST_NUMBERED + 1:
        for row, column in np.argwhere(matrix.counts).tolist():
            color = "white" if shares[row, column] > 0.5 else "black"
            text = str(matrix.counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    figure.colorbar(image, label="share of the row", shrink=0.8)
    return figure


def _overlaps(
    found: list[ScoredInstance], truth: list[TrueInstance]
) -> Float[np.ndarray, "found truth"]:
    """Return the mask IoU of each found with each annotated instance of an image."""
    if not found or not truth:
        return np.zeros((len(found), len(truth)))
    masks = [dict(detection.mask) for detection in found]
    iou = coco_mask.iou(masks, [dict(instance.mask) for instance in truth], [0] * len(truth))
    return np.asarray(iou)


def _matched(
    iou: Float[np.ndarray, "found truth"],
    found: Int[np.ndarray, " found"],
    truth: Int[np.ndarray, " truth"],
) -> Int[np.ndarray, " found"]:
    """Return the index of the instance that each detection has, -1 for none."""
    chosen = np.full(len(found), -1, dtype=np.int64)
    same = np.where(found[:, None] == truth[None, :], iou, 0.0)
    for row, column in greedy_pairs(same, MATCH_IOU):
        chosen[row] = column
    left = iou.copy()
    left[chosen >= 0, :] = 0.0
    left[:, chosen[chosen >= 0]] = 0.0
    for row, column in greedy_pairs(left, MATCH_IOU):
        chosen[row] = column
    return chosen
