"""Assembly the obvious way: write out every RoI's tensor, then reduce it.

The maps come as a convolution with the release's weights writes them, channels (class, side,
row, column) first. One gather makes the tensor of every position of every RoI, all classes and
both sides; where a position mixes several cells there is a gather for each of them. Then follow
the greater of both sides and the mean over positions. No loop over RoIs; the gradient is torch's.

    memory of the tensor: 4 B x RoIs x classes x 2 x 21 x 21, 86 MB for 300 RoIs and 81 classes

With `native` a RoI has as many positions as it covers cells, and the tensor is a ragged one. A
tensor of 21 x 21 nearest cells a RoI, which is what one writes who wants one shape for all, gives
nearly the same scores; `native` is measured against that too. It comes in two layouts: as rows of
the maps' planes, which is the faster one to gather, and as the tensor (RoI, class, side, 21, 21)
that the words say, by indexing the maps with all five axes at once.

It is the peer that the operators are measured against.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.ops.roi_sampling import (
    AssemblyRule,
    RoIs,
    axis_taps,
    bin_parts,
    native_cells,
    native_range,
)

Layout = Literal["cells", "grid", "indexed"]


Outputs = tuple[Float[Tensor, "roi class"], Float[Tensor, "roi 4"], Float[Tensor, "pixel side"]]
"""Scores, box shifts, and both sides' values of one class a RoI, RoI after RoI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Positions:
    """Where the positions of all RoIs, one after another, read the planes.

    Attributes:
        index: into a plane of (image, part, row, column).
        weights: of the cells that a position mixes; None where it is one cell.
        counts: positions of each RoI.
        even: do all RoIs have as many.
    """

    index: Int[Tensor, "tap position"]
    weights: Float[Tensor, "tap position"] | None
    counts: Int[Tensor, " roi"]
    even: bool


def assemble_materialised(
    class_maps: Float[Tensor, "image channel h w"],
    box_maps: Float[Tensor, "image box_channel h w"],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
    *,
    k: int,
    layout: Layout = "cells",
) -> Outputs:
    """Return what `class_scores`, `mean_deltas` and `class_masks` return of the same maps.

    Args:
        class_maps: channels (class, side, row, column).
        box_maps: channels (4, row, column).
        rois: at least one.
        classes: whose values each RoI keeps.
        rule: how to sample.
        k: parts along a side of a RoI.
        layout: of the tensor; with `native`, `grid` reads `out_size` nearest cells along each side
            of a RoI instead of every cell once, the same where a RoI covers as many, and `indexed`
            does so in one tensor with RoIs first.

    Paper: 2.2.
    """
    if layout == "indexed":
        return _indexed(class_maps, box_maps, rois, classes, rule, k)
    positions = _positions(rois, rule, k, class_maps.shape[2:], grid=layout == "grid")
    both = _read(class_maps, positions, k).unflatten(0, (-1, 2))
    scores = _means(torch.maximum(both[:, 0], both[:, 1]), positions)
    deltas = _means(_read(box_maps, positions, k), positions)
    position = torch.arange(both.shape[2], device=both.device)
    wanted = classes.repeat_interleave(positions.counts)
    return scores, deltas, both[wanted, :, position]


