"""RoI warping: features of a box of any size as a grid of a fixed one, differentiable in both.

A RoI is read at size x size bilinear samples, of which every 2 x 2 leave their largest: at 28 x 28
samples, 14 x 14 features. What a sample is worth depends smoothly on where the box is, so that a
later loss can move the box (reference: 10.2; MNC, Dai et al., 2016).

In the obvious order 300 RoIs of 1024 channels would need 1 GB for their samples alone, and as much
again for the gradient. Here each chunk of RoIs is sampled, reduced and forgotten, and sampled once
more for the gradient.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from fcis.ops.roi_sampling import COORDINATE_LIMIT, RoIs, round_half_away

_CHUNK = 1 << 24  # values of the samples held at once


def warp_rois(
    features: Float[Tensor, "image channel h w"],
    rois: RoIs,
    *,
    size: int,
    stride: int,
    whole_cells: bool = False,
) -> Float[Tensor, "roi channel {size//2} {size//2}"]:
    """Return the features of each RoI, the largest of 2 x 2 bilinear samples each.

    The samples lie at the centres of size x size equal bins; beyond the outermost centres of
    cells the features go on as they are, and outside the image they are zero. The result is
    channels-last in memory.

    Args:
        features: of whole images.
        rois: boxes in pixels; their gradient is that of the samples' places.
        size: samples a side, an even number.
        stride: pixels per cell.
        whole_cells: the release of MNC rounds the first and the last covered pixel of a box to
            cells, and takes the samples at the beginnings of the bins between. The gradient then
            passes through the rounding as if there were none.

    Raises:
        ValueError: the size is odd, or less than 2.

    Official (MNC): src/caffe/layers/roi_warping_layer.cu:17-107.
    """
    if size < 2 or size % 2:
        raise ValueError(f"size: expected an even number of at least 2, got {size}")
    channels = features.shape[1]
    if len(rois) == 0:
        return features.new_zeros((0, channels, size // 2, size // 2))
    rows, columns = (
        _places(rois, axis, size=size, stride=stride, whole_cells=whole_cells) for axis in (1, 0)
    )
    # rows of one cell each, without a copy where the features are channels-last
    table = features.permute(0, 2, 3, 1)
    parts = []
    for part in torch.arange(len(rois), device=features.device).split(
        max(1, _CHUNK // max(1, size * size * channels))
    ):
        own = RoIs(boxes=rois.boxes[part], image_index=rois.image_index[part], cells=rois.cells)
        parts.append(
            checkpoint(
                _warped,
                table,
                own,
                rows[part],
                columns[part],
                use_reentrant=False,
                preserve_rng_state=False,
            )
        )
    return torch.cat(parts)


def bounded_gradient(values: Float[Tensor, "*shape"], bound: float) -> Float[Tensor, "*shape"]:
    """Return the same values, whose gradient is cut to +-bound, number by number."""
    if not values.requires_grad:
        return values
    passed = values.clone()
    passed.register_hook(lambda gradient: gradient.clamp(-bound, bound))
    return passed


def _places(
    rois: RoIs, axis: int, *, size: int, stride: int, whole_cells: bool
) -> Float[Tensor, "roi sample"]:
    """Return where the samples of each RoI lie along an axis; cell i is at i."""
    boxes = rois.boxes.nan_to_num(nan=0.0).clamp(-COORDINATE_LIMIT, COORDINATE_LIMIT)
    sample = torch.arange(size, device=boxes.device).to(boxes)
    if not whole_cells:
        start, end = (boxes[:, side, None] / stride for side in (axis, axis + 2))
        return start + (sample + 0.5) / size * (end - start) - 0.5
    start = _rounded(boxes[:, axis, None] / stride)
    end = _rounded((boxes[:, axis + 2, None] - 1) / stride)
    return start + sample / size * (end - start)


def _rounded(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return whole numbers with the gradient of the values themselves."""
    # in this order the sum is exactly the whole number
    return round_half_away(values).detach() + (values - values.detach())


def _warped(
    table: Float[Tensor, "image h w channel"],
    rois: RoIs,
    rows: Float[Tensor, "roi sample"],
    columns: Float[Tensor, "roi sample"],
) -> Float[Tensor, "roi channel _ _"]:
    """Return the features at rows x columns of places, reduced 2 x 2."""
    _, height, width, channels = table.shape
    count = rois.cells[rois.image_index]
    row, row_weight = _taps(rows, count[:, :1])
    column, column_weight = _taps(columns, count[:, 1:])
    first = rois.image_index[:, None, None] * height
    cell = (first + row)[:, :, None, :, None] * width + column[:, None, :, None, :]
    weight = row_weight[:, :, None, :, None] * column_weight[:, None, :, None, :]
    samples = functional.embedding_bag(
        cell.reshape(-1, 4),
        table.reshape(-1, channels),
        per_sample_weights=weight.reshape(-1, 4).to(table.dtype),
        mode="sum",
    )
    grids = samples.reshape(*rows.shape, columns.shape[1], channels).permute(0, 3, 1, 2)
    return functional.max_pool2d(grids, 2)


def _taps(
    places: Float[Tensor, "roi sample"], count: Int[Tensor, "roi 1"]
) -> tuple[Int[Tensor, "roi sample 2"], Float[Tensor, "roi sample 2"]]:
    """Return the two cells between which each sample lies, and their weights.

    Both weights are zero where a sample lies outside the image.
    """
    inside = (places >= -0.5) & (places <= count - 0.5)
    place = torch.minimum(places.clamp(min=0), (count - 1).to(places))
    low = place.detach().floor()
    share = place - low
    weights = torch.stack([1 - share, share], dim=-1) * inside[..., None]
    cell = low.long()
    return torch.stack([cell, torch.minimum(cell + 1, count - 1)], dim=-1), weights
