"""Position-sensitive assembly in torch operations: from maps to scores, deltas and masks.

    class_scores   a weighted sum of map rows a bin, max over both sides, mean over the bins
    mean_deltas    linear and separable, hence two small matrix products an image
    class_masks    a weighted sum a bin and side, of one class a RoI

The score maps are a table here: a row for each (image, y, x, cell) holds the scores of both
sides and all classes, and `embedding_bag` sums weighted rows of it: a bag is what one bin reads.
RoIs are taken in chunks, so that the sums stay in cache and memory stays bounded: all bins of
300 RoIs with 81 classes would be 86 MB. The gradient of a bag-sum is a bag-sum too, with the taps
sorted by table row. No step adds in an order that may change: equal input gives equal bits.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.autograd.function import BackwardCFunction, once_differentiable

from fcis.ops.sampling import (
    AssemblyRule,
    NativeCells,
    RoIs,
    axis_taps,
    axis_weights,
    bin_parts,
    mask_extents,
    native_cells,
)
from fcis.structures import INSIDE, OUTSIDE, RoIMasks

CHUNK_NUMBERS = 2**21
"""Sums, indices and weights in work at a time: 8 MB, about what a cache holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """The bags of some RoIs, equally many each.

    Attributes:
        rois: the RoIs, as rows of the result.
        index: table rows that each bag reads; RoI after RoI, bins row by row.
        weights: weight of each tap.
    """

    rois: Int[Tensor, " some"]
    index: Int[Tensor, "bag tap"]
    weights: Float[Tensor, "bag tap"]

    def sums(self, table: Float[Tensor, "row column"]) -> Float[Tensor, "some bin column"]:
        """Return the weighted sum of each bag."""
        sums = F.embedding_bag(self.index, table, per_sample_weights=self.weights, mode="sum")
        return sums.unflatten(0, (len(self.rois), -1))

    def transposed_sums(
        self, bags: Float[Tensor, "bag column"]
    ) -> tuple[Int[Tensor, " touched"], Float[Tensor, "touched column"]]:
        """Return the table rows that are read, each once, and the weighted sum of their bags."""
        rows, offsets, order = _by_row(self.index.flatten())
        bag, weights = order // self.index.shape[1], self.weights.flatten()[order]
        return rows, F.embedding_bag(bag, bags, offsets, per_sample_weights=weights, mode="sum")


