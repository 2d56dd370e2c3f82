"""From feature maps of whole images to features of the same size for each RoI.

Bilinear samples lie on a grid of rows and columns, and a bin is the mean of some of them. So a
bin's weight of a cell is a product of two, one of its row and one of its column, and the features
of RoIs are two matrix products, whose gradient costs as little as they do.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import roi_pool

_SAMPLES = 2  # a side of a bin of `align`
_CHUNK = 1 << 24  # values held between the two products


def pool_rois(
    features: Float[Tensor, "image channel h w"],
    cells: Int[Tensor, "image 2"],
    boxes: Float[Tensor, "roi 4"],
    image_index: Int[Tensor, " roi"],
    *,
    size: int,
    stride: int,
    sampling: Literal["pool", "align"],
) -> Float[Tensor, "roi channel {size} {size}"]:
    """Return the features of RoIs, at least in float32.

    What a RoI gets does not depend on what its image is batched with: no cell beyond those of
    its own image is read. The gradient goes to the features only; without RoIs the result is
    empty.

    Args:
        features: of a batch of images.
        cells: (rows, columns) of the grid that belong to each image.
        boxes: in pixels of the resized images.
        image_index: the image of each box.
        size: bins a side.
        stride: pixels per cell.
        sampling: `pool` takes the maximum of the cells that a bin touches, boxes rounded to
            cells (RoI pooling, as the paper has it); `align` the mean of 2 x 2 bilinear samples.

    Paper: 1, 4.1.
    """
    working = features.to(torch.promote_types(features.dtype, torch.float32))
    found, order = [working.new_zeros((0, features.shape[1], size, size))], []
    for image, (rows, columns) in enumerate(cells.tolist()):
        order.append((image_index == image).nonzero()[:, 0])
        own = working[image : image + 1, :, :rows, :columns].contiguous()
        rois = boxes[order[-1]].detach().to(working)
        rois = torch.cat([torch.zeros_like(rois[:, :1]), rois], dim=1)
        with torch.autocast(features.device.type, enabled=False):
            if sampling == "pool":
                # that operator counts the last covered pixel, not the edge
                rois[:, 3:] -= 1
                found.append(roi_pool(own, rois, size, 1 / stride))
            else:
                found.append(_aligned(own[0], rois[:, 1:] / stride, size))
    return torch.cat(found)[torch.cat([image_index[:0], *order]).argsort()]


def _aligned(
    features: Float[Tensor, "channel h w"], boxes: Float[Tensor, "roi 4"], size: int
) -> Float[Tensor, "roi channel {size} {size}"]:
    """Return the mean of 2 x 2 bilinear samples of each bin; boxes are in cells."""
    channels, height, width = features.shape
    rows = features.permute(1, 2, 0).reshape(height, width * channels)
    parts = []
    for part in boxes.split(max(1, _CHUNK // max(1, size * width * channels))):
        bands = _bin_weights(part[:, 1::2], size, height).flatten(0, 1) @ rows
        bands = bands.reshape(len(part), size, width, channels)
        bins = _bin_weights(part[:, 0::2], size, width)[:, None] @ bands
        parts.append(bins.permute(0, 3, 1, 2))
    return torch.cat(parts) if parts else features.new_zeros((0, channels, size, size))


def _bin_weights(
    sides: Float[Tensor, "roi 2"], size: int, count: int
) -> Float[Tensor, "roi {size} {count}"]:
    """Return the weight of each cell along an axis in each bin between two places, in cells.

    A sample more than a cell beyond the outermost centres is worth nothing; one nearer to them is
    worth the outermost cell.
    """
    share = torch.arange(size * _SAMPLES, device=sides.device).to(sides) + 0.5
    start, end = sides[:, :1], sides[:, 1:]
    place = start - 0.5 + share / (size * _SAMPLES) * (end - start)
    is_near = (place >= -1) & (place <= count)
    distance = place.clamp(0, count - 1)[:, :, None] - torch.arange(count, device=sides.device)
    weights = (1 - distance.abs()).clamp(min=0) * is_near[:, :, None]
    return weights.unflatten(1, (size, _SAMPLES)).mean(dim=2)
