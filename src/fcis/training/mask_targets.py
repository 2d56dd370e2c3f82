"""What the network should say of the samples of positive RoIs: inside their object or not.

Every rule is separable: a sample reads rows of its object's mask times columns of it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.model.voting import whole_pixels
from fcis.recipe.types import ModelRecipe
from fcis.structures import RoIMasks
from fcis.training.batch import ObjectMask

_CHUNK = 1 << 23  # values of objects' masks held at once


def mask_targets(
    masks: RoIMasks,
    boxes: Float[Tensor, "roi 4"],
    objects: Sequence[ObjectMask],
    object_boxes: Float[Tensor, "roi 4"],
    recipe: ModelRecipe,
) -> Float[Tensor, " pixel"]:
    """Return 1 where a RoI's sample lies inside its object, else 0.

    The release (`pool`) cuts the mask with RoI and object box, both rounded to whole pixels, and
    resizes the cut, zero where the RoI leaves the object box, to the samples; `align` takes the
    mask at the samples themselves; `native` takes the share of a map cell that is covered.

    Args:
        masks: the shapes of the RoIs' samples.
        boxes: the RoIs, pixels of the network's frame.
        objects: the object of each RoI.
        object_boxes: the box of each RoI's object, same frame.
        recipe: `head.sampling`, `detection.box_rounding`, the threshold of a mask and the stride
            of the maps.

    Official: lib/mask/mask_transform.py:33-59 @309f6c9.
    """
    if not objects:
        return boxes.new_zeros(0)
    sampling, stride = recipe.head.sampling, recipe.backbone.map_stride
    spans = masks.extents.to(boxes)
    if sampling == "pool":
        by_edges = recipe.detection.box_rounding == "edge"
        spans = whole_pixels(boxes, by_edges=by_edges).to(boxes)
        windows = whole_pixels(object_boxes, by_edges=by_edges).tolist()
        objects = [_cut(m, w) for m, w in zip(objects, windows, strict=True)]
    rows, columns = (int(n) for n in masks.shapes.amax(dim=0))
    area = max(m.values.shape[0] for m in objects) * max(m.values.shape[1] for m in objects)
    shares = []
    for part in torch.arange(len(objects)).split(max(1, _CHUNK // max(1, area))):
        chosen, part = [objects[i] for i in part.tolist()], part.to(boxes.device)
        values = _stack([m.values.to(boxes) for m in chosen])
        weights = []
        for axis, count in ((0, rows), (1, columns)):
            first = boxes.new_tensor([(m.top, m.left)[axis] for m in chosen])[:, None, None]
            pixel = first + torch.arange(values.shape[1 + axis], device=boxes.device)
            start, end = spans[part, 1 - axis, None], spans[part, 3 - axis, None]
            number = torch.arange(count, device=boxes.device)
            if sampling == "native":
                weights.append(_coverage(pixel, start + number * stride, stride))
                continue
            step = (end - start) / masks.shapes[part, axis, None]
            centre = start + (number + 0.5) * step
            if sampling == "pool":
                centre = torch.minimum(torch.maximum(centre, start + 0.5), end - 0.5)
            weights.append(_nearness(pixel, centre))
        shares.append(weights[0] @ values @ weights[1].transpose(1, 2))
    return (_own_samples(torch.cat(shares), masks.shapes) >= recipe.detection.mask_threshold).to(
        boxes
    )


def _cut(mask: ObjectMask, window: Sequence[int]) -> ObjectMask:
    """Return what lies inside a window (x0, y0, x1, y1); it may be empty."""
    height, width = mask.values.shape
    left, right = (min(max(n - mask.left, 0), width) for n in window[0::2])
    top, bottom = (min(max(n - mask.top, 0), height) for n in window[1::2])
    return ObjectMask(
        top=mask.top + top, left=mask.left + left, values=mask.values[top:bottom, left:right]
    )


def _stack(values: Sequence[Float[Tensor, "_ _"]]) -> Float[Tensor, "roi h w"]:
    """Return masks in the top left corner of a common size, zero beyond their own."""
    height = max(v.shape[0] for v in values)
    width = max(v.shape[1] for v in values)
    stacked = values[0].new_zeros((len(values), height, width))
    for canvas, value in zip(stacked, values, strict=True):
        canvas[: value.shape[0], : value.shape[1]] = value
    return stacked


def _coverage(
    pixel: Float[Tensor, "roi 1 pixel"], edge: Float[Tensor, "roi sample"], side: int
) -> Float[Tensor, "roi sample pixel"]:
    """Return the share of each sample, from its edge on, that each pixel makes up."""
    low = edge[:, :, None]
    covered = torch.minimum(low + side, pixel + 1) - torch.maximum(low, pixel)
    return covered.clamp(min=0) / side


def _nearness(
    pixel: Float[Tensor, "roi 1 pixel"], centre: Float[Tensor, "roi sample"]
) -> Float[Tensor, "roi sample pixel"]:
    """Return the bilinear weight of each pixel in a sample at a place."""
    return (1 - (centre[:, :, None] - pixel - 0.5).abs()).clamp(min=0)


def _own_samples(
    dense: Float[Tensor, "roi row column"], shapes: Int[Tensor, "roi 2"]
) -> Float[Tensor, " pixel"]:
    """Return the samples that belong to each RoI's own shape, flat."""
    row = torch.arange(dense.shape[1], device=dense.device)[:, None]
    column = torch.arange(dense.shape[2], device=dense.device)
    return dense[(row < shapes[:, 0, None, None]) & (column < shapes[:, 1, None, None])]
