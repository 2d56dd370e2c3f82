"""What the network should say of anchors and RoIs: labels and box shifts.

Nothing here carries a gradient. Chance comes from generators that are given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fcis.core.boxes import box_area, box_iou, encode_boxes
from fcis.recipe.types import TargetRecipe
from fcis.structures import Proposals, RPNOutput
from fcis.training.batch import Truth

IGNORED = -1
_CROWD_COVER = 0.5  # share of a box inside a crowd region from which it is no negative


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorTargets:
    """Labels of the anchors of one image: 1 object, 0 background, -1 not looked at.

    Shifts lead to the nearest object; they are zero for anchors that are like none.
    """

    labels: Int[Tensor, " anchor"]
    deltas: Float[Tensor, "anchor 4"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoITargets:
    """The RoIs that a training step looks at, of all images.

    Attributes:
        boxes: pixels of the network's frame.
        image_index: the image of each.
        labels: 0 background, 1..C.
        objects: index of the object within its image; meaningful for positives.
        deltas: shifts to the object's box, in units of the box stds; zero for negatives.
    """

    boxes: Float[Tensor, "roi 4"]
    image_index: Int[Tensor, " roi"]
    labels: Int[Tensor, " roi"]
    objects: Int[Tensor, " roi"]
    deltas: Float[Tensor, "roi 4"]


def anchor_targets(
    output: RPNOutput,
    image: int,
    size: Float[Tensor, "2"],
    truth: Truth,
    recipe: TargetRecipe,
    generator: torch.Generator,
) -> AnchorTargets:
    """Return the labels of one image's anchors, in (row, column, anchor) order.

    Only anchors inside the image, up to `anchor_border`, are labelled. Negatives are set first;
    every anchor that is the best one of some object is positive, ties included, and so is each
    from `anchor_positive` on. Then as many are drawn as the loss looks at.

    Args:
        output: anchors and grid; its scores are not looked at.
        image: index in the batch.
        size: (height, width) of the resized image.
        truth: its objects.
        recipe: how many anchors, and the bounds.
        generator: draws anchors where there are too many.

    Official: lib/rpn/rpn.py:78-241 @309f6c9. There, an object that no anchor touches makes all
    anchors that touch nothing positive; here it has none.
    """
    anchors = output.anchors.reshape(-1, 4)
    index = _usable_anchors(output, image, size, recipe.anchor_border).nonzero()[:, 0]
    label, nearest = _label_anchors(anchors[index], truth, recipe)
    positive, negative = (label == 1).nonzero()[:, 0], (label == 0).nonzero()[:, 0]
    kept = choose(positive, recipe.anchors // 2, generator)
    kept = torch.cat([kept, choose(negative, recipe.anchors - len(kept), generator)])
    labels = torch.full((len(anchors),), IGNORED, device=anchors.device)
    labels[index[kept]] = label[kept]
    deltas = torch.zeros_like(anchors)
    if len(truth.boxes):
        boxes = truth.boxes.to(anchors)[nearest[positive]]
        deltas[index[positive]] = encode_boxes(anchors[index[positive]], boxes)
    return AnchorTargets(labels=labels, deltas=deltas)


def _usable_anchors(
    output: RPNOutput, image: int, size: Float[Tensor, "2"], border: float
) -> Bool[Tensor, " anchor"]:
    """Return which anchors belong to the image's own cells and do not leave it too far."""
    anchors = output.anchors
    height, width = size.tolist()
    usable = (anchors[..., :2] >= -border).all(dim=-1)
    usable &= (anchors[..., 2] <= width + border) & (anchors[..., 3] <= height + border)
    rows, columns = output.cells[image].tolist()
    usable[rows:] = False
    usable[:, columns:] = False
    return usable.reshape(-1)


