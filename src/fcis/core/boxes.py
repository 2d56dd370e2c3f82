"""Box geometry in one convention: continuous (x0, y0, x1, y1), right and bottom exclusive.

The 2017 release counts the last covered pixel instead ("inclusive"). With x1 = x_last + 1 its
formulas for size, IoU, encoding and decoding become the plain ones below (reference: 1.1). The
two places where its arithmetic must be kept are `clip_boxes` and the way back to the original
image, `to_original`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# A box may grow by at most this factor in one decoding step: exp overflows on a network whose
# training goes wrong, and the result would be lost among infinities.
_MAX_LOG_GROWTH = 8.0


def box_area(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    """Return areas; zero where a box is inverted."""
    width = (boxes[..., 2] - boxes[..., 0]).clamp(min=0)
    return width * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def box_iou(first: Float[Tensor, "n 4"], second: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Return intersection over union of all pairs; zero where the union is empty.

    It is faster with the longer list second.
    """
    x0, y0, x1, y1 = first[:, :, None].unbind(dim=1)
    left, top, right, bottom = second.T.contiguous()[:, None].unbind(dim=0)
    width = (torch.minimum(x1, right) - torch.maximum(x0, left)).clamp(min=0)
    overlap = width * (torch.minimum(y1, bottom) - torch.maximum(y0, top)).clamp(min=0)
    union = box_area(first)[:, None] + box_area(second)[None, :] - overlap
    return torch.where(union > 0, overlap / union.clamp(min=1e-12), overlap.new_zeros(()))


def encode_boxes(
    boxes: Float[Tensor, "n 4"], targets: Float[Tensor, "n 4"]
) -> Float[Tensor, "n 4"]:
    """Return (dx, dy, dw, dh) that lead from boxes to targets.

    The shift is in units of the box's size, the growth is the logarithm of the sizes' ratio.

    Paper: 2.3, bounding box regression. Official: lib/bbox/bbox_transform.py:88-112 @309f6c9.
    """
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-6)
    target_size = (targets[:, 2:] - targets[:, :2]).clamp(min=1e-6)
    shift = (targets[:, :2] + targets[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / (2 * size)
    return torch.cat([shift, torch.log(target_size / size)], dim=1)


def decode_boxes(
    boxes: Float[Tensor, "*batch 4"], deltas: Float[Tensor, "*batch 4"]
) -> Float[Tensor, "*batch 4"]:
    """Return the boxes that deltas lead to; the inverse of `encode_boxes`.

    Official: lib/bbox/bbox_transform.py:115-154 @309f6c9, with growth bounded by exp(8).
    """
    size = boxes[..., 2:] - boxes[..., :2]
    centre = boxes[..., :2] + 0.5 * size + deltas[..., :2] * size
    new_size = size * torch.exp(deltas[..., 2:].clamp(max=_MAX_LOG_GROWTH))
    return torch.cat([centre - 0.5 * new_size, centre + 0.5 * new_size], dim=-1)


def clip_boxes(
    boxes: Float[Tensor, "*batch 4"], sizes: Float[Tensor, "*batch 2"], *, keep_pixel: bool = True
) -> Float[Tensor, "*batch 4"]:
    """Return boxes cut to images of the given (height, width).

    Args:
        boxes: in pixels of the images.
        sizes: (height, width) of each box's image.
        keep_pixel: a box that lies outside keeps the border pixel nearest to it, as in the
            release, where corners are clipped to the last pixel; without, nothing is left of it
            but an edge, as in ChainerCV. A box inside is not made larger, however thin it is.

    Official: lib/bbox/bbox_transform.py:40-55 @309f6c9. ChainerCV: experimental/links/model/fcis/
    fcis_resnet101.py:345-346 @7159616.
    """
    height, width = sizes[..., 0], sizes[..., 1]
    least = 1 if keep_pixel else 0
    x0 = torch.minimum(boxes[..., 0].clamp(min=0), width - least)
    y0 = torch.minimum(boxes[..., 1].clamp(min=0), height - least)
    x1 = torch.minimum(boxes[..., 2].clamp(min=least), width)
    y1 = torch.minimum(boxes[..., 3].clamp(min=least), height)
    return torch.stack([x0, y0, x1, y1], dim=-1)


def large_enough(boxes: Float[Tensor, "n 4"], side: float) -> Bool[Tensor, " n"]:
    """Return which boxes are at least `side` wide and high."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= side).all(dim=1)


def to_original(
    boxes: Float[Tensor, "n 4"],
    scale: Float[Tensor, "2"],
    size: tuple[int, int],
    *,
    last_pixel: bool,
    keep_pixel: bool = True,
) -> Float[Tensor, "n 4"]:
    """Return boxes of the resized image in pixels of the original, clipped to it.

    Args:
        boxes: in pixels of the resized image.
        scale: resized over original size, (height, width) order.
        size: (height, width) of the original image.
        last_pixel: divide the coordinate of the last covered pixel by the scale, as the
            release does, instead of the edge; this makes boxes larger by 1 - 1 / scale.
        keep_pixel: as `clip_boxes` takes it.

    Official: fcis/core/tester.py:65, 137-139 @309f6c9, which clips to the resized size over the
    scale, rounded, instead of the true size.
    """
    factor = torch.stack([scale[1], scale[0]])
    end = (boxes[:, 2:] - 1) / factor + 1 if last_pixel else boxes[:, 2:] / factor
    limits = boxes.new_tensor(size).expand(len(boxes), 2)
    found = torch.cat([boxes[:, :2] / factor, end], dim=1)
    return clip_boxes(found, limits, keep_pixel=keep_pixel)
