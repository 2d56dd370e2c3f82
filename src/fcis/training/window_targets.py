"""What InstFCN's windows should say: which hold an object, and which of their cells are its.

The window that suits an object is centred on its box and somewhat longer than its longer side;
a window is as good as it resembles that one (reference: 10.3). Nothing here carries a gradient.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.core.boxes import box_iou
from fcis.model.baselines.windows import Windows, window_boxes
from fcis.recipe.types import InstFCNRecipe
from fcis.training.batch import ObjectMask, Truth
from fcis.training.targets import IGNORED, choose, in_crowd

_SCALE_RANGE = math.sqrt(1.5)  # factor either way by which a drawn scale may miss what suits


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTargets:
    """The windows of one image that a training step looks at.

    Attributes:
        windows: positives first.
        labels: 1 object, 0 none.
        objects: index of the object of each positive.
    """

    windows: Windows
    labels: Int[Tensor, " window"]
    objects: Int[Tensor, " positive"]


def draw_factor(
    truth: Truth, recipe: InstFCNRecipe, generator: torch.Generator, *, stride: int
) -> float:
    """Return a factor by which to resize an image so that windows suit one of its objects.

    It is within the pyramid's range; an image without objects gets any.

    Args:
        truth: the objects, in the frame of the network.
        recipe: size of a window, and the pyramid.
        generator: draws the object, and how far from perfect the factor is.
        stride: pixels per cell.
    """
    low, high = min(recipe.pyramid), max(recipe.pyramid)
    draw = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    if len(truth.boxes) == 0:
        return low * (high / low) ** draw[0]
    box = truth.boxes[min(int(draw[0] * len(truth.boxes)), len(truth.boxes) - 1)]
    longer = max(float((box[2:] - box[:2]).max()), 1.0)
    suits = recipe.window_cells * stride * recipe.window_fill / longer
    return min(max(suits * _SCALE_RANGE ** (2 * draw[1] - 1), low), high)


def suiting_boxes(boxes: Float[Tensor, "object 4"], fill: float) -> Float[Tensor, "object 4"]:
    """Return the square that suits each object: its longer side is the share `fill` of it."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / (2 * fill)
    return torch.cat([centre - half, centre + half], dim=1)


def window_targets(
    every: Windows,
    truth: Truth,
    ratio: Float[Tensor, " 4"],
    recipe: InstFCNRecipe,
    generator: torch.Generator,
    *,
    stride: int,
    ignore_crowds: bool,
) -> WindowTargets:
    """Return the windows of one image to train on, at most half of them positive.

    Args:
        every: all windows of the image.
        truth: the objects, in the frame of the network.
        ratio: (x, y, x, y) size of the resized image over that of the network's frame.
        recipe: how many windows, and the bounds.
        generator: draws windows where there are too many.
        stride: pixels per cell.
        ignore_crowds: windows inside crowd regions are not negatives.
    """
    boxes = window_boxes(every.row, every.column, side=recipe.window_cells, stride=stride)
    label = torch.zeros_like(every.row)
    nearest = torch.zeros_like(every.row)
    if len(truth.boxes):
        suiting = suiting_boxes(truth.boxes.to(boxes) * ratio.to(boxes), recipe.window_fill)
        best, nearest = box_iou(suiting, boxes).max(dim=0)
        label[best >= recipe.window_negative] = IGNORED
        label[best >= recipe.window_positive] = 1
    if ignore_crowds:
        crowds = truth.crowds.to(boxes) * ratio.to(boxes)
        label[(label == 0) & in_crowd(boxes, crowds)] = IGNORED
    positive = choose((label == 1).nonzero()[:, 0], recipe.windows // 2, generator)
    negative = choose((label == 0).nonzero()[:, 0], recipe.windows - len(positive), generator)
    kept = torch.cat([positive, negative])
    return WindowTargets(
        windows=every.at(kept),
        labels=label[kept],
        objects=nearest[positive],
    )


def cell_shares(
    windows: Float[Tensor, "window 4"],
    objects: Int[Tensor, " window"],
    masks: tuple[ObjectMask, ...],
    *,
    side: int,
) -> Float[Tensor, "window {side} {side}"]:
    """Return the share of each cell of each window that its object covers.

    Args:
        windows: boxes in the frame of the masks.
        objects: index of the object of each window.
        masks: of the objects.
        side: cells a side of a window.
    """
    shares = windows.new_zeros((len(windows), side, side))
    cell = torch.arange(side, device=windows.device)
    for number in objects.unique().tolist():
        mine, mask = (objects == number).nonzero()[:, 0], masks[number]
        weights = []
        for axis, first in ((1, mask.top), (0, mask.left)):
            start = windows[mine, axis, None]
            step = (windows[mine, axis + 2, None] - start) / side
            low = (start + cell * step)[:, :, None]
            pixel = first + torch.arange(mask.values.shape[1 - axis], device=windows.device)
            covered = torch.minimum(low + step[:, :, None], pixel + 1) - torch.maximum(low, pixel)
            weights.append(covered.clamp(min=0) / step[:, :, None])
        rows, columns = weights
        shares[mine] = rows @ mask.values.to(windows) @ columns.transpose(1, 2)
    return shares