def _label_anchors(
    anchors: Float[Tensor, "n 4"], truth: Truth, recipe: TargetRecipe
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Return label and nearest object of each anchor, before some are drawn."""
    label = torch.full((len(anchors),), IGNORED, device=anchors.device)
    nearest = torch.zeros_like(label)
    if len(truth.boxes) == 0:
        label[:] = 0
    elif len(anchors):
        overlap = box_iou(truth.boxes.to(anchors), anchors)
        best, nearest = overlap.max(dim=0)
        label[best < recipe.anchor_negative] = 0
        highest = overlap.amax(dim=1, keepdim=True)
        label[((overlap == highest) & (highest > 0)).any(dim=0)] = 1
        label[best >= recipe.anchor_positive] = 1
    if recipe.ignore_crowds:
        label[(label == 0) & in_crowd(anchors, truth.crowds)] = IGNORED
    return label, nearest


def roi_targets(
    proposals: Proposals,
    truths: Sequence[Truth],
    recipe: TargetRecipe,
    box_stds: tuple[float, float, float, float],
    generators: Sequence[torch.Generator],
) -> RoITargets:
    """Return the RoIs to train on; with OHEM all of them, to be chosen by their loss.

    Args:
        proposals: of all images.
        truths: the objects of each image.
        recipe: how many RoIs, the bounds, and rows 8 to 10 of the reference's section 11.
        box_stds: units of the shifts.
        generators: draw the RoIs of each image.

    Paper: 2.3, Training. Official: fcis/operator_py/proposal_annotator.py:38-147 @309f6c9.
    """
    parts = []
    for i, (truth, generator) in enumerate(zip(truths, generators, strict=True)):
        boxes = proposals.boxes[proposals.image_index == i]
        if recipe.truth_as_rois:
            boxes = torch.cat([boxes, truth.boxes.to(boxes)])
        chosen, labels, objects = _label_rois(boxes, truth, recipe, generator)
        boxes = boxes[chosen]
        deltas = torch.zeros_like(boxes)
        positive = labels > 0
        if positive.any():
            shifts = encode_boxes(boxes[positive], truth.boxes[objects[positive]].to(boxes))
            deltas[positive] = shifts / boxes.new_tensor(box_stds)
        parts.append((boxes, torch.full_like(labels, i), labels, objects, deltas))
    boxes, image_index, labels, objects, deltas = (
        torch.cat(columns) for columns in zip(*parts, strict=True)
    )
    return RoITargets(
        boxes=boxes, image_index=image_index, labels=labels, objects=objects, deltas=deltas
    )


def _label_rois(
    boxes: Float[Tensor, "n 4"],
    truth: Truth,
    recipe: TargetRecipe,
    generator: torch.Generator,
) -> tuple[Int[Tensor, " roi"], Int[Tensor, " roi"], Int[Tensor, " roi"]]:
    """Return the RoIs of one image that count, their labels and their objects."""
    best, nearest = boxes.new_zeros(len(boxes)), torch.zeros_like(boxes[:, 0], dtype=torch.int64)
    if len(truth.boxes):
        best, nearest = box_iou(truth.boxes.to(boxes), boxes).max(dim=0)
    at_equal = recipe.positive_at_equal
    positive = best >= recipe.roi_positive if at_equal else best > recipe.roi_positive
    usable = torch.ones_like(positive)
    if recipe.ignore_crowds:
        usable = positive | ~in_crowd(boxes, truth.crowds)
    negative = usable & ~positive & (best >= recipe.negative_low)
    if recipe.ohem:
        chosen = (usable if recipe.fill_negatives else positive | negative).nonzero()[:, 0]
    else:
        kept = choose(
            positive.nonzero()[:, 0], round(recipe.positive_fraction * recipe.rois), generator
        )
        chosen = torch.cat(
            [kept, choose(negative.nonzero()[:, 0], recipe.rois - len(kept), generator)]
        )
        # what fills up is background, positives that were not drawn among it
        positive = torch.zeros_like(positive)
        positive[kept] = True
        if recipe.fill_negatives:
            others = (usable & ~positive).nonzero()[:, 0]
            chosen = torch.cat([chosen, _fill(others, recipe.rois - len(chosen), generator)])
    labels = torch.zeros_like(nearest)
    if len(truth.labels):
        labels = torch.where(positive, truth.labels.to(nearest)[nearest], 0)
    return chosen, labels[chosen], nearest[chosen]


def in_crowd(boxes: Float[Tensor, "n 4"], crowds: Float[Tensor, "m 4"]) -> Bool[Tensor, " n"]:
    """Return which boxes lie mostly inside a crowd region."""
    if len(crowds) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    crowds = crowds.to(boxes)
    top_left = torch.maximum(boxes[:, None, :2], crowds[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    overlap = box_area(torch.cat([top_left, bottom_right], dim=2)).amax(dim=1)
    return overlap > _CROWD_COVER * box_area(boxes)


def choose(
    index: Int[Tensor, " n"], count: int, generator: torch.Generator
) -> Int[Tensor, " chosen"]:
    """Return at most `count` of the indices, drawn without replacement."""
    if len(index) <= count:
        return index
    return index[torch.randperm(len(index), generator=generator)[:count].to(index.device)]


def _fill(
    index: Int[Tensor, " n"], count: int, generator: torch.Generator
) -> Int[Tensor, " chosen"]:
    """Return exactly `count` of the indices, each one again only after all were drawn."""
    if len(index) == 0 or count <= 0:
        return index[:0]
    rounds = [
        torch.randperm(len(index), generator=generator) for _ in range(-(-count // len(index)))
    ]
    return index[torch.cat(rounds)[:count].to(index.device)]
