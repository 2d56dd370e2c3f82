"""From feature maps of whole images to features of the same size for each RoI."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import roi_align, roi_pool

_SAMPLES = 2  # a side of a bin of `align`


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
                found.append(
                    roi_align(own, rois, size, 1 / stride, sampling_ratio=_SAMPLES, aligned=True)
                )
    return torch.cat(found)[torch.cat([image_index[:0], *order]).argsort()]