def class_scores(
    maps: Float[Tensor, "image h w cell side class"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi class"]:
    """Return the mean over each RoI's positions of the greater of both sides.

    The gradient goes to the maps only; where both sides are equal, to the outside score.
    Without RoIs the result has no rows.

    Raises:
        ValueError: the maps do not have k * k cells, or the RoIs' valid cells are not theirs.

    Paper: 2.2. Official: operator_cxx/channel_operator.cu:45-56 @309f6c9 (the same tie).
    """
    k, table = _parts(maps, rois), _working(maps).flatten(0, 3)
    if rule.sampling == "native":
        cells = native_cells(rois, rule, k)
        index = _native_index(maps, rois, cells, k)
        scores = _NativeScores.apply(table, index, cells.roi, len(rois))
    else:
        scores = _BinScores.apply(table, _chunks(maps, rois, rule, k), len(rois))
    return scores.to(maps.dtype)


def mean_deltas(
    maps: Float[Tensor, "image h w cell 4"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi 4"]:
    """Return the mean of the box maps over each RoI's positions.

    The gradient goes to the maps only. Without RoIs the result has no rows.

    Raises:
        ValueError: the maps do not have k * k cells, or the RoIs' valid cells are not theirs.

    Paper: 2.3.
    """
    k, (_, h, w, _, _) = _parts(maps, rois), maps.shape
    working = _working(maps).unflatten(3, (k, k))
    rows = axis_weights(rois, rule, 0, k=k, size=h).to(working.dtype).flatten(1)
    columns = axis_weights(rois, rule, 1, k=k, size=w).to(working.dtype).flatten(1)
    means, order = [working.new_zeros((0, 4))], [rois.image_index.new_zeros(0, dtype=torch.int64)]
    # under autocast the products would be rounded to half precision
    with torch.autocast(maps.device.type, enabled=False):
        for image in range(len(maps)):
            mine = (rois.image_index == image).nonzero().squeeze(1)
            # (y, x, row part, column part, 4) -> (row part, y) by (column part, x, 4)
            matrix = working[image].permute(2, 0, 3, 1, 4).reshape(k * h, k * w * 4)
            partial = (rows[mine] @ matrix).unflatten(1, (k * w, 4))
            means.append((columns[mine][:, None] @ partial).squeeze(1))
            order.append(mine)
    return torch.cat(means)[torch.cat(order).argsort()].to(maps.dtype)


def class_masks(
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
) -> RoIMasks:
    """Return both sides' scores of one class a RoI at each of its positions.

    The gradient goes to the maps only. Without RoIs the result is empty.

    Raises:
        ValueError: the maps do not have k * k cells, the RoIs' valid cells are not theirs, or a
            class is not in them.

    Paper: 2.2.
    """
    k, num_classes = _parts(maps, rois), maps.shape[-1]
    if len(rois) and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
        raise ValueError(
            f"classes: expected 0 to {num_classes - 1}, "
            f"got {int(classes.min())} to {int(classes.max())}"
        )
    table = _working(maps).flatten(0, 3)
    if rule.sampling == "native":
        cells = native_cells(rois, rule, k)
        index = _native_index(maps, rois, cells, k) * (2 * num_classes) + classes[cells.roi]
        positions, ones = torch.arange(len(index), device=index.device), table.new_ones(len(index))
        # every covered cell counts as a RoI of one bin that reads one number
        chunk = _Chunk(rois=positions, index=index[:, None], weights=ones[:, None])
        chunks = [chunk] if len(index) else []
        values, shapes = _BinMasks.apply(table, chunks, len(index), 1), cells.shapes
    else:
        chunks = _chunks(maps, rois, rule, k, classes)
        values = _BinMasks.apply(table, chunks, len(rois), rule.out_size**2)
        shapes = rois.image_index.new_full((len(rois), 2), rule.out_size)
    return RoIMasks(
        values=values.flatten(0, 1).to(maps.dtype),
        shapes=shapes,
        extents=mask_extents(rois, rule),
    )


class _BinScores(torch.autograd.Function):
    """Mean over the bins of the greater side; chunks index rows of the maps."""

    @staticmethod
    def forward(
        ctx: BackwardCFunction,
        maps: Float[Tensor, "row side class"],
        chunks: Iterable[_Chunk],
        num_rois: int,
    ) -> Float[Tensor, "{num_rois} class"]:
        table, num_classes = maps.flatten(1), maps.shape[2]
        scores = maps.new_empty((num_rois, num_classes))
        saved = [_blank_like(maps)]
        for chunk in chunks:
            outside, inside = chunk.sums(table).split(num_classes, dim=2)
            scores[chunk.rois] = torch.maximum(outside, inside).mean(dim=1)
            if ctx.needs_input_grad[0]:
                saved += [chunk.rois, chunk.index, chunk.weights, inside > outside]
        ctx.save_for_backward(*saved)
        return scores

    @staticmethod
    @once_differentiable  # whose wrapper hides the signature
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: BackwardCFunction, grad: Float[Tensor, "roi class"]
    ) -> tuple[Float[Tensor, "row side class"], None, None]:
        blank, *saved = ctx.saved_tensors
        total = grad.new_zeros(blank.shape)
        for rois, index, weights, wins in zip(*(saved[i::4] for i in range(4)), strict=True):
            share = (grad[rois] / wins.shape[1])[:, None]
            bags = torch.cat((share * ~wins, share * wins), dim=2).flatten(0, 1)
            chunk = _Chunk(rois=rois, index=index, weights=weights)
            rows, sums = chunk.transposed_sums(bags)
            # each row comes once a chunk; `index_add_` would be slower
            total.flatten(1)[rows] += sums
        return total, None, None


class _NativeScores(torch.autograd.Function):
    """Mean over the covered cells of the greater side, which is taken once a cell of the maps."""

    @staticmethod
    def forward(
        ctx: BackwardCFunction,
        maps: Float[Tensor, "row side class"],
        index: Int[Tensor, " position"],
        roi: Int[Tensor, " position"],
        num_rois: int,
    ) -> Float[Tensor, "{num_rois} class"]:
        ctx.save_for_backward(maps, index, roi)
        counts = roi.bincount(minlength=num_rois)
        greater = torch.maximum(maps[:, OUTSIDE], maps[:, INSIDE])
        return F.embedding_bag(index, greater, counts.cumsum(0) - counts, mode="mean")

    @staticmethod
    @once_differentiable  # whose wrapper hides the signature
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: BackwardCFunction, grad: Float[Tensor, "roi class"]
    ) -> tuple[Float[Tensor, "row side class"], None, None, None]:
        maps, index, roi = list(ctx.saved_tensors)
        share = grad / roi.bincount(minlength=len(grad))[:, None]
        rows, offsets, order = _by_row(index)
        sums = F.embedding_bag(roi[order], share, offsets, mode="sum")
        touched = maps[rows]
        wins = touched[:, INSIDE] > touched[:, OUTSIDE]
        total = torch.zeros_like(maps)
        total[rows] = torch.stack((sums * ~wins, sums * wins), dim=1)
        return total, None, None, None


class _BinMasks(torch.autograd.Function):
    """Both sides' sums of each bin, of one class a RoI; chunks index single numbers."""

    @staticmethod
    def forward(
        ctx: BackwardCFunction,
        maps: Float[Tensor, "row side class"],
        chunks: Iterable[_Chunk],
        num_rois: int,
        num_bins: int,
    ) -> Float[Tensor, "{num_rois} {num_bins} side"]:
        numbers = maps.reshape(-1, 1)
        masks = maps.new_empty((num_rois, num_bins, maps.shape[1]))
        saved = [_blank_like(maps)]
        for chunk in chunks:
            for side in range(maps.shape[1]):
                # the same number of the other side lies one row of classes further on
                sums = chunk.sums(numbers[side * maps.shape[2] :])
                masks[chunk.rois, :, side] = sums.squeeze(2)
            if ctx.needs_input_grad[0]:
                saved += [chunk.rois, chunk.index, chunk.weights]
        ctx.save_for_backward(*saved)
        return masks

    @staticmethod
    @once_differentiable  # whose wrapper hides the signature
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: BackwardCFunction, grad: Float[Tensor, "roi bin side"]
    ) -> tuple[Float[Tensor, "row side class"], None, None, None]:
        blank, *saved = ctx.saved_tensors
        total = grad.new_zeros(blank.shape)
        for rois, index, weights in zip(*(saved[i::3] for i in range(3)), strict=True):
            chunk = _Chunk(rois=rois, index=index, weights=weights)
            numbers, sums = chunk.transposed_sums(grad[rois].flatten(0, 1))
            for side in range(blank.shape[1]):
                place = numbers + side * blank.shape[2]
                total.flatten()[place] += sums[:, side]
        return total, None, None, None


def _parts(maps: Float[Tensor, "image h w cell *rest"], rois: RoIs) -> int:
    """Return k of maps with k * k cells, after a look at whether the RoIs are of these maps."""
    images, h, w, cells = maps.shape[:4]
    k = math.isqrt(cells)
    if k * k != cells or k == 0:
        raise ValueError(f"maps: expected k * k cells, got {cells}")
    valid = rois.cells.tolist()
    if len(valid) != images or not all(1 <= y <= h and 1 <= x <= w for y, x in valid):
        raise ValueError(
            f"cells: expected (rows, columns) from (1, 1) to ({h}, {w}) of {images} images, "
            f"got {valid}"
        )
    return k


def _working(maps: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the maps in the type for sums."""
    return maps.to(_working_type(maps))


def _working_type(maps: Float[Tensor, "*shape"]) -> torch.dtype:
    """Return the type for sums: half precision would lose the mean of many bins."""
    return torch.promote_types(maps.dtype, torch.float32)


def _blank_like(table: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return one number seen in the table's shape, where only that shape is needed later."""
    return table.new_zeros(()).expand(table.shape)


def _by_row(
    index: Int[Tensor, " tap"],
) -> tuple[Int[Tensor, " touched"], Int[Tensor, " touched"], Int[Tensor, " tap"]]:
    """Return the rows that taps read, each once, where its taps begin, and the taps so sorted."""
    ordered, order = index.sort(stable=True)
    rows, counts = ordered.unique_consecutive(return_counts=True)
    return rows.long(), counts.cumsum(0) - counts, order


def _index_type(maps: Float[Tensor, "*shape"]) -> torch.dtype:
    """Return the narrowest type that can index every number of the maps."""
    return torch.int32 if maps.numel() < 2**31 else torch.int64


def _native_index(
    maps: Float[Tensor, "image h w cell side class"], rois: RoIs, cells: NativeCells, k: int
) -> Int[Tensor, " position"]:
    """Return the table row of every covered cell."""
    _, h, w, *_ = maps.shape
    image = rois.image_index[cells.roi].long()
    return ((image * h + cells.row) * w + cells.column) * (k * k) + cells.part


def _chunks(
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    rule: AssemblyRule,
    k: int,
    classes: Int[Tensor, " roi"] | None = None,
) -> Iterator[_Chunk]:
    """Yield the bags of all RoIs; with classes, bags of single numbers instead of table rows.

    RoIs whose bins need equally many taps go together, so that padding stays small.
    """
    _, h, w, _, sides, num_classes = maps.shape
    unit, columns = (1, sides * num_classes) if classes is None else (sides * num_classes, 1)
    taps = [axis_taps(rois, rule, axis) for axis in (0, 1)]
    part = bin_parts(rule.out_size, k, maps.device)[:, None]
    image = rois.image_index.long()[:, None, None]
    # the index of a tap is the sum of what its row and its column contribute
    top = ((image * h + taps[0].cells) * w * k + part) * (k * unit)
    left = (taps[1].cells * (k * k) + part) * unit
    if classes is not None:
        left = left + classes[:, None, None]
    top, left = top.to(_index_type(maps)), left.to(_index_type(maps))
    top_weights, left_weights = (axis.weights.to(_working_type(maps)) for axis in taps)
    used = torch.stack([axis.used for axis in taps], dim=1)
    for high, wide in used.unique(dim=0).tolist():
        mine = (used == used.new_tensor((high, wide))).all(dim=1).nonzero().squeeze(1)
        numbers = rule.out_size**2 * (columns + 2 * high * wide)
        for some in mine.split(max(1, CHUNK_NUMBERS // numbers)):
            index = _stretch(top[some, :, :high], wide) + _tile(left[some, :, :wide], high)
            weights = _stretch(top_weights[some, :, :high], wide)
            weights = weights * _tile(left_weights[some, :, :wide], high)
            yield _Chunk(
                rois=some,
                index=index.reshape(-1, high * wide),
                weights=weights.reshape(-1, high * wide),
            )


def _stretch(rows: Shaped[Tensor, "some bin tap"], wide: int) -> Shaped[Tensor, "some bin 1 taps"]:
    """Return the rows' share in taps that run along the columns."""
    return rows.repeat_interleave(wide, dim=2)[:, :, None]


def _tile(columns: Shaped[Tensor, "some bin tap"], high: int) -> Shaped[Tensor, "some 1 bin taps"]:
    """Return the columns' share in the same taps."""
    return columns.repeat(1, 1, high)[:, None]
