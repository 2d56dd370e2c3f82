"""From an RGB image to network input and back: stretching, resizing, normalising, batching."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from fcis.core.errors import InputError
from fcis.imaging.channel_counts import fit_channels
from fcis.recipe.types import Preprocessing
from fcis.structures import ImageBatch

MOST_ENLARGED = 2**25  # pixels of an image that is larger than its file's


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How one image is resized.

    Attributes:
        size: (height, width) of the result.
        factors: resized over original size by which boxes are mapped back, (height, width)
            order. The release samples by it too; where `size_rounding` is `down`, as in
            ChainerCV, samples follow the ratio of the sizes instead.
    """

    size: tuple[int, int]
    factors: tuple[float, float]


def plan_resize(size: tuple[int, int], preprocessing: Preprocessing) -> Resize:
    """Return the test-time size of an image of (height, width).

    The shorter side becomes `short_side` unless the longer one would pass `long_side`; with
    `short_side` 0 the factor is `zoom`.

    Raises:
        InputError: the image would become far too large, as narrow ones do.

    Official: lib/utils/image.py:89-104 @309f6c9. With `size_rounding` down: ChainerCV,
    experimental/links/model/fcis/fcis.py:165-172, 267 @7159616, whose one factor is the widths'.
    """
    short, long = min(size), max(size)
    if preprocessing.short_side:
        factor = preprocessing.short_side / short
        bound = preprocessing.long_side
        longest = factor * long
        if preprocessing.size_rounding == "nearest":
            longest = round(longest)
        if bound and longest > bound:
            factor = bound / long
    else:
        factor = preprocessing.zoom
    if factor > 1 and short * long * factor**2 > MOST_ENLARGED:
        raise InputError(
            f"image: {size[1]} x {size[0]} pixels (width x height) would be enlarged "
            f"{factor:.4g} times, to more than {MOST_ENLARGED:,} pixels; cut it, take a smaller "
            "size, or look in tiles"
        )
    if preprocessing.size_rounding == "nearest":
        height, width = (max(1, round(n * factor)) for n in size)
        return Resize(size=(height, width), factors=(factor, factor))
    height, width = (max(1, int(n * factor)) for n in size)
    return Resize(size=(height, width), factors=(width / size[1], width / size[1]))


def stretch_limits(
    counts: Int64[np.ndarray, " level"], percentiles: tuple[float, float]
) -> tuple[int, int]:
    """Return the levels that are the given percentiles, from how often each level occurs."""
    share = np.cumsum(counts) / max(1, counts.sum())
    low = int(np.searchsorted(share, percentiles[0] / 100, side="right"))
    return low, int(np.searchsorted(share, percentiles[1] / 100, side="left"))


def stretch_levels(
    image: UInt8[np.ndarray, "height width channel"],
    percentiles: tuple[float, float],
    limits: tuple[int, int] | None = None,
) -> Float[np.ndarray, "height width channel"]:
    """Return levels 0..255 in which the given percentiles of the image are 0 and 255.

    All channels are stretched alike. (0, 100) is no change; an image of one level becomes 0.

    Args:
        image: the levels.
        percentiles: those that become 0 and 255.
        limits: the levels that these are in the image of which this one is a part.
    """
    if percentiles == (0.0, 100.0):
        return image.astype(np.float32)
    low, high = limits or stretch_limits(np.bincount(image.reshape(-1), minlength=256), percentiles)
    table = (np.arange(256, dtype=np.float32) - low) * (255 / max(1, high - low))
    return np.clip(table, 0, 255).astype(np.float32)[image]


def sample_window(
    image: Float[np.ndarray, "height width channel"],
    factors: tuple[float, float],
    corner: tuple[float, float],
    size: tuple[int, int],
) -> Float[np.ndarray, "rows columns channel"]:
    """Return a window of the resized image, bilinear between pixel centres, edges repeated.

    Args:
        image: the original.
        factors: resized over original size, (height, width) order.
        corner: (top, left) of the window in pixels of the resized image; may lie outside.
        size: (rows, columns) of the window.
    """
    result = image
    for axis in (0, 1):
        length = image.shape[axis]
        place = (np.arange(size[axis]) + corner[axis] + 0.5) / factors[axis] - 0.5
        place = np.clip(place, 0, length - 1)
        low = np.minimum(np.floor(place).astype(np.int64), max(0, length - 2))
        part = (place - low).astype(np.float32)
        part = part[:, None, None] if axis == 0 else part[None, :, None]
        first = np.take(result, low, axis=axis)
        second = np.take(result, np.minimum(low + 1, length - 1), axis=axis)
        result = first + (second - first) * part
    return result


def normalise(
    levels: Float[np.ndarray, "height width channel"], preprocessing: Preprocessing
) -> Float[Tensor, "channel height width"]:
    """Return network input from levels."""
    mean = np.asarray(preprocessing.mean, dtype=np.float32)
    std = np.asarray(preprocessing.std, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(((levels - mean) / std).transpose(2, 0, 1)))


def prepare(
    image: UInt8[np.ndarray, "height width channel"],
    preprocessing: Preprocessing,
    limits: tuple[int, int] | None = None,
) -> tuple[Float[Tensor, "input h w"], Resize]:
    """Return one image as network input, and how it was resized.

    Args:
        image: levels; RGB where the network takes one channel or three.
        preprocessing: how they are stretched, resized and normalised.
        limits: for a part of an image, as in `stretch_levels`.

    Raises:
        InputError: the image has another number of channels than the network.
    """
    image = fit_channels(image, len(preprocessing.mean))
    height, width = image.shape[:2]
    plan = plan_resize((height, width), preprocessing)
    levels = stretch_levels(image, preprocessing.stretch, limits)
    if plan.size != (height, width):
        factors = plan.factors
        if preprocessing.size_rounding == "down":
            factors = (plan.size[0] / height, plan.size[1] / width)
        levels = sample_window(levels, factors, (0.0, 0.0), plan.size)
    if preprocessing.resize == "levels":
        levels = np.rint(levels)
    return normalise(levels, preprocessing), plan


def with_channels(preprocessing: Preprocessing, count: int) -> Preprocessing:
    """Return the preprocessing for images of so many channels, each with the mean of the means."""
    if len(preprocessing.mean) == len(preprocessing.std) == count:
        return preprocessing
    mean, std = (sum(v) / max(1, len(v)) for v in (preprocessing.mean, preprocessing.std))
    return replace(preprocessing, mean=(mean,) * count, std=(std,) * count)


def collate(
    inputs: Sequence[tuple[Float[Tensor, "channel _ _"], Resize]],
    original_sizes: Sequence[tuple[int, int]],
) -> ImageBatch:
    """Return prepared images on one canvas, zero to the right and below.

    Args:
        inputs: what `prepare` returned for each image.
        original_sizes: (height, width) of each image as it was read.

    Raises:
        ValueError: there is no image.
    """
    if not inputs:
        raise ValueError("inputs: expected at least one image, got none")
    sizes = torch.tensor([plan.size for _, plan in inputs])
    height, width = (int(n) for n in sizes.amax(dim=0))
    first = inputs[0][0]
    pixels = first.new_zeros((len(inputs), first.shape[0], height, width))
    for canvas, (pixel, plan) in zip(pixels, inputs, strict=True):
        canvas[:, : plan.size[0], : plan.size[1]] = pixel
    return ImageBatch(
        pixels=pixels,
        sizes=sizes,
        scales=torch.tensor([plan.factors for _, plan in inputs], dtype=torch.float32),
        original_sizes=torch.tensor(list(original_sizes)),
    )
