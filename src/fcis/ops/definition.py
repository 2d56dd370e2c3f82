"""The definition of position-sensitive assembly: loops, one sample at a time.

What this file computes is right by decree; the fast forms are tested against it and nothing
else uses it. It shares only the records with them. It works in the type of the maps, up to
float64, and torch differentiates it.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.ops.roi_sampling import COORDINATE_LIMIT, MIN_POOL_CELLS, AssemblyRule, RoIs
from fcis.structures import INSIDE, OUTSIDE, RoIMasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one position of a RoI reads along one axis: a part, and weights of map cells."""

    part: int
    weights: dict[int, float]


def axis_samples(low: float, high: float, limit: int, rule: AssemblyRule, k: int) -> list[Sample]:
    """Return the samples of a RoI along one axis, from its low end to its high end.

    Args:
        low: left or top end of the box, in pixels.
        high: right or bottom end, exclusive.
        limit: valid cells along the axis.
        rule: how to sample.
        k: parts along the axis.
    """
    low, high = _legal(low), _legal(high)
    if rule.sampling == "pool":
        return _pool_samples(low, high, limit, rule, k)
    if rule.sampling == "align":
        return _align_samples(low, high, limit, rule, k)
    first, end = _native_range(low, high, limit, rule)
    count = end - first
    return [
        Sample(part=math.floor((i + 0.5) * k / count), weights={first + i: 1.0})
        for i in range(count)
    ]


def assemble(
    maps: Float[Tensor, "h w cell *rest"],
    box: Float[Tensor, " 4"],
    cells: Int[Tensor, " 2"],
    rule: AssemblyRule,
) -> Float[Tensor, "row column *rest"]:
    """Return the assembled maps of one RoI: at each position the maps of its own part.

    A position that reads no cell is 0.

    Paper: 2.1, 2.2.
    """
    k = math.isqrt(maps.shape[2])
    x0, y0, x1, y1 = box.tolist()
    rows = axis_samples(y0, y1, int(cells[0]), rule, k)
    columns = axis_samples(x0, x1, int(cells[1]), rule, k)
    out = []
    for row in rows:
        for column in columns:
            value = maps.new_zeros(maps.shape[3:])
            for y, weight_y in row.weights.items():
                for x, weight_x in column.weights.items():
                    part = row.part * k + column.part
                    value = value + weight_y * weight_x * maps[y, x, part]
            out.append(value)
    return torch.stack(out).unflatten(0, (len(rows), len(columns)))


