"""What happens to single arrays on their way into our order of channels; no names, no files.

Each function returns an array of the same shape. The name of the function, with spaces, is what
a report calls it.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Transform = Callable[..., np.ndarray]


def as_is(array: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the array."""
    return array


def background_scores_first(
    scores: Float[np.ndarray, "channel *rest"],
) -> Float[np.ndarray, "channel *rest"]:
    """Return RPN scores ordered (background or object, anchor) from (anchor, that)."""
    pairs = scores.reshape(-1, 2, *scores.shape[1:])
    return pairs.swapaxes(0, 1).reshape(scores.shape)


def x_first_in_anchors(
    deltas: Float[np.ndarray, "channel *rest"],
) -> Float[np.ndarray, "channel *rest"]:
    """Return RPN shifts ordered (anchor, dx dy dw dh) from (anchor, dy dx dh dw)."""
    coordinates = deltas.reshape(-1, 4, *deltas.shape[1:])
    return coordinates[:, [1, 0, 3, 2]].reshape(deltas.shape)


def x_first_in_box_maps(
    maps: Float[np.ndarray, "channel *rest"],
) -> Float[np.ndarray, "channel *rest"]:
    """Return box maps ordered (slot, dx dy dw dh, cell) from (slot, dy dx dh dw, cell).

    Raises:
        ValueError: no number of channels that box maps have.
    """
    slots, k = box_layout(len(maps))
    coordinates = maps.reshape(slots, 4, k**2, *maps.shape[1:])
    return coordinates[:, [1, 0, 3, 2]].reshape(maps.shape)


def mean_less_bias(
    mean: Float[np.ndarray, " channel"], bias: Float[np.ndarray, " channel"]
) -> Float[np.ndarray, " channel"]:
    """Return a norm's mean that makes up for the bias of the convolution before it."""
    return mean - bias


def box_layout(channels: int) -> tuple[int, int]:
    """Return the (slots, k) of box maps with 4 k^2 channels a slot and one or two slots.

    No number of channels allows for both, since no square is twice another.

    Raises:
        ValueError: it allows for neither.
    """
    for slots in (1, 2):
        cells, rest = divmod(channels, 4 * slots)
        if cells > 0 and not rest and math.isqrt(cells) ** 2 == cells:
            return slots, math.isqrt(cells)
    raise ValueError(f"channels: expected 4 k^2 or 8 k^2, got {channels}")