def _indexed(
    class_maps: Float[Tensor, "image channel h w"],
    box_maps: Float[Tensor, "image box_channel h w"],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
    k: int,
) -> Outputs:
    """Return what the layout `grid` returns, from one tensor with RoIs first."""
    row, column = _nearest(rois, rule)
    part = bin_parts(rule.out_size, k, rois.boxes.device)
    part = part[:, None] * k + part

    def gathered(maps: Tensor, planes: tuple[int, ...]) -> Tensor:
        first = torch.arange(math.prod(planes), device=maps.device).reshape(*planes, 1, 1)
        ones = (1,) * len(planes)
        return maps[
            rois.image_index.reshape(-1, *ones, 1, 1),
            (first * k**2 + part)[None],
            row.reshape(len(row), *ones, -1, 1),
            column.reshape(len(column), *ones, 1, -1),
        ]

    both = gathered(class_maps, (class_maps.shape[1] // (2 * k**2), 2))
    chosen = both[torch.arange(len(both), device=both.device), classes]
    scores = both.amax(dim=2).mean(dim=(2, 3))
    deltas = gathered(box_maps, (4,)).mean(dim=(2, 3))
    return scores, deltas, chosen.flatten(2).transpose(1, 2).flatten(0, 1)


def _positions(
    rois: RoIs, rule: AssemblyRule, k: int, size: torch.Size, *, grid: bool
) -> _Positions:
    """Return where a rule reads, or as many nearest cells of every RoI."""
    if rule.sampling == "native" and not grid:
        cells = native_cells(rois, rule, k)
        plane = rois.image_index[cells.roi] * k**2 + cells.part
        index = (plane * size[0] + cells.row) * size[1] + cells.column
        counts = cells.shapes.prod(dim=1)
        return _Positions(index=index[None], weights=None, counts=counts, even=False)
    part = bin_parts(rule.out_size, k, rois.boxes.device)
    plane = rois.image_index[:, None, None] * k**2 + part[:, None] * k + part

    def flat(row: Int[Tensor, "roi row"], column: Int[Tensor, "roi column"]) -> Tensor:
        index = (plane * size[0] + row[:, :, None]) * size[1] + column[:, None, :]
        return index.flatten()

    if grid:
        index, weights = [flat(*_nearest(rois, rule))], None
    else:
        vertical, horizontal = (axis_taps(rois, rule, axis) for axis in (0, 1))
        # taps beyond those that any RoI needs have no weight
        taps = [
            (i, j)
            for i in range(int(vertical.used.max()))
            for j in range(int(horizontal.used.max()))
        ]
        index = [flat(vertical.cells[:, :, i], horizontal.cells[:, :, j]) for i, j in taps]
        weights = torch.stack(
            [
                (vertical.weights[:, :, None, i] * horizontal.weights[:, None, :, j]).flatten()
                for i, j in taps
            ]
        )
    counts = rois.image_index.new_full((len(rois),), rule.out_size**2)
    return _Positions(index=torch.stack(index), weights=weights, counts=counts, even=True)


def _nearest(
    rois: RoIs, rule: AssemblyRule
) -> tuple[Int[Tensor, "roi sample"], Int[Tensor, "roi sample"]]:
    """Return row and column of `out_size` nearest cells along each side of what a RoI covers."""
    sample = torch.arange(rule.out_size, device=rois.boxes.device)
    row, column = (
        first[:, None] + (2 * sample + 1) * cells[:, None] // (2 * rule.out_size)
        for first, cells in (native_range(rois, rule, axis) for axis in (0, 1))
    )
    return row, column


def _read(
    maps: Float[Tensor, "image channel h w"], positions: _Positions, k: int
) -> Float[Tensor, "plane position"]:
    """Return the value of every plane at every position."""
    # for one image a view, no copy
    planes = maps.unflatten(1, (-1, k**2)).transpose(0, 1).flatten(1)
    if positions.weights is None:
        return planes.index_select(1, positions.index[0])
    weights = positions.weights.to(maps.dtype)
    total = planes.index_select(1, positions.index[0]) * weights[0]
    for index, weight in zip(positions.index[1:], weights[1:], strict=True):
        total.addcmul_(planes.index_select(1, index), weight)
    return total


def _means(
    values: Float[Tensor, "plane position"], positions: _Positions
) -> Float[Tensor, "roi plane"]:
    """Return each RoI's mean over its positions."""
    if positions.even:
        return values.unflatten(1, (len(positions.counts), -1)).mean(dim=2).T
    offsets = torch.nn.functional.pad(positions.counts.cumsum(0), (1, 0))
    offsets = offsets.expand(len(values), -1).contiguous()
    return torch.segment_reduce(values, "mean", offsets=offsets, axis=1, unsafe=True).T
