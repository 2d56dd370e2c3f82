"""Position-sensitive assembly in torch operations: what runs where there is no GPU.

    class_scores   a weighted sum of map rows a bin, max over both sides, mean over the bins
    mean_deltas    linear and separable, hence two small matrix products some RoIs
    class_masks    a weighted sum a bin and side, of one class a RoI

The score maps are a table here: a row for each (image, y, x, cell) holds the scores of both
sides and all classes, and `embedding_bag` sums weighted rows of it: a bag is what one bin reads.
RoIs are taken in chunks, so that the sums stay in cache and memory stays bounded: all bins of
300 RoIs with 81 classes would be 86 MB. The gradient of a bag-sum is a bag-sum too, with the taps
sorted by table row; it sums the bins again instead of having kept which side was greater. No step
adds in an order that may change: equal input gives equal bits.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from fcis.ops.cpu_native import block_rows, blocks, by_row, native_lines
from fcis.ops.roi_sampling import (
    AssemblyRule,
    RoIs,
    axis_taps,
    axis_weights,
    bin_parts,
)
from fcis.structures import INSIDE, OUTSIDE

CHUNK_NUMBERS = 2**21
"""Sums, indices and weights in work at a time, about: 8 MB, what a cache holds. No RoI is cut."""

_TOGETHER = 128  # RoIs whose box shifts are computed at a time


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
        rows, offsets, order = by_row(self.index.flatten())
        bag, weights = order // self.index.shape[1], self.weights.flatten()[order]
        return rows, F.embedding_bag(bag, bags, offsets, per_sample_weights=weights, mode="sum")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Separated:
    """What some RoIs of one image read, as shares of rows and of columns.

    Attributes:
        rois: the RoIs, as rows of the result.
        span: rows of the maps.
        rows: their shares of (row part, y in the span).
        columns: of (column part, x).
    """

    image: int
    rois: Int[Tensor, " some"]
    span: slice
    rows: Float[Tensor, "some part_y"]
    columns: Float[Tensor, "some part_x"]


def class_scores(
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    rule: AssemblyRule,
) -> Float[Tensor, "roi class"]:
    """Return the mean over each RoI's positions of the greater of both sides.

    Raises:
        ValueError: the maps do not have k * k cells, or the RoIs' valid cells are not theirs.
    """
    _parts(maps.shape, rois)
    table = _working(maps).flatten(0, 3)
    if rule.sampling == "native":
        lines, rows = native_lines(maps.shape, rois, rule), block_rows(maps.shape, CHUNK_NUMBERS)
        sums = table.new_zeros((len(rois), maps.shape[-1]))
        # one buffer for all blocks: fresh memory would take longer than the arithmetic
        buffer = torch.empty_like(table[: rows * maps.shape[2] * maps.shape[3], OUTSIDE])
        for block in blocks(maps.shape, lines, rows):
            sums += block.sums(table, buffer, len(rois))
        return (sums / lines.counts[:, None]).to(maps.dtype)
    scores = table.new_empty((len(rois), maps.shape[-1]))
    for chunk in _chunks(maps.shape, table.dtype, rois, rule):
        outside, inside = chunk.sums(table.flatten(1)).split(maps.shape[-1], dim=2)
        scores[chunk.rois] = torch.maximum(outside, inside).mean(dim=1)
    return scores.to(maps.dtype)


def class_scores_backward(
    grad: Float[Tensor, "roi class"],
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    rule: AssemblyRule,
) -> Float[Tensor, "image h w cell side class"]:
    """Return the gradient of the maps; where both sides are equal, the outside score gets it."""
    _parts(maps.shape, rois)
    table = _working(maps).flatten(0, 3)
    grad, total = grad.to(table.dtype), torch.zeros_like(table)
    if rule.sampling == "native":
        lines, some = native_lines(maps.shape, rois, rule), block_rows(maps.shape, CHUNK_NUMBERS)
        share = grad / lines.counts[:, None]
        for block in blocks(maps.shape, lines, some):
            rows, sums = block.transposed_sums(share)
            touched = table[rows]
            wins = touched[:, INSIDE] > touched[:, OUTSIDE]
            total[rows] = torch.stack((sums * ~wins, sums * wins), dim=1)
        return total.reshape(maps.shape).to(maps.dtype)
    for chunk in _chunks(maps.shape, table.dtype, rois, rule):
        outside, inside = chunk.sums(table.flatten(1)).split(maps.shape[-1], dim=2)
        wins = inside > outside
        share = (grad[chunk.rois] / wins.shape[1])[:, None]
        bags = torch.cat((share * ~wins, share * wins), dim=2).flatten(0, 1)
        rows, sums = chunk.transposed_sums(bags)
        # each row comes once a chunk; `index_add_` would be slower
        total.flatten(1)[rows] += sums
    return total.reshape(maps.shape).to(maps.dtype)


def mean_deltas(
    maps: Float[Tensor, "image h w cell 4"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi 4"]:
    """Return the mean of the box maps over each RoI's positions.

    Raises:
        ValueError: the maps do not have k * k cells, or the RoIs' valid cells are not theirs.
    """
    k, (_, h, w, _, _) = _parts(maps.shape, rois), maps.shape
    working = _working(maps).unflatten(3, (k, k))
    means = working.new_zeros((len(rois), 4))
    if rule.sampling == "native":
        lines, table = native_lines(maps.shape, rois, rule), working.reshape(-1, 4)
        starts = lines.counts.cumsum(0) - lines.counts
        return F.embedding_bag(lines.cells()[0], table, starts, mode="mean").to(maps.dtype)
    # under autocast the products would be rounded to half precision
    with torch.autocast(maps.device.type, enabled=False):
        # (image, y, x, row part, column part, 4) -> (row part, y) by (column part, x, 4)
        matrices = working.permute(0, 3, 1, 4, 2, 5).reshape(-1, k, h, k * w * 4)
        for some in _separated(maps.shape, working.dtype, rois, rule):
            matrix = matrices[some.image, :, some.span].flatten(0, 1)
            partial = (some.rows @ matrix).unflatten(1, (k * w, 4))
            means[some.rois] = (some.columns[:, None] @ partial).squeeze(1)
    return means.to(maps.dtype)


def mean_deltas_backward(
    grad: Float[Tensor, "roi 4"], size: Sequence[int], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "image h w cell 4"]:
    """Return the gradient of box maps of that size."""
    k, (images, h, w, _, _) = _parts(size, rois), size
    working = grad.to(_working_type(grad.dtype))
    total = working.new_zeros((images, k, h, k * w * 4))
    with torch.autocast(grad.device.type, enabled=False):
        for some in _separated(size, working.dtype, rois, rule):
            partial = some.columns[:, :, None] @ working[some.rois][:, None]
            matrix = some.rows.T @ partial.flatten(1)
            total[some.image, :, some.span] += matrix.unflatten(0, (k, -1))
    maps = total.unflatten(3, (k, w, 4)).permute(0, 2, 4, 1, 3, 5)
    return maps.reshape(tuple(size)).to(grad.dtype)


def class_masks(
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
) -> Float[Tensor, "pixel side"]:
    """Return both sides' scores of one class a RoI at each of its positions.

    Raises:
        ValueError: the maps do not have k * k cells, the RoIs' valid cells are not theirs, or a
            class is not in them.
    """
    num_classes = maps.shape[-1]
    if len(rois) and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
        raise ValueError(
            f"classes: expected 0 to {num_classes - 1}, "
            f"got {int(classes.min())} to {int(classes.max())}"
        )
    numbers = _working(maps).reshape(-1, 1)
    _parts(maps.shape, rois)
    if rule.sampling == "native":
        index = _native_numbers(maps.shape, rois, classes, rule)
        sides = [numbers.take(index + side * num_classes) for side in (OUTSIDE, INSIDE)]
        return torch.stack(sides, dim=1).to(maps.dtype)
    chunks, bins, count = _mask_chunks(maps.shape, numbers.dtype, rois, rule, classes)
    masks = numbers.new_empty((count, bins, 2))
    for chunk in chunks:
        for side in (OUTSIDE, INSIDE):
            # the same number of the other side lies one row of classes further on
            masks[chunk.rois, :, side] = chunk.sums(numbers[side * num_classes :]).squeeze(2)
    return masks.flatten(0, 1).to(maps.dtype)


def class_masks_backward(
    grad: Float[Tensor, "pixel side"],
    size: Sequence[int],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
) -> Float[Tensor, "image h w cell side class"]:
    """Return the gradient of score maps of that size."""
    working = grad.to(_working_type(grad.dtype))
    total = working.new_zeros(math.prod(size))
    chunks, bins, count = _mask_chunks(size, working.dtype, rois, rule, classes)
    masks = working.reshape(count, bins, 2)
    for chunk in chunks:
        numbers, sums = chunk.transposed_sums(masks[chunk.rois].flatten(0, 1))
        for side in (OUTSIDE, INSIDE):
            total[numbers + side * size[-1]] += sums[:, side]
    return total.reshape(tuple(size)).to(grad.dtype)


def _parts(size: Sequence[int], rois: RoIs) -> int:
    """Return k of maps with k * k cells, after a look at whether the RoIs are of these maps."""
    images, h, w, cells = size[:4]
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
    return maps.to(_working_type(maps.dtype))


def _working_type(dtype: torch.dtype) -> torch.dtype:
    """Return the type for sums: half precision would lose the mean of many bins."""
    return torch.promote_types(dtype, torch.float32)


def _index_type(size: Sequence[int]) -> torch.dtype:
    """Return the narrowest type that can index every number of maps of that size."""
    return torch.int32 if math.prod(size) < 2**31 else torch.int64


def _native_numbers(
    size: Sequence[int], rois: RoIs, classes: Int[Tensor, " roi"], rule: AssemblyRule
) -> Int[Tensor, " position"]:
    """Return where the maps hold the outside score of each covered cell for its RoI's class."""
    index, roi = native_lines(size, rois, rule).cells()
    return index * (size[4] * size[5]) + classes[roi]


