"""What the network should say: labels of anchors and RoIs, box shifts, masks.

Nothing here carries a gradient. Chance comes from a generator that is given.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fcis.boxes import box_area, box_iou, encode_boxes
from fcis.recipe import Conventions, TargetRecipe
from fcis.structures import Proposals, RoIMasks, RPNOutput
from fcis.training.samples import ObjectMask, Truth

IGNORED = -1
_CHUNK = 1 << 23  # values of objects' masks held at once
_CROWD_COVER = 0.5  # share of a box inside a crowd region from which it is no negative


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorTargets:
    """Labels of the anchors of one image: 1 object, 0 background, -1 not looked at."""

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

    Negatives are set first; every anchor that is the best one of some object is positive, ties
    included, and so is each from `anchor_positive` on.

    Official: lib/rpn/rpn.py:78-241 @309f6c9.
    """
    anchors = output.anchors.reshape(-1, 4)
    border, (height, width) = recipe.anchor_border, size.tolist()
    inside = (anchors[:, :2] >= -border).all(dim=1)
    inside &= (anchors[:, 2] <= width + border) & (anchors[:, 3] <= height + border)
    rows, columns = output.cells[image].tolist()
    own = torch.zeros(output.anchors.shape[:3], dtype=torch.bool, device=anchors.device)
    own[:rows, :columns] = True
    index = (inside & own.reshape(-1)).nonzero()[:, 0]
    candidates = anchors[index]
    label = torch.full((len(index),), IGNORED, device=anchors.device)
    deltas = torch.zeros_like(candidates)
    if len(truth.boxes) == 0:
        label[:] = 0
    elif len(index):
        overlap = box_iou(candidates, truth.boxes)
        best, nearest = overlap.max(dim=1)
        label[best < recipe.anchor_negative] = 0
        highest = overlap.amax(dim=0)
        label[((overlap == highest) & (highest > 0)).any(dim=1)] = 1
        label[best >= recipe.anchor_positive] = 1
        deltas = encode_boxes(candidates, truth.boxes[nearest])
    if recipe.ignore_crowds:
        label[(label == 0) & _in_crowd(candidates, truth.crowds)] = IGNORED
    positive, negative = (label == 1).nonzero()[:, 0], (label == 0).nonzero()[:, 0]
    kept = _choose(positive, recipe.anchors // 2, generator)
    kept = torch.cat([kept, _choose(negative, recipe.anchors - len(kept), generator)])
    labels = torch.full((len(anchors),), IGNORED, device=anchors.device)
    labels[index[kept]] = label[kept]
    all_deltas = torch.zeros_like(anchors)
    all_deltas[index] = deltas
    return AnchorTargets(labels=labels, deltas=all_deltas)


def roi_targets(
    proposals: Proposals,
    truths: tuple[Truth, ...],
    recipe: TargetRecipe,
    conventions: Conventions,
    box_stds: tuple[float, float, float, float],
    generator: torch.Generator,
) -> RoITargets:
    """Return the RoIs to train on; with OHEM all of them, to be chosen by their loss.

    Paper: 2.3, Training. Official: fcis/operator_py/proposal_annotator.py:38-147 @309f6c9.
    """
    parts = []
    for i, truth in enumerate(truths):
        boxes = proposals.boxes[proposals.image_index == i]
        if conventions.truth_as_rois:
            boxes = torch.cat([boxes, truth.boxes.to(boxes)])
        chosen, labels, objects = _label_rois(boxes, truth, recipe, conventions, generator)
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
    boxes: Tensor,
    truth: Truth,
    recipe: TargetRecipe,
    conventions: Conventions,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the RoIs of one image that count, their labels and their objects."""
    if len(truth.boxes):
        best, nearest = box_iou(boxes, truth.boxes.to(boxes)).max(dim=1)
    else:
        best, nearest = boxes.new_zeros(len(boxes)), torch.zeros_like(boxes[:, 0]).long()
    at_equal = conventions.positive_at_equal
    positive = best >= recipe.roi_positive if at_equal else best > recipe.roi_positive
    ignored = _in_crowd(boxes, truth.crowds) & ~positive
    ignored &= recipe.ignore_crowds
    if recipe.ohem:
        chosen = (~ignored).nonzero()[:, 0]
    else:
        negative = ~positive & ~ignored & (best >= conventions.negative_low)
        most = round(recipe.positive_fraction * recipe.rois)
        kept = _choose(positive.nonzero()[:, 0], most, generator)
        others = _choose(negative.nonzero()[:, 0], recipe.rois - len(kept), generator)
        filled = others[:0]
        if conventions.fill_negatives:
            pool = ~ignored
            pool[kept] = False
            filled = _fill(pool.nonzero()[:, 0], recipe.rois - len(kept) - len(others), generator)
        chosen = torch.cat([kept, others, filled])
        positive = torch.zeros_like(positive)
        positive[kept] = True
    if len(truth.labels) == 0:
        return chosen, torch.zeros_like(chosen), torch.zeros_like(chosen)
    labels = torch.where(positive, truth.labels.to(nearest)[nearest], 0)
    return chosen, labels[chosen], nearest[chosen]


def _in_crowd(boxes: Float[Tensor, "n 4"], crowds: Float[Tensor, "m 4"]) -> Bool[Tensor, " n"]:
    """Return which boxes lie mostly inside a crowd region."""
    if len(crowds) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    crowds = crowds.to(boxes)
    top_left = torch.maximum(boxes[:, None, :2], crowds[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    overlap = box_area(torch.cat([top_left, bottom_right], dim=2)).amax(dim=1)
    return overlap > _CROWD_COVER * box_area(boxes)


def _choose(index: Int[Tensor, " n"], count: int, generator: torch.Generator) -> Tensor:
    """Return at most `count` of the indices, drawn without replacement."""
    if len(index) <= count:
        return index
    return index[torch.randperm(len(index), generator=generator)[:count].to(index.device)]


def _fill(index: Int[Tensor, " n"], count: int, generator: torch.Generator) -> Tensor:
    """Return exactly `count` of the indices, each one again only after all were drawn."""
    if len(index) == 0 or count <= 0:
        return index[:0]
    rounds = [
        torch.randperm(len(index), generator=generator) for _ in range(-(-count // len(index)))
    ]
    return index[torch.cat(rounds)[:count].to(index.device)]


def mask_targets(
    masks: RoIMasks,
    boxes: Float[Tensor, "roi 4"],
    objects: list[ObjectMask],
    conventions: Conventions,
    *,
    threshold: float,
    stride: int,
) -> Float[Tensor, " pixel"]:
    """Return 1 where a RoI's sample lies inside its object, else 0.

    The release cuts the mask with the RoI rounded to whole pixels and resizes the cut; `align`
    takes it at the samples themselves; `native` takes the share of a map cell that is covered.

    Args:
        masks: the shapes of the RoIs' samples.
        boxes: the RoIs, pixels of the network's frame.
        objects: the object of each RoI.
        conventions: `sampling`.
        threshold: share from which a sample is inside.
        stride: pixels of a map cell.

    Official: lib/mask/mask_transform.py:33-59 @309f6c9.
    """
    if not objects:
        return boxes.new_zeros(0)
    starts, ends = masks.extents[:, :2].to(boxes), masks.extents[:, 2:].to(boxes)
    if conventions.sampling == "pool":
        starts = boxes[:, :2].round()
        ends = torch.maximum((boxes[:, 2:] - 1).round(), starts) + 1
    rows, columns = (int(n) for n in masks.shapes.amax(dim=0))
    area = max(m.values.shape[0] for m in objects) * max(m.values.shape[1] for m in objects)
    wanted = []
    for index in torch.arange(len(objects)).split(max(1, _CHUNK // area)):
        chosen = [objects[i] for i in index.tolist()]
        values = _stack([m.values.to(boxes) for m in chosen])
        index = index.to(boxes.device)
        weights = []
        for axis, count in ((0, columns), (1, rows)):
            origin = boxes.new_tensor([(m.left, m.top)[axis] for m in chosen])[:, None, None]
            pixel = origin + torch.arange(values.shape[2 - axis], device=boxes.device)
            span = (starts[index, axis, None], ends[index, axis, None])
            samples = masks.shapes[index, 1 - axis, None]
            weights.append(_mask_weights(pixel, span, samples, count, conventions, stride))
        wanted.append(weights[1] @ values @ weights[0].transpose(1, 2) >= threshold)
    dense = torch.cat(wanted)
    row = torch.arange(rows, device=boxes.device)[:, None]
    column = torch.arange(columns, device=boxes.device)
    own = (row < masks.shapes[:, 0, None, None]) & (column < masks.shapes[:, 1, None, None])
    return dense[own].to(boxes)


def _stack(values: list[Tensor]) -> Float[Tensor, "roi h w"]:
    """Return masks in the top left corner of a common size, zero beyond their own."""
    height = max(v.shape[0] for v in values)
    width = max(v.shape[1] for v in values)
    stacked = values[0].new_zeros((len(values), height, width))
    for canvas, value in zip(stacked, values, strict=True):
        canvas[: value.shape[0], : value.shape[1]] = value
    return stacked


def _mask_weights(
    pixel: Float[Tensor, "roi 1 pixel"],
    span: tuple[Float[Tensor, "roi 1"], Float[Tensor, "roi 1"]],
    samples: Int[Tensor, "roi 1"],
    count: int,
    conventions: Conventions,
    stride: int,
) -> Float[Tensor, "roi sample pixel"]:
    """Return how much each sample of a RoI reads of each pixel of its object, along one axis."""
    start, end = span
    number = torch.arange(count, device=pixel.device)
    if conventions.sampling == "native":
        edge = (start + number * stride)[:, :, None]
        covered = torch.minimum(edge + stride, pixel + 1) - torch.maximum(edge, pixel)
        return covered.clamp(min=0) / stride
    place = start + (number + 0.5) / samples * (end - start) - 0.5
    if conventions.sampling == "pool":
        place = torch.minimum(torch.maximum(place, start), end - 1)
    return (1 - (place[:, :, None] - pixel).abs()).clamp(min=0)
