"""Every way of sampling in one form: a bin reads some consecutive cells along an axis.

The first cell has a weight of its own and all others share one, which is enough for `pool` (all
alike), `align` (two) and `native` (one). Nothing here depends on values for its shape, so nothing
waits for a GPU and everything can be traced.

Axis words: `bin` the positions of a RoI along one axis, `size` as many as the canvas has cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from fcis.ops.roi_sampling import AssemblyRule, RoIs, axis_taps, bin_parts, native_range, pool_range


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisSpans:
    """What the bins of each RoI read along one axis.

    Attributes:
        first: first cell of each bin; valid even where nothing is read.
        count: cells from there on; 0 for a bin outside the image, and for one beyond `bins`.
        head: weight of the first cell.
        tail: weight of each further cell.
        part: which of the k parts a bin belongs to.
        bins: how many bins a RoI has.
    """

    first: Int[Tensor, "roi bin"]
    count: Int[Tensor, "roi bin"]
    head: Float[Tensor, "roi bin"]
    tail: Float[Tensor, "roi bin"]
    part: Int[Tensor, "roi bin"]
    bins: Int[Tensor, " roi"]


def axis_spans(rois: RoIs, rule: AssemblyRule, axis: int, *, k: int, size: int) -> AxisSpans:
    """Return what the bins read along an axis (0 rows, 1 columns) of a canvas of that size.

    `native` has as many bins as the canvas has cells, of which a RoI uses the first ones.
    """
    if rule.sampling == "native":
        return _native_spans(rois, rule, axis, k=k, size=size)
    if rule.sampling == "pool":
        first, last = pool_range(rois, rule, axis)
        count = last - first
        head = tail = 1 / count.clamp(min=1).to(
            torch.promote_types(rois.boxes.dtype, torch.float32)
        )
        # outside the image both ends are the border, which is no cell
        first = first.minimum(rois.cells[rois.image_index, axis].long()[:, None] - 1)
    else:
        taps = axis_taps(rois, rule, axis)
        first = taps.cells[..., 0]
        head, tail = taps.weights.unbind(dim=2)
        count = 1 + (tail > 0).long()
    return AxisSpans(
        first=first,
        count=count,
        head=head,
        tail=tail,
        part=bin_parts(rule.out_size, k, first.device).expand_as(first),
        bins=torch.full_like(first[:, 0], rule.out_size),
    )


def _native_spans(rois: RoIs, rule: AssemblyRule, axis: int, *, k: int, size: int) -> AxisSpans:
    """Return one cell a bin; bin i of n belongs to part floor((i + 0.5) k / n)."""
    first, bins = native_range(rois, rule, axis)
    local = torch.arange(size, device=first.device)
    used = local < bins[:, None]
    part = torch.div((2 * local + 1) * k, 2 * bins[:, None], rounding_mode="floor")
    cells = first[:, None] + torch.where(used, local, 0)
    ones = torch.ones_like(cells, dtype=torch.float32)
    return AxisSpans(
        first=cells,
        count=used.long(),
        head=ones,
        tail=ones,
        part=part.clamp(max=k - 1),
        bins=bins,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanTables:
    """Spans along both axes, 0 rows and 1 columns, as kernels read them.

    Attributes:
        spans: first cell, number of cells and part of each bin.
        weights: of the first cell and of each further one.
        rois: image of each RoI, and its bins along either axis.
        positions: how many positions each RoI has.
    """

    spans: Int[Tensor, "roi axis bin 3"]
    weights: Float[Tensor, "roi axis bin 2"]
    rois: Int[Tensor, "roi 3"]
    positions: Int[Tensor, " roi"]

    def readers(self, size: int) -> Int[Tensor, "roi axis {size} 2"]:
        """Return the first bin that reads each row or column of cells, and the one after the last.

        Those between read it too, because spans never turn back. Where no bin reads a cell, the
        first is not below the last.
        """
        device, bins = self.spans.device, self.spans.shape[2]
        number = torch.arange(bins, device=device, dtype=torch.int32)[:, None]
        local = torch.arange(size, device=device) - self.spans[..., :1]
        reads = (local >= 0) & (local < self.spans[..., 1:2])
        first = torch.where(reads, number, bins).amin(dim=2)
        last = torch.where(reads, number + 1, 0).amax(dim=2)
        return torch.stack((first, last), dim=3)


def span_tables(rois: RoIs, rule: AssemblyRule, size: Sequence[int]) -> SpanTables:
    """Return the spans on maps of that size, (image, h, w, cell, ...).

    Images and valid cells are cut to the maps. Where one axis has fewer bins than the other, bins
    that read nothing follow.

    Raises:
        ValueError: the maps do not have k * k cells.
    """
    images, h, w, cells, *_ = size
    k = math.isqrt(cells)
    if k * k != cells or k == 0:
        raise ValueError(f"maps: expected k * k cells, got {cells}")
    image = rois.image_index.long().clamp(0, images - 1)
    valid = torch.stack((rois.cells[:, 0].clamp(1, h), rois.cells[:, 1].clamp(1, w)), dim=1)
    rois = replace(rois, image_index=image, cells=valid)
    axes = [axis_spans(rois, rule, axis, k=k, size=(h, w)[axis]) for axis in (0, 1)]
    most = max(axis.first.shape[1] for axis in axes)
    spans = [torch.stack((axis.first, axis.count, axis.part), dim=2) for axis in axes]
    weights = [torch.stack((axis.head, axis.tail), dim=2) for axis in axes]
    return SpanTables(
        spans=torch.stack([_padded(axis, most) for axis in spans], dim=1).int(),
        weights=torch.stack([_padded(axis, most) for axis in weights], dim=1).float(),
        rois=torch.stack((image, axes[0].bins, axes[1].bins), dim=1).int(),
        positions=axes[0].bins * axes[1].bins,
    )


def _padded(
    values: Shaped[Tensor, "roi bin column"], bins: int
) -> Shaped[Tensor, "roi {bins} column"]:
    """Return a table with zeros up to a number of bins."""
    return functional.pad(values, (0, 0, 0, bins - values.shape[1]))
