"""Scores and deltas of RoIs in Triton, and their gradients.

    score[roi, c] = mean over bins of max over sides of sum over taps of weight * map[tap, side, c]

Written out, the assembled bins of 300 RoIs and 81 classes are 86 MB, written once and read twice;
here they stay in registers and the result alone is written. A program sums some rows of bins of
one RoI, for a block of channels, which lie side by side in memory: grid (roi * GROUPS + group,
block of channels). Box maps are the case of one side and four channels.

The gradient computes the sums again to see which side was greater. It is added up atomically in
float32, in an order that differs from run to run; with deterministic algorithms on, each program
owns one cell of the maps instead and visits the bins that read it, RoI after RoI: grid (cell of
the maps, block of channels).

What a bin reads comes from torch operations (`spans`): the edges of `pool` must be neither fused
nor approximated. Values of arguments are not checked, which would wait for the GPU; valid cells
are cut to the maps.
"""

import math
from collections.abc import Sequence
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from fcis.ops.bin_spans import SpanTables, span_tables
from fcis.ops.roi_sampling import AssemblyRule, RoIs

ROW_GROUPS = 8
"""Programs that share the rows of bins of one RoI."""

MOST_CHANNELS = 128
"""Channels of a program: a warp of 32 threads that read four numbers each."""

LAUNCH = {"num_warps": 1, "enable_fp_fusion": True}
"""How kernels are compiled; a fused product and sum is rounded once less."""


