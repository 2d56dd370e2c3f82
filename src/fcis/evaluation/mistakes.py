"""Where what is shown goes wrong: by size, where instances touch, and why false ones are false.

For data of many small objects, where one figure hides whether they are too small to be found or
too close to be told apart. Looks at the detections above the operating thresholds, as
`fcis.evaluation.dsb` does, and matches them in the same way at a mask IoU of 0.5.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import binary_dilation

from fcis.core.coco_types import ImageId
from fcis.core.masks import MaskCrop, crop_from_rle, pixels_in_both, rle_area
from fcis.evaluation.overlaps import greedy_pairs
from fcis.evaluation.records import DEFAULT_THRESHOLD, EvaluationSet, ScoredInstance, TrueInstance

MATCH_IOU = 0.5
AREAS = (60, 120, 250, 500, 1000)  # px; they part instances by size
GAP = 1  # px that may lie between instances that touch
_MOST = 0.5  # share of the pixels of an instance that a mask must hold to have swallowed it
_INSIDE = 0.75  # share of a detection's pixels that must lie in an instance to be a part of it
_NOTHING = 0.1  # IoU below which a detection has nothing to do with an instance

Outcome = Literal["both found", "merged", "split", "one missed", "both missed"]
Cause = Literal["duplicate", "merged", "part", "poor mask", "background"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How detections and annotated instances of one image overlap.

    Attributes:
        iou: of the masks.
        of_found: share of a detection's pixels that lie in an instance.
        of_truth: share of an instance's pixels that a detection holds.
    """

    iou: Float[np.ndarray, "found truth"]
    of_found: Float[np.ndarray, "found truth"]
    of_truth: Float[np.ndarray, "found truth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeClass:
    """Annotated instances of `low` to below `high` pixels, and how many of them were found."""

    low: int
    high: int | None
    annotated: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """What went wrong over all images.

    Attributes:
        sizes: from the smallest to the largest.
        pairs: annotated pairs that touch, by what became of them.
        false: detections that match nothing, by cause.
        right: detections that match.
    """

    sizes: tuple[SizeClass, ...]
    pairs: Mapping[Outcome, int]
    false: Mapping[Cause, int]
    right: int

    def to_json(self) -> dict[str, object]:
        """Return the counts as plain values, with the share of correct instances."""
        annotated = sum(size.annotated for size in self.sizes)
        everything = annotated + sum(self.false.values())
        return {
            "right": self.right,
            "missed": annotated - self.right,
            "correct": self.right / everything if everything else None,
            "sizes": [
                {
                    "pixels": [size.low, size.high],
                    "annotated": size.annotated,
                    "recall": size.found / size.annotated if size.annotated else None,
                }
                for size in self.sizes
            ],
            "touching": dict(self.pairs),
            "false": dict(self.false),
        }


def find_mistakes(
    evaluation_set: EvaluationSet,
    thresholds: Mapping[int, float],
    *,
    areas: Sequence[int] = AREAS,
    gap: int = GAP,
) -> Mistakes:
    """Return what is wrong with the detections that are shown.

    Categories are looked at one by one. Crowd regions are no instances.

    Args:
        evaluation_set: what is annotated and what was found.
        thresholds: operating thresholds by category id; `DEFAULT_THRESHOLD` where none is given.
        areas: rising numbers of pixels that part instances by size.
        gap: px that may lie between instances that touch.
    """
    truth: defaultdict[tuple[int, ImageId], list[TrueInstance]] = defaultdict(list)
    found: defaultdict[tuple[int, ImageId], list[ScoredInstance]] = defaultdict(list)
    for instance in evaluation_set.truth:
        if not instance.is_crowd:
            truth[instance.category_id, instance.image_id].append(instance)
    for detection in evaluation_set.detections:
        if detection.score >= thresholds.get(detection.category_id, DEFAULT_THRESHOLD):
            found[detection.category_id, detection.image_id].append(detection)
    annotated, hits = Counter[int](), Counter[int]()
    pairs, false, right = Counter[Outcome](), Counter[Cause](), 0
    for place in truth.keys() | found.keys():
        instances = truth[place]
        shares = _shares(sorted(found[place], key=lambda d: -d.score), instances)
        matched = greedy_pairs(shares.iou, MATCH_IOU)
        is_found = np.zeros(len(instances), dtype=bool)
        is_found[[column for _, column in matched]] = True
        right += len(matched)
        classes = np.searchsorted(areas, [rle_area(i.mask) for i in instances], side="right")
        annotated.update(classes.tolist())
        hits.update(classes[is_found].tolist())
        crops = [crop_from_rle(instance.mask) for instance in instances]
        pairs.update(pair_outcome(shares, is_found, p) for p in touching_pairs(crops, gap))
        wrong = set(range(len(shares.iou))) - {row for row, _ in matched}
        false.update(false_cause(shares, row) for row in wrong)
    bounds = [0, *areas, None]
    return Mistakes(
        sizes=tuple(
            SizeClass(low=bounds[i] or 0, high=bounds[i + 1], annotated=annotated[i], found=hits[i])
            for i in range(len(areas) + 1)
        ),
        pairs={outcome: pairs[outcome] for outcome in get_args(Outcome)},
        false={cause: false[cause] for cause in get_args(Cause)},
        right=right,
    )


def touching_pairs(crops: Sequence[MaskCrop], gap: int) -> list[tuple[int, int]]:
    """Return which two masks have at most `gap` px between them, diagonals included, in order.

    Masks that overlap touch. Those without a pixel touch nothing.
    """
    reach = gap + 1
    boxes = np.array([(c.top, c.left, *c.bits.shape) for c in crops]).reshape(-1, 4)
    start, end = boxes[:, :2] - reach, boxes[:, :2] + boxes[:, 2:]
    near = np.asarray(((start[:, None] < end) & (start < end[:, None])).all(axis=2))
    pairs = []
    for one in range(len(crops)):
        others = (np.flatnonzero(near[one, one + 1 :]) + one + 1).tolist()
        if not others:
            continue
        bits = np.pad(crops[one].bits, reach)
        wide = binary_dilation(bits, np.ones((3, 3)), iterations=reach)
        grown = MaskCrop(top=crops[one].top - reach, left=crops[one].left - reach, bits=wide)
        pairs += [(one, two) for two in others if pixels_in_both(grown, crops[two])]
    return pairs


def pair_outcome(
    shares: Shares, is_found: Bool[np.ndarray, " truth"], pair: tuple[int, int]
) -> Outcome:
    """Return what became of two annotated instances that touch.

    They are merged if one detection holds most of both, and split if two detections lie mostly
    inside one that was not found.
    """
    missed = [i for i in pair if not is_found[i]]
    if not missed:
        return "both found"
    if (shares.of_truth[:, list(pair)] > _MOST).all(axis=1).any():
        return "merged"
    if ((shares.of_found[:, missed] > _MOST).sum(axis=0) >= 2).any():
        return "split"
    return "one missed" if len(missed) == 1 else "both missed"


def false_cause(shares: Shares, row: int) -> Cause:
    """Return why a detection that matches nothing is false.

    An instance that it would match belongs to a better one; or it holds most of several; or it
    lies in one of which it holds too little; or it is close to one; or it has nothing to do with
    any.
    """
    iou = shares.iou[row].max(initial=0.0)
    if iou >= MATCH_IOU:
        return "duplicate"
    if np.count_nonzero(shares.of_truth[row] > _MOST) >= 2:
        return "merged"
    if shares.of_found[row].max(initial=0.0) >= _INSIDE:
        return "part"
    return "poor mask" if iou >= _NOTHING else "background"


def draw_mistakes(mistakes: Mistakes) -> Figure:
    """Return three bar charts: recall by size, touching pairs, and false detections."""
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    by_size, touching, false = figure.subplots(1, 3)
    names = [
        f"{s.low} to {s.high - 1}" if s.high is not None else f"from {s.low}"
        for s in mistakes.sizes
    ]
    recall = [s.found / max(1, s.annotated) for s in mistakes.sizes]
    _bars(by_size, names, recall, [f"{s.found} / {s.annotated}" for s in mistakes.sizes])
    by_size.set(title="found, by pixels", ylim=(0, 1.12))
    for axes, title, counts in (
        (touching, "annotated pairs that touch", mistakes.pairs),
        (false, "false detections", mistakes.false),
    ):
        heights = [float(count) for count in counts.values()]
        _bars(axes, list(counts), heights, [str(count) for count in counts.values()])
        axes.set_title(title)
    return figure


def _bars(axes: Axes, names: Sequence[str], heights: Sequence[float], texts: Sequence[str]) -> None:
    bars = axes.bar(names, heights)
    axes.bar_label(bars, texts, fontsize=8)
    axes.tick_params(axis="x", labelsize=8, rotation=20)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)


def _shares(found: Sequence[ScoredInstance], truth: Sequence[TrueInstance]) -> Shares:
    """Return the overlaps of the masks of one image."""
    if not found or not truth:
        none = np.zeros((len(found), len(truth)))
        return Shares(iou=none, of_found=none, of_truth=none)
    masks, wanted = [dict(d.mask) for d in found], [dict(t.mask) for t in truth]
    iou = np.asarray(coco_mask.iou(masks, wanted, [0] * len(wanted)))
    # against a crowd the API divides by the detection's own area
    of_found = np.asarray(coco_mask.iou(masks, wanted, [1] * len(wanted)))
    area = np.array([rle_area(d.mask) for d in found])[:, None]
    of_truth = of_found * area / np.maximum(1, [rle_area(t.mask) for t in truth])
    return Shares(iou=iou, of_found=of_found, of_truth=of_truth)
