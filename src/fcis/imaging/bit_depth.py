"""Values of any depth -> levels of 8 bits: which values become 0 and 255, and the scaling.

One place for images that are in memory and for those that pass by row by row, so that both
come out alike. Knows no files.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64, Num, UInt8

_ROWS = 256  # scaled at once, so that the float64 copy stays small
_SAMPLE = 2**24  # values that stand for an image whose values cannot be counted one by one


def value_limits(
    values: Num[np.ndarray, "..."], percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Return the values that become 0 and 255; equal ones where nothing can be told apart.

    They are percentiles of the finite values; where both agree, the smallest and the largest.
    """
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 0.0
    low, high = (float(v) for v in np.percentile(values, percentiles))
    if low >= high:  # nearly all values are the same: let the few others count
        low, high = float(values.min()), float(values.max())
    return low, high


def to_levels(
    image: Num[np.ndarray, "height width *channels"], limits: tuple[float, float]
) -> UInt8[np.ndarray, "height width *channels"]:
    """Return values scaled so that the limits become 0 and 255, clipped; not finite ones are 0."""
    low, high = limits
    result = np.zeros(image.shape, dtype=np.uint8)
    if low >= high:
        return result
    for top in range(0, len(image), _ROWS):
        rows = image[top : top + _ROWS].astype(np.float64)
        if image.dtype.kind == "f":
            rows[~np.isfinite(rows)] = low
        scaled = (np.clip(rows, low, high) - low) / (high - low) * 255
        result[top : top + _ROWS] = np.floor(scaled + 0.5)
    return result


def passing_limits(
    blocks: Iterable[Num[np.ndarray, "_ width"]],
    size: tuple[int, int],
    percentiles: tuple[float, float],
) -> tuple[float, float]:
    """Return the `value_limits` of an image whose rows pass by once, a block at a time.

    Exact for 16-bit images and for all of up to 16 million pixels. Of larger ones of other
    kinds, every n-th pixel of every n-th row is looked at, as many as make that number.

    Args:
        blocks: the rows, from top to bottom.
        size: (height, width) of the image.
        percentiles: as in `value_limits`.
    """
    step = int(np.ceil(np.sqrt(max(1.0, size[0] * size[1] / _SAMPLE))))
    counts = np.zeros(2**16, dtype=np.int64)
    sample: list[np.ndarray] = []
    top = 0
    for block in blocks:
        if block.dtype in (np.uint8, np.uint16):
            counts += np.bincount(block.ravel(), minlength=2**16)
        else:
            sample.append(block[-top % step :: step, ::step].ravel())
        top += len(block)
    if sample:
        return value_limits(np.concatenate(sample), percentiles)
    return _counted_limits(counts, percentiles)


def _counted_limits(
    counts: Int64[np.ndarray, " value"], percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Return the limits of values of which it is known how often each occurs."""
    total = int(counts.sum())
    if total == 0:
        return 0.0, 0.0
    ranks = np.cumsum(counts)
    limits = []
    for percentile in percentiles:
        place = (total - 1) * (percentile / 100)
        below = int(place)
        first, second = (
            float(np.searchsorted(ranks, min(rank, total - 1), side="right"))
            for rank in (below, below + 1)
        )
        limits.append(first + (second - first) * (place - below))
    low, high = limits
    if low >= high:
        used = np.flatnonzero(counts)
        low, high = float(used[0]), float(used[-1])
    return low, high