def _separated(
    size: Sequence[int], dtype: torch.dtype, rois: RoIs, rule: AssemblyRule
) -> Iterator[_Separated]:
    """Yield all RoIs, those of one image some at a time, from those that begin at its top on.

    Many small RoIs in a large image read few rows each: only what lies between the first and
    the last row that some of them read is multiplied.
    """
    images, h, w, cells, *_ = size
    k = math.isqrt(cells)
    rows = axis_weights(rois, rule, 0, k=k, size=h).to(dtype)
    columns = axis_weights(rois, rule, 1, k=k, size=w).to(dtype).flatten(1)
    is_read = (rows != 0).any(dim=1).int()
    first, end = is_read.argmax(dim=1), h - is_read.flip(1).argmax(dim=1)
    for image in range(images):
        mine = (rois.image_index == image).nonzero().squeeze(1)
        mine = mine[first[mine].argsort(stable=True)]
        for some in mine.split(_TOGETHER):
            if len(some):
                span = slice(int(first[some[0]]), int(end[some].max()))
                weights = rows[some, :, span].flatten(1)
                yield _Separated(
                    image=image, rois=some, span=span, rows=weights, columns=columns[some]
                )


def _mask_chunks(
    size: Sequence[int],
    dtype: torch.dtype,
    rois: RoIs,
    rule: AssemblyRule,
    classes: Int[Tensor, " roi"],
) -> tuple[Iterable[_Chunk], int, int]:
    """Return bags of single numbers, how many bins each item has and how many items there are.

    An item is a RoI, or with `native` a covered cell, which has one bin that reads one number.
    """
    _parts(size, rois)
    if rule.sampling != "native":
        chunks = _chunks(size, dtype, rois, rule, classes)
        return chunks, rule.out_size**2, len(rois)
    index = _native_numbers(size, rois, classes, rule)
    positions = torch.arange(len(index), device=index.device)
    ones = torch.ones(len(index), 1, dtype=dtype, device=index.device)
    chunk = _Chunk(rois=positions, index=index[:, None], weights=ones)
    return [chunk] if len(index) else [], 1, len(index)


def _chunks(
    size: Sequence[int],
    dtype: torch.dtype,
    rois: RoIs,
    rule: AssemblyRule,
    classes: Int[Tensor, " roi"] | None = None,
) -> Iterator[_Chunk]:
    """Yield the bags of all RoIs; with classes, bags of single numbers instead of table rows.

    RoIs whose bins need equally many taps go together, so that padding stays small.
    """
    _, h, w, cells, sides, num_classes = size
    k, index_type = math.isqrt(cells), _index_type(size)
    unit, columns = (1, sides * num_classes) if classes is None else (sides * num_classes, 1)
    taps = [axis_taps(rois, rule, axis) for axis in (0, 1)]
    part = bin_parts(rule.out_size, k, rois.boxes.device)[:, None]
    image = rois.image_index.long()[:, None, None]
    # the index of a tap is the sum of what its row and its column contribute
    top = ((image * h + taps[0].cells) * w * k + part) * (k * unit)
    left = (taps[1].cells * cells + part) * unit
    if classes is not None:
        left = left + classes[:, None, None]
    top, left = top.to(index_type), left.to(index_type)
    top_weights, left_weights = (axis.weights.to(dtype) for axis in taps)
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