def class_scores(
    maps: Float[Tensor, "image h w cell side class"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi class"]:
    """Return the mean over each RoI's positions of the greater of both sides.

    Where both sides are equal the gradient goes to the outside score.

    Paper: 2.2. Official: operator_cxx/channel_operator.cu:45-56 @309f6c9 (the same tie).
    """
    scores = [maps.new_zeros((0, maps.shape[-1]))]
    for i in range(len(rois)):
        both = _assemble_roi(maps, rois, i, rule)
        outside, inside = both[..., OUTSIDE, :], both[..., INSIDE, :]
        greater = torch.where(inside > outside, inside, outside)
        scores.append(greater.mean(dim=(0, 1))[None])
    return torch.cat(scores)


def mean_deltas(
    maps: Float[Tensor, "image h w cell 4"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi 4"]:
    """Return the mean of the box maps over each RoI's positions.

    Paper: 2.3.
    """
    means = [_assemble_roi(maps, rois, i, rule).mean(dim=(0, 1))[None] for i in range(len(rois))]
    return torch.cat([maps.new_zeros((0, 4)), *means])


def class_masks(
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
) -> RoIMasks:
    """Return both sides' scores of one class a RoI at each of its positions.

    Paper: 2.2.
    """
    values, shapes, extents = [maps.new_zeros((0, 2))], [], []
    for i in range(len(rois)):
        both = _assemble_roi(maps, rois, i, rule)[..., int(classes[i])]
        values.append(both.flatten(0, 1))
        shapes.append(both.shape[:2])
        extents.append(_extent(rois, i, rule))
    return RoIMasks(
        values=torch.cat(values),
        shapes=torch.tensor(shapes, dtype=torch.int64).reshape(-1, 2),
        extents=torch.tensor(extents, dtype=rois.boxes.dtype).reshape(-1, 4),
    )


def _assemble_roi(
    maps: Float[Tensor, "image h w cell *rest"], rois: RoIs, i: int, rule: AssemblyRule
) -> Float[Tensor, "row column *rest"]:
    image = int(rois.image_index[i])
    return assemble(maps[image], rois.boxes[i], rois.cells[image], rule)


def _legal(value: float) -> float:
    """Return a coordinate that is a number of moderate size."""
    return 0.0 if math.isnan(value) else min(max(value, -COORDINATE_LIMIT), COORDINATE_LIMIT)


def _round(value: float) -> float:
    """Return the nearest whole number, halves away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _pool_samples(low: float, high: float, limit: int, rule: AssemblyRule, k: int) -> list[Sample]:
    """Average the cells that each bin touches, in float32 and in the release's order.

    Official: operator_cxx/psroi_pooling.cu:50-97 @309f6c9. ChainerCV's rule, without rounding:
    functions/ps_roi_average_pooling_2d.py:130-147 @7159616.
    """
    one, scale, bins = np.float32(1), np.float32(1 / rule.stride), np.float32(rule.out_size)
    start, end = np.float32(low), np.float32(high)
    if rule.round_boxes:
        start = np.float32(_round(float(start)))
        end = np.float32(_round(float(end - one))) + one
    start, end = start * scale, end * scale
    width = max(end - start, np.float32(MIN_POOL_CELLS)) / bins
    samples = []
    for p in range(rule.out_size):
        first = math.floor(np.float32(p) * width + start)
        last = math.ceil(np.float32(p + 1) * width + start)
        read = range(min(max(first, 0), limit), min(max(last, 0), limit))
        part = min(math.floor(p * k / rule.out_size), k - 1)
        samples.append(Sample(part=part, weights={cell: 1 / len(read) for cell in read}))
    return samples


def _align_samples(low: float, high: float, limit: int, rule: AssemblyRule, k: int) -> list[Sample]:
    """Interpolate between the two cells around each bin's centre; cell i is centred at i + 0.5."""
    samples = []
    for p in range(rule.out_size):
        centre = low / rule.stride + (p + 0.5) * (high - low) / (rule.out_size * rule.stride)
        index = min(max(centre - 0.5, 0.0), limit - 1.0)
        cell = math.floor(index)
        weights = {cell: 1 - (index - cell)}
        if index > cell:
            weights[cell + 1] = index - cell
        samples.append(Sample(part=math.floor(p * k / rule.out_size), weights=weights))
    return samples


def _native_range(low: float, high: float, limit: int, rule: AssemblyRule) -> tuple[int, int]:
    """Return the first covered cell and the one after the last."""
    first = min(max(math.floor(low / rule.stride), 0), limit - 1)
    return first, max(min(math.ceil(high / rule.stride), limit), first + 1)


def _extent(rois: RoIs, i: int, rule: AssemblyRule) -> tuple[float, float, float, float]:
    """Return the box (x0, y0, x1, y1) in pixels that the samples of a RoI cover evenly."""
    x0, y0, x1, y1 = map(_legal, rois.boxes[i].tolist())
    if rule.sampling == "native":
        rows, columns = rois.cells[int(rois.image_index[i])].tolist()
        top, bottom = _native_range(y0, y1, rows, rule)
        left, right = _native_range(x0, x1, columns, rule)
        stride = float(rule.stride)
        return left * stride, top * stride, right * stride, bottom * stride
    if rule.sampling == "pool" and rule.round_boxes:
        return _round(x0), _round(y0), _round(x1 - 1) + 1, _round(y1 - 1) + 1
    return x0, y0, x1, y1
