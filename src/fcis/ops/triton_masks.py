"""Mask scores of RoIs in Triton, of one class each, and their gradients.

    mask[roi, bin, side] = sum over taps of weight * map[tap, side, class of the RoI]

A program assembles some rows of bins of one RoI, bins of a row side by side: grid (roi * GROUPS +
group, block of columns). Gradients are added up as in `triton_scores`. Classes are not checked
either, but cut to those of the maps.
"""

import math
from collections.abc import Sequence
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from fcis.ops.bin_spans import SpanTables, span_tables
from fcis.ops.roi_sampling import AssemblyRule, RoIs
from fcis.ops.triton_scores import LAUNCH, MOST_CHANNELS, ROW_GROUPS, by_image

MOST_COLUMNS = 64
"""Bins of a row that a program assembles at a time."""


def class_masks(
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
) -> Float[Tensor, "pixel side"]:
    """Return both sides' scores of one class a RoI at each of its positions."""
    _, h, w, cells, sides, num_classes = maps.shape
    tables = span_tables(rois, rule, maps.shape)
    count = len(rois) * rule.out_size**2
    if rule.sampling == "native":
        count = int(tables.positions.sum())
    values = maps.new_zeros((count, sides))
    if len(rois):
        grid, block = _grid(tables)
        with torch.cuda.device_of(maps):
            _mask_kernel[grid](
                maps.contiguous(),
                *_roi_arguments(tables, classes, num_classes),
                values,
                h,
                w,
                math.isqrt(cells),
                num_classes,
                tables.spans.shape[2],
                GROUPS=ROW_GROUPS,
                BLOCK=block,
                **LAUNCH,
            )
    return values


def class_masks_backward(
    grad: Float[Tensor, "pixel side"],
    size: Sequence[int],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
) -> Float[Tensor, "image h w cell side class"]:
    """Return the gradient of score maps of that size."""
    images, h, w, cells, _, num_classes = size
    tables = span_tables(rois, rule, size)
    gather = torch.are_deterministic_algorithms_enabled()
    total = grad.new_zeros(tuple(size), dtype=grad.dtype if gather else torch.float32)
    arguments = (h, w, math.isqrt(cells), num_classes, tables.spans.shape[2])
    if len(rois) == 0:
        return total.to(grad.dtype)
    with torch.cuda.device_of(grad):
        if gather:
            block = min(MOST_CHANNELS, triton.next_power_of_2(num_classes))
            _mask_gather_kernel[(images * h * w * cells, triton.cdiv(num_classes, block))](
                grad.contiguous(),
                *_roi_arguments(tables, classes, num_classes),
                tables.readers(max(h, w)),
                *by_image(tables, images),
                total,
                *arguments,
                max(h, w),
                BLOCK=block,
                **LAUNCH,
            )
        else:
            grid, block = _grid(tables)
            _mask_scatter_kernel[grid](
                grad.contiguous(),
                *_roi_arguments(tables, classes, num_classes),
                total,
                *arguments,
                GROUPS=ROW_GROUPS,
                BLOCK=block,
                **LAUNCH,
            )
    return total.to(grad.dtype)


def _grid(tables: SpanTables) -> tuple[tuple[int, int], int]:
    """Return the programs that assemble rows of bins, and how many columns each takes."""
    num_rois, _, bins, _ = tables.spans.shape
    block = min(MOST_COLUMNS, triton.next_power_of_2(bins))
    return (num_rois * ROW_GROUPS, triton.cdiv(bins, block)), block


def _roi_arguments(
    tables: SpanTables, classes: Int[Tensor, " roi"], num_classes: int
) -> tuple[Int[Tensor, "roi 5"], Int[Tensor, " roi"], Tensor, Tensor]:
    """Return what kernels know of RoIs: five numbers, where their positions begin, and spans.

    The numbers are the image, the bins along either axis, the class, and the most columns of
    cells that any bin reads.
    """
    widest = tables.spans[:, 1, :, 1].amax(dim=1)
    kinds = classes.clamp(0, num_classes - 1).int()
    numbers = torch.cat((tables.rois, torch.stack((kinds, widest), dim=1)), dim=1)
    offsets = tables.positions.cumsum(0) - tables.positions
    return numbers, offsets, tables.spans, tables.weights


# Triton reads the source of what follows: shape checks must not wrap it (`no_type_check`). A bin
# is one entry of the tables: (roi * 2 + axis) * bins + its number.


