"""Which map cells each bin of a RoI reads, with which weights, one axis at a time.

Every rule here is separable: a bin (p, q) reads the cells of row bin p times those of column
bin q. This file knows boxes, strides and grids, but no score and no layout of the maps.

Axis words: `bin` the `out_size` positions of a RoI along one axis, `tap` the cells that one
bin reads, `position` the cells that a RoI covers natively, all RoIs behind one another.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

Sampling = Literal["pool", "align", "native"]

MIN_POOL_CELLS = 0.1
"""Smallest side of a pooled RoI, in cells (operator_cxx/psroi_pooling.cu:62-63 @309f6c9)."""

COORDINATE_LIMIT = 2.0**20
"""Coordinates beyond it, in pixels, are moved to it; not a number counts as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoIs:
    """Regions of interest of a batch of images whose valid parts differ in size.

    Attributes:
        boxes: in pixels of the resized image; may leave the image or be inverted.
        image_index: the image of each RoI.
        cells: valid (rows, columns) of each image's grid, at least 1; no cell beyond counts.
    """

    boxes: Float[Tensor, "roi 4"]
    image_index: Int[Tensor, " roi"]
    cells: Int[Tensor, "image 2"]

    def __len__(self) -> int:
        return self.boxes.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblyRule:
    """How a RoI is sampled from the maps.

    Attributes:
        stride: pixels per map cell.
        sampling: `pool` averages the cells that each bin touches, as the release does; `align`
            reads one bilinear sample at each bin's centre; `native` copies the covered cells.
        out_size: bins along each side of a RoI; `native` has as many as there are cells.
        round_boxes: `pool` only: round to whole pixels first, as the release does; without it
            the rule is ChainerCV's.

    Raises:
        ValueError: a size is below 1 or the sampling is unknown.

    Paper: 2.2 (`native`). Official: operator_cxx/psroi_pooling.cu:50-97 @309f6c9 (`pool`).
    """

    stride: int
    sampling: Sampling
    out_size: int = 21
    round_boxes: bool = True

    def __post_init__(self) -> None:
        for name in ("stride", "out_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.sampling not in get_args(Sampling):
            known = ", ".join(get_args(Sampling))
            raise ValueError(f"sampling: expected one of {known}, got {self.sampling!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisTaps:
    """What the bins of each RoI read along one axis.

    Attributes:
        cells: valid cells of the RoI's image; padding taps repeat a cell of weight 0.
        weights: sum to 1 over the taps of a bin, or to 0 where a bin lies outside the image.
        used: how many leading taps any bin of a RoI needs; the rest is padding.
    """

    cells: Int[Tensor, "roi bin tap"]
    weights: Float[Tensor, "roi bin tap"]
    used: Int[Tensor, " roi"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeCells:
    """The cells that each RoI covers, row by row, RoI after RoI.

    Attributes:
        roi: the RoI of each position.
        row: row of the cell in the grid.
        column: column of the cell in the grid.
        part: the part of the RoI, row-major, that the cell belongs to.
        shapes: (rows, columns) covered by each RoI, at least 1.
    """

    roi: Int[Tensor, " position"]
    row: Int[Tensor, " position"]
    column: Int[Tensor, " position"]
    part: Int[Tensor, " position"]
    shapes: Int[Tensor, "roi 2"]


def round_half_away(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return whole numbers, halves away from zero as C's `round` does."""
    whole = values.trunc()
    return whole + ((values - whole).abs() >= 0.5) * values.sign()


def bin_parts(out_size: int, k: int, device: torch.device) -> Int[Tensor, " bin"]:
    """Return which of the k parts of an axis each bin belongs to."""
    return torch.arange(out_size, device=device) * k // out_size


def axis_taps(rois: RoIs, rule: AssemblyRule, axis: int) -> AxisTaps:
    """Return what the bins read along an axis (0 rows, 1 columns) under `pool` or `align`.

    Raises:
        ValueError: the rule is `native`, which has no bins.
    """
    if rule.sampling == "native":
        raise ValueError("sampling: expected pool or align, got 'native'")
    if rule.sampling == "pool":
        return _pool_taps(rois, rule, axis)
    low, high, limit = _axis(rois, axis)
    return _align_taps(low, high, limit, rule)


def pool_range(
    rois: RoIs, rule: AssemblyRule, axis: int
) -> tuple[Int[Tensor, "roi bin"], Int[Tensor, "roi bin"]]:
    """Return the first cell that each bin touches along an axis and the one after the last.

    A bin outside the image touches none: both are the same border.

    The edges are float32 in the release's order of operations: where an edge falls an ulp
    beside a whole number the bin gains a cell, and released weights were trained with that.
    """
    low, high, limit = _axis(rois, axis)
    low, high = low.float(), high.float()
    if rule.round_boxes:
        low, high = round_half_away(low), round_half_away(high - 1) + 1
    # 0-dimensional tensors, because a division by a number may become a multiplication
    scale, bins = low.new_full((), 1 / rule.stride), low.new_full((), rule.out_size)
    start = low * scale
    width = (high * scale - start).clamp(min=MIN_POOL_CELLS) / bins
    edges = torch.arange(rule.out_size + 1, device=low.device)
    start, width, limit = start[:, None], width[:, None], limit[:, None]
    first = (edges[:-1] * width + start).floor().long().clamp(min=0).minimum(limit)
    last = (edges[1:] * width + start).ceil().long().clamp(min=0).minimum(limit)
    return first, last


def native_range(
    rois: RoIs, rule: AssemblyRule, axis: int
) -> tuple[Int[Tensor, " roi"], Int[Tensor, " roi"]]:
    """Return the first covered cell of each RoI along an axis and how many are covered.

    A box outside the image covers the border cell nearest to it.
    """
    low, high, limit = _axis(rois, axis)
    first = (low / rule.stride).floor().long()
    first = first.clamp(min=0).minimum(limit - 1)
    last = (high / rule.stride).ceil().long()
    return first, last.minimum(limit).maximum(first + 1) - first


def native_cells(rois: RoIs, rule: AssemblyRule, k: int) -> NativeCells:
    """Return every covered cell of every RoI; cell i of n belongs to part floor((i + 0.5) k / n).

    Paper: 2.2.
    """
    (top, rows), (left, columns) = (native_range(rois, rule, axis) for axis in (0, 1))
    counts = rows * columns
    roi = torch.repeat_interleave(counts)
    local = torch.arange(len(roi), device=roi.device) - (counts.cumsum(0) - counts)[roi]
    width = columns[roi]
    row = torch.div(local, width, rounding_mode="floor")
    column = local - row * width
    # floor((i + 0.5) k / n) in whole numbers
    vertical = torch.div((2 * row + 1) * k, 2 * rows[roi], rounding_mode="floor")
    horizontal = torch.div((2 * column + 1) * k, 2 * width, rounding_mode="floor")
    return NativeCells(
        roi=roi,
        row=row + top[roi],
        column=column + left[roi],
        part=vertical * k + horizontal,
        shapes=torch.stack((rows, columns), dim=1),
    )


def axis_weights(
    rois: RoIs, rule: AssemblyRule, axis: int, *, k: int, size: int
) -> Float[Tensor, "roi {k} {size}"]:
    """Return the share of each (part, cell of the axis) in the mean over a RoI's positions.

    `size` is the number of cells of the canvas along the axis, valid or not.
    """
    device = rois.boxes.device
    if rule.sampling == "native":
        first, count = (value[:, None] for value in native_range(rois, rule, axis))
        local = torch.arange(size, device=device) - first
        part = torch.div((2 * local + 1) * k, 2 * count, rounding_mode="floor")
        inside = (local >= 0) & (local < count)
        mine = (part[:, None] == torch.arange(k, device=device)[:, None]) & inside[:, None]
        return mine / count[..., None].to(_coordinate_type(rois.boxes))
    taps = axis_taps(rois, rule, axis)
    total = taps.weights.new_zeros((len(rois), k, size))
    roi = torch.arange(len(rois), device=device)[:, None, None].expand_as(taps.cells)
    part = bin_parts(rule.out_size, k, device)[:, None].expand_as(taps.cells)
    # accumulation by index_put_ has a fixed order on every device
    total.index_put_((roi, part, taps.cells), taps.weights / rule.out_size, accumulate=True)
    return total


def mask_extents(rois: RoIs, rule: AssemblyRule) -> Float[Tensor, "roi 4"]:
    """Return the box in pixels that the samples of each RoI cover evenly, always finite.

    The box itself; the rounded box where `pool` rounds; the covered cells for `native`.
    """
    if rule.sampling == "native":
        (top, rows), (left, columns) = (native_range(rois, rule, axis) for axis in (0, 1))
        cells = torch.stack((left, top, left + columns, top + rows), dim=1)
        return (cells * rule.stride).to(_coordinate_type(rois.boxes))
    boxes = _legal(rois.boxes)
    if rule.sampling == "pool" and rule.round_boxes:
        low, high = boxes.split(2, dim=1)
        return torch.cat((round_half_away(low), round_half_away(high - 1) + 1), dim=1)
    return boxes


def _coordinate_type(boxes: Float[Tensor, "*any"]) -> torch.dtype:
    """Return the type for coordinates: half precision cannot hold them."""
    return torch.promote_types(boxes.dtype, torch.float32)


def _legal(boxes: Float[Tensor, "roi 4"]) -> Float[Tensor, "roi 4"]:
    """Return boxes of moderate numbers, cut off from the gradient."""
    boxes = boxes.detach().to(_coordinate_type(boxes)).nan_to_num(nan=0.0)
    return boxes.clamp(-COORDINATE_LIMIT, COORDINATE_LIMIT)


def _axis(
    rois: RoIs, axis: int
) -> tuple[Float[Tensor, " roi"], Float[Tensor, " roi"], Int[Tensor, " roi"]]:
    """Return both ends of each RoI along an axis and the valid cells there."""
    boxes = _legal(rois.boxes)
    return boxes[:, 1 - axis], boxes[:, 3 - axis], rois.cells[rois.image_index, axis].long()


def _pool_taps(rois: RoIs, rule: AssemblyRule, axis: int) -> AxisTaps:
    """Return the cells that each bin touches, equally weighted."""
    first, last = pool_range(rois, rule, axis)
    limit = rois.cells[rois.image_index, axis].long()
    counts = (last - first).clamp(min=0)
    used = counts.amax(dim=1).clamp(min=1)
    taps = torch.arange(int(used.max()) if len(used) else 1, device=first.device)
    cells = (first[..., None] + taps).minimum(last[..., None] - 1)
    cells = cells.clamp(min=0).minimum(limit[:, None, None] - 1)
    weight_type = _coordinate_type(rois.boxes)
    weights = (taps < counts[..., None]) / counts[..., None].clamp(min=1).to(weight_type)
    return AxisTaps(cells=cells, weights=weights, used=used)


def _align_taps(
    low: Float[Tensor, " roi"],
    high: Float[Tensor, " roi"],
    limit: Int[Tensor, " roi"],
    rule: AssemblyRule,
) -> AxisTaps:
    """Return the two cells around each bin's centre, weighted by nearness."""
    step = (high - low) / (rule.out_size * rule.stride)
    bins = torch.arange(rule.out_size, device=low.device, dtype=low.dtype)
    # cell i has its centre at i + 0.5, so half a cell less counts from the first centre
    centres = (low / rule.stride)[:, None] + (bins + 0.5) * step[:, None] - 0.5
    border = (limit - 1)[:, None]
    centres = centres.clamp(min=0).minimum(border.to(centres.dtype))
    lower = centres.floor()
    fraction = centres - lower
    cells = lower.long()
    return AxisTaps(
        cells=torch.stack((cells, (cells + 1).minimum(border)), dim=-1),
        weights=torch.stack((1 - fraction, fraction), dim=-1),
        used=torch.full_like(limit, 2),
    )
