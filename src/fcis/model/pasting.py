"""From the masks of RoIs to pixels and back: enlarging, storing on a grid, cutting out.

Masks are enlarged as products of matrices: `rows @ grid @ columns.T`, where `rows` holds the
bilinear weights of a window's pixel rows. Knows nothing of scores, categories and votes.
"""

from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fcis.core.masks import MaskCrop
from fcis.recipe.types import DetectionRecipe
from fcis.structures import MaskGrids

_Values = TypeVar("_Values", Tensor, np.ndarray)
_LEAST_SPAN = 1e-6  # px


def enlarge(
    grids: MaskGrids,
    windows: Int[Tensor, "grid 4"],
    grid: Int[Tensor, " vote"],
    corner: Int[Tensor, "vote 2"],
    size: tuple[int, int],
) -> Float[Tensor, "vote height width"]:
    """Return grids enlarged to pixels, zero outside each grid's own window.

    Args:
        grids: all of them.
        windows: the box of whole pixels to which each is cut; it may be empty.
        grid: which of them are enlarged.
        corner: (left, top) of what is returned of each, in the pixels of the extents.
        size: (height, width) of that.
    """
    axes = []
    for axis, (length, side) in enumerate(zip(size[::-1], (1, 0), strict=True)):
        pixel = corner[:, axis, None] + torch.arange(length, device=corner.device)
        extent = grids.extents[grid]
        count = grids.shapes[grid, side, None].to(extent)
        start, end = extent[:, axis, None], extent[:, axis + 2, None]
        # a box without width covers no pixel centre, but must not divide by zero
        span = (end - start).clamp(min=_LEAST_SPAN)
        place = (pixel + 0.5 - start) / span * count - 0.5
        weights = bilinear_weights(place, count, grids.values.shape[1 + side])
        window = windows[grid]
        own = (pixel >= window[:, axis, None]) & (pixel < window[:, axis + 2, None])
        axes.append((weights * own[..., None]).to(grids.values))
    columns, rows = axes
    return rows @ grids.values[grid] @ columns.transpose(1, 2)


def bilinear_weights(place: Tensor, count: Tensor, length: int) -> Float[Tensor, "n sample point"]:
    """Return the weights of `length` points for samples at fractional places, edges repeated."""
    place = torch.minimum(place.clamp(min=0), count - 1)[..., None]
    return (1 - (place - torch.arange(length, device=place.device)).abs()).clamp(min=0)


def foreground(values: _Values, recipe: DetectionRecipe, *, at_equal: bool) -> _Values:
    """Return where values reach `mask_threshold`; `at_equal`: also where they are equal to it."""
    threshold = recipe.mask_threshold
    return values >= threshold if at_equal else values > threshold


def through_grid(
    mean: Float[Tensor, "detection height width"],
    bits: Bool[Tensor, "detection height width"],
    grid_size: int,
    recipe: DetectionRecipe,
) -> Bool[Tensor, "detection height width"]:
    """Store each mask with grid_size x grid_size samples of its tight box and enlarge it again."""
    shrink, grow = [], []
    for axis in (1, 2):
        length = mean.shape[axis]
        used = bits.any(dim=3 - axis)
        start = used.int().argmax(dim=1)[:, None]
        end = length - used.flip(1).int().argmax(dim=1)[:, None]
        sample = torch.arange(grid_size, device=mean.device) + 0.5
        place = start + sample * (end - start) / grid_size - 0.5
        place = torch.minimum(torch.maximum(place, start.to(place)), end.to(place) - 1)
        shrink.append(bilinear_weights(place, mean.new_full((1, 1), length), length))
        pixel = torch.arange(length, device=mean.device)[None]
        back = (pixel + 0.5 - start) / (end - start) * grid_size - 0.5
        own = (pixel >= start) & (pixel < end)
        spread = bilinear_weights(back, mean.new_full((1, 1), grid_size), grid_size)
        grow.append(spread * own[..., None])
    stored = shrink[0] @ mean @ shrink[1].transpose(1, 2)
    enlarged = grow[0] @ stored @ grow[1].transpose(1, 2)
    at_equal = recipe.foreground_at_equal and recipe.stored_at_equal
    reached = foreground(enlarged, recipe, at_equal=at_equal)
    return reached & bits.any(dim=(1, 2), keepdim=True)


def tight_crop(bits: Bool[np.ndarray, "h w"], *, left: int, top: int) -> MaskCrop | None:
    """Return a window's mask cut to its tight box, or None if it is empty."""
    rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    if len(rows) == 0:
        return None
    tight = bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return MaskCrop(top=int(top + rows[0]), left=int(left + columns[0]), bits=tight.copy())