@triton.jit
@no_type_check
def _mask_kernel(
    maps: tl.tensor,
    rois: tl.tensor,
    offsets: tl.tensor,
    spans: tl.tensor,
    weights: tl.tensor,
    values: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    k: tl.tensor,
    num_classes: tl.tensor,
    bins: tl.tensor,
    GROUPS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write both sides' sums of some rows of bins."""
    roi = tl.program_id(0).to(tl.int64) // GROUPS
    image_rows = tl.load(rois + roi * 5).to(tl.int64) * h
    num_rows = tl.load(rois + roi * 5 + 1)
    num_columns = tl.load(rois + roi * 5 + 2)
    kind = tl.load(rois + roi * 5 + 3)
    widest = tl.load(rois + roi * 5 + 4)
    offset = tl.load(offsets + roi)
    q = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mine = q < num_columns
    column = (roi * 2 + 1) * bins + q
    left = tl.load(spans + column * 3, mask=mine, other=0)
    wide = tl.load(spans + column * 3 + 1, mask=mine, other=0)
    column_part = tl.load(spans + column * 3 + 2, mask=mine, other=0)
    for p in range(tl.program_id(0) % GROUPS, num_rows, GROUPS):
        row = roi * 2 * bins + p
        top = image_rows + tl.load(spans + row * 3)
        part = tl.load(spans + row * 3 + 2) * k + column_part
        outside = tl.full((BLOCK,), 0.0, tl.float32)
        inside = tl.full((BLOCK,), 0.0, tl.float32)
        for dy in range(0, tl.load(spans + row * 3 + 1)):
            weight_y = tl.load(weights + row * 2 + tl.where(dy == 0, 0, 1))
            for dx in range(0, widest):
                here = mine & (dx < wide)
                beside = tl.where(dx == 0, 0, 1)
                weight = weight_y * tl.load(weights + column * 2 + beside, mask=here, other=0.0)
                cell = ((top + dy) * w + left + dx) * (k * k) + part
                at = maps + cell * (2 * num_classes) + kind
                outside += weight * tl.load(at, mask=here, other=0.0).to(tl.float32)
                others = tl.load(at + num_classes, mask=here, other=0.0)
                inside += weight * others.to(tl.float32)
        place = values + (offset + p * num_columns + q) * 2
        tl.store(place, outside, mask=mine)
        tl.store(place + 1, inside, mask=mine)


@triton.jit
@no_type_check
def _mask_scatter_kernel(
    grads: tl.tensor,
    rois: tl.tensor,
    offsets: tl.tensor,
    spans: tl.tensor,
    weights: tl.tensor,
    total: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    k: tl.tensor,
    num_classes: tl.tensor,
    bins: tl.tensor,
    GROUPS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Add the gradient of some rows of bins to what they read."""
    roi = tl.program_id(0).to(tl.int64) // GROUPS
    image_rows = tl.load(rois + roi * 5).to(tl.int64) * h
    num_rows = tl.load(rois + roi * 5 + 1)
    num_columns = tl.load(rois + roi * 5 + 2)
    kind = tl.load(rois + roi * 5 + 3)
    widest = tl.load(rois + roi * 5 + 4)
    offset = tl.load(offsets + roi)
    q = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mine = q < num_columns
    column = (roi * 2 + 1) * bins + q
    left = tl.load(spans + column * 3, mask=mine, other=0)
    wide = tl.load(spans + column * 3 + 1, mask=mine, other=0)
    column_part = tl.load(spans + column * 3 + 2, mask=mine, other=0)
    for p in range(tl.program_id(0) % GROUPS, num_rows, GROUPS):
        row = roi * 2 * bins + p
        top = image_rows + tl.load(spans + row * 3)
        part = tl.load(spans + row * 3 + 2) * k + column_part
        place = grads + (offset + p * num_columns + q) * 2
        outside = tl.load(place, mask=mine, other=0.0).to(tl.float32)
        inside = tl.load(place + 1, mask=mine, other=0.0).to(tl.float32)
        for dy in range(0, tl.load(spans + row * 3 + 1)):
            weight_y = tl.load(weights + row * 2 + tl.where(dy == 0, 0, 1))
            for dx in range(0, widest):
                here = mine & (dx < wide)
                beside = tl.where(dx == 0, 0, 1)
                weight = weight_y * tl.load(weights + column * 2 + beside, mask=here, other=0.0)
                cell = ((top + dy) * w + left + dx) * (k * k) + part
                at = total + cell * (2 * num_classes) + kind
                tl.atomic_add(at, weight * outside, mask=here, sem="relaxed")
                tl.atomic_add(at + num_classes, weight * inside, mask=here, sem="relaxed")


@triton.jit
@no_type_check
def _mask_gather_kernel(
    grads: tl.tensor,
    rois: tl.tensor,
    offsets: tl.tensor,
    spans: tl.tensor,
    weights: tl.tensor,
    readers: tl.tensor,
    order: tl.tensor,
    starts: tl.tensor,
    total: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    k: tl.tensor,
    num_classes: tl.tensor,
    bins: tl.tensor,
    size: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Write the gradient of one cell of the maps: the same as scattered, in a fixed order."""
    cell = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mine = channel < num_classes
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
        num_columns = tl.load(rois + roi * 5 + 2)
        is_kind = channel == tl.load(rois + roi * 5 + 3)
        offset = tl.load(offsets + roi)
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
                        place = grads + (offset + p * num_columns + q) * 2
                        outside = weight * tl.load(place).to(tl.float32)
                        inside = weight * tl.load(place + 1).to(tl.float32)
                        to_outside += tl.where(is_kind, outside, 0.0)
                        to_inside += tl.where(is_kind, inside, 0.0)
    at = total + cell * (2 * num_classes) + channel
    tl.store(at, to_outside, mask=mine)
    tl.store(at + num_classes, to_inside, mask=mine)