def class_scores(
    maps: Float[Tensor, "image h w cell side class"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi class"]:
    """Return the mean over each RoI's positions of the greater of both sides."""
    return _mean(maps, span_tables(rois, rule, maps.shape))


def class_scores_backward(
    grad: Float[Tensor, "roi class"],
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    rule: AssemblyRule,
) -> Float[Tensor, "image h w cell side class"]:
    """Return the gradient of the maps; where both sides are equal, the outside score gets it."""
    tables = span_tables(rois, rule, maps.shape)
    return _mean_backward(grad, maps.contiguous(), maps.shape, tables)


def mean_deltas(
    maps: Float[Tensor, "image h w cell 4"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi 4"]:
    """Return the mean of the box maps over each RoI's positions."""
    return _mean(maps, span_tables(rois, rule, maps.shape))


def mean_deltas_backward(
    grad: Float[Tensor, "roi 4"], size: Sequence[int], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "image h w cell 4"]:
    """Return the gradient of box maps of that size."""
    return _mean_backward(grad, grad, size, span_tables(rois, rule, size))


def by_image(tables: SpanTables, images: int) -> tuple[Int[Tensor, " roi"], Int[Tensor, " bound"]]:
    """Return the RoIs image after image, and where those of each image begin and the last end."""
    image = tables.rois[:, 0]
    counts = (image[:, None] == torch.arange(images, device=image.device)).sum(dim=0)
    return image.argsort(stable=True), functional.pad(counts.cumsum(0), (1, 0))


def _mean(
    maps: Float[Tensor, "image h w cell *rest"], tables: SpanTables
) -> Float[Tensor, "roi channel"]:
    """Return the mean over each RoI's positions of the greater side, or of the only one."""
    _, h, w, cells, *sides, channels = maps.shape
    num_rois, block = len(tables.rois), min(MOST_CHANNELS, triton.next_power_of_2(channels))
    sums = maps.new_zeros((num_rois, ROW_GROUPS, channels), dtype=torch.float32)
    if num_rois:
        with torch.cuda.device_of(maps):
            _sum_kernel[(num_rois * ROW_GROUPS, triton.cdiv(channels, block))](
                maps.contiguous(),
                tables.rois,
                tables.spans,
                tables.weights,
                sums,
                h,
                w,
                math.isqrt(cells),
                channels,
                tables.spans.shape[2],
                SIDES=len(sides) + 1,
                GROUPS=ROW_GROUPS,
                BLOCK=block,
                **LAUNCH,
            )
    return (sums.sum(dim=1) / tables.positions[:, None]).to(maps.dtype)


def _mean_backward(
    grad: Float[Tensor, "roi channel"],
    maps: Float[Tensor, "*any"],
    size: Sequence[int],
    tables: SpanTables,
) -> Float[Tensor, "image h w cell *rest"]:
    """Return the gradient of maps of that size; the maps' values count if there are two sides."""
    images, h, w, cells, *sides, channels = size
    num_rois, block = len(tables.rois), min(MOST_CHANNELS, triton.next_power_of_2(channels))
    shares = (grad.float() / tables.positions[:, None]).contiguous()
    gather = torch.are_deterministic_algorithms_enabled()
    total = grad.new_zeros(tuple(size), dtype=grad.dtype if gather else torch.float32)
    blocks = triton.cdiv(channels, block)
    arguments = (h, w, math.isqrt(cells), channels, tables.spans.shape[2])
    if num_rois == 0:
        return total.to(grad.dtype)
    with torch.cuda.device_of(grad):
        if gather:
            _gather_kernel[(images * h * w * cells, blocks)](
                maps,
                tables.spans,
                tables.weights,
                tables.readers(max(h, w)),
                *by_image(tables, images),
                shares,
                total,
                *arguments,
                max(h, w),
                SIDES=len(sides) + 1,
                BLOCK=block,
                **LAUNCH,
            )
        else:
            _scatter_kernel[(num_rois * ROW_GROUPS, blocks)](
                maps,
                tables.rois,
                tables.spans,
                tables.weights,
                shares,
                total,
                *arguments,
                SIDES=len(sides) + 1,
                GROUPS=ROW_GROUPS,
                BLOCK=block,
                **LAUNCH,
            )
    return total.to(grad.dtype)


# Triton reads the source of what follows: shape checks must not wrap it (`no_type_check`). A bin
# is one entry of the tables: (roi * 2 + axis) * bins + its number.


@triton.jit
@no_type_check
def _bin_sums(
    maps: tl.tensor,
    spans: tl.tensor,
    weights: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    image_rows: tl.tensor,
    w: tl.tensor,
    k: tl.tensor,
    num_channels: tl.tensor,
    channel: tl.tensor,
    mine: tl.tensor,
    SIDES: tl.constexpr,
    BLOCK: tl.constexpr,
) -> tuple:
    """Return the weighted sums of what one bin reads of either side, for a block of channels."""
    outside = tl.full((BLOCK,), 0.0, tl.float32)
    inside = tl.full((BLOCK,), 0.0, tl.float32)
    top = image_rows + tl.load(spans + row * 3)
    left = tl.load(spans + column * 3)
    part = tl.load(spans + row * 3 + 2) * k + tl.load(spans + column * 3 + 2)
    for dy in range(0, tl.load(spans + row * 3 + 1)):
        weight_y = tl.load(weights + row * 2 + tl.where(dy == 0, 0, 1))
        for dx in range(0, tl.load(spans + column * 3 + 1)):
            weight = weight_y * tl.load(weights + column * 2 + tl.where(dx == 0, 0, 1))
            cell = ((top + dy) * w + left + dx) * (k * k) + part
            at = maps + cell * (SIDES * num_channels) + channel
            outside += weight * tl.load(at, mask=mine, other=0.0).to(tl.float32)
            if SIDES == 2:
                values = tl.load(at + num_channels, mask=mine, other=0.0)
                inside += weight * values.to(tl.float32)
    return outside, inside


@triton.jit
@no_type_check
def _sum_kernel(
    maps: tl.tensor,
    rois: tl.tensor,
    spans: tl.tensor,
    weights: tl.tensor,
    sums: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    k: tl.tensor,
    num_channels: tl.tensor,
    bins: tl.tensor,
    SIDES: tl.constexpr,
    GROUPS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write the sum over some rows of bins of the greater side."""
    program = tl.program_id(0).to(tl.int64)
    roi = program // GROUPS
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mine = channel < num_channels
    image_rows = tl.load(rois + roi * 3).to(tl.int64) * h
    num_rows = tl.load(rois + roi * 3 + 1)
    num_columns = tl.load(rois + roi * 3 + 2)
    total = tl.full((BLOCK,), 0.0, tl.float32)
    for p in range(tl.program_id(0) % GROUPS, num_rows, GROUPS):
        row = roi * 2 * bins + p
        for q in range(0, num_columns):
            column = (roi * 2 + 1) * bins + q
            outside, inside = _bin_sums(
                maps, spans, weights, row, column, image_rows, w, k, num_channels, channel, mine,
                SIDES, BLOCK,
            )  # fmt: skip
            if SIDES == 2:
                # what is not a number must stay visible
                total += tl.where((inside > outside) | (inside != inside), inside, outside)
            else:
                total += outside
    tl.store(sums + program * num_channels + channel, total, mask=mine)


@triton.jit
@no_type_check
def _scatter_kernel(
    maps: tl.tensor,
    rois: tl.tensor,
    spans: tl.tensor,
    weights: tl.tensor,
    shares: tl.tensor,
    total: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    k: tl.tensor,
    num_channels: tl.tensor,
    bins: tl.tensor,
    SIDES: tl.constexpr,
    GROUPS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Add each bin's share of the gradient to what the bin reads of the greater side."""
    roi = tl.program_id(0).to(tl.int64) // GROUPS
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mine = channel < num_channels
    share = tl.load(shares + roi * num_channels + channel, mask=mine, other=0.0)
    image_rows = tl.load(rois + roi * 3).to(tl.int64) * h
    num_rows = tl.load(rois + roi * 3 + 1)
    num_columns = tl.load(rois + roi * 3 + 2)
    for p in range(tl.program_id(0) % GROUPS, num_rows, GROUPS):
        row = roi * 2 * bins + p
        top = image_rows + tl.load(spans + row * 3)
        for q in range(0, num_columns):
            column = (roi * 2 + 1) * bins + q
            left = tl.load(spans + column * 3)
            part = tl.load(spans + row * 3 + 2) * k + tl.load(spans + column * 3 + 2)
            place = channel
            if SIDES == 2:
                outside, inside = _bin_sums(
                    maps, spans, weights, row, column, image_rows, w, k, num_channels, channel,
                    mine, SIDES, BLOCK,
                )  # fmt: skip
                place = channel + tl.where(inside > outside, num_channels, 0)
            for dy in range(0, tl.load(spans + row * 3 + 1)):
                weight_y = tl.load(weights + row * 2 + tl.where(dy == 0, 0, 1))
                for dx in range(0, tl.load(spans + column * 3 + 1)):
                    weight = weight_y * tl.load(weights + column * 2 + tl.where(dx == 0, 0, 1))
                    cell = ((top + dy) * w + left + dx) * (k * k) + part
                    at = total + cell * (SIDES * num_channels) + place
                    tl.atomic_add(at, weight * share, mask=mine, sem="relaxed")


@triton.jit
@no_type_check
def _gather_kernel(
    maps: tl.tensor,
    spans: tl.tensor,
    weights: tl.tensor,
    readers: tl.tensor,
    order: tl.tensor,
    starts: tl.tensor,
    shares: tl.tensor,
    total: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    k: tl.tensor,
    num_channels: tl.tensor,
    bins: tl.tensor,
    size: tl.tensor,
    SIDES: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write the gradient of one cell of the maps: the same as scattered, in a fixed order."""
    cell = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mine = channel < num_channels
    part = cell % (k * k)
    x = cell // (k * k) % w
    y = cell // (k * k) // w % h
    image = cell // (k * k) // w // h
    to_outside = tl.full((BLOCK,), 0.0, tl.float32)
    to_inside = tl.full((BLOCK,), 0.0, tl.float32)
    for i in range(tl.load(starts + image), tl.load(starts + image + 1)):
        roi = tl.load(order + i)
        at_y = readers + (roi * 2 * size + y) * 2
        at_x = readers + ((roi * 2 + 1) * size + x) * 2
        first_column = tl.load(at_x)
        last_column = tl.load(at_x + 1)
        share = tl.load(shares + roi * num_channels + channel, mask=mine, other=0.0)
        for p in range(tl.load(at_y), tl.load(at_y + 1)):
            row = roi * 2 * bins + p
            if tl.load(spans + row * 3 + 2) == part // k:
                is_further = tl.where(tl.load(spans + row * 3) == y, 0, 1)
                weight_y = tl.load(weights + row * 2 + is_further)
                for q in range(first_column, last_column):
                    column = (roi * 2 + 1) * bins + q
                    if tl.load(spans + column * 3 + 2) == part % k:
                        beside = tl.where(tl.load(spans + column * 3) == x, 0, 1)
                        weight = weight_y * tl.load(weights + column * 2 + beside)
                        if SIDES == 2:
                            outside, inside = _bin_sums(
                                maps, spans, weights, row, column, image * h, w, k, num_channels,
                                channel, mine, SIDES, BLOCK,
                            )  # fmt: skip
                            wins = inside > outside
                            to_inside += tl.where(wins, weight * share, 0.0)
                            to_outside += tl.where(wins, 0.0, weight * share)
                        else:
                            to_outside += weight * share
    at = total + cell * (SIDES * num_channels) + channel
    tl.store(at, to_outside, mask=mine)
    if SIDES == 2:
        tl.store(at + num_channels, to_inside, mask=mine)
