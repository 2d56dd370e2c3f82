"""Random changes of colour, sharpness and noise; what lies where stays as it is.

Levels count from 0 to 255 and may leave this range. Everything but the factors of single channels
leaves grey images grey.
"""

import math

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter

from fcis.recipe.types import Augmentation

_Levels = Float32[np.ndarray, "h w channel"]
_RGB = Float32[np.ndarray, "h w 3"]


def jitter_light(levels: _Levels, change: Augmentation, rng: np.random.Generator) -> _Levels:
    """Change gamma, contrast and brightness at random."""
    brightness, contrast, gamma = rng.uniform(-1, 1, size=3).tolist()
    if change.gamma:
        exponent = float(np.exp(gamma * change.gamma))
        levels = 255 * (np.clip(levels, 0, 255) / 255) ** exponent
    if change.contrast:
        middle = levels.mean()
        levels = middle + (levels - middle) * float(np.exp(contrast * change.contrast))
    if change.brightness:
        levels = levels + 255 * brightness * change.brightness
    return levels


def jitter_colour(levels: _Levels, change: Augmentation, rng: np.random.Generator) -> _Levels:
    """Change saturation, hue, single channels, sharpness and noise at random, in this order.

    Each option draws from a stream of its own: what one does is independent of the others being
    on, and one that is off draws nothing.
    """
    colour, channel, blur, noise = rng.spawn(4)
    if change.saturation or change.hue:
        strength, turn = colour.uniform(-1, 1, size=2).tolist()
        levels = saturated(levels, math.exp(strength * change.saturation))
        levels = turned(levels, turn * change.hue)
    if change.channel_gain:
        gains = np.exp(channel.uniform(-1, 1, size=levels.shape[2]) * change.channel_gain)
        levels = levels * gains.astype(np.float32)
    if change.blur:
        width = float(blur.uniform(0, change.blur))
        levels = gaussian_filter(levels, (width, width, 0), mode="nearest")
    if change.noise:
        strength = 255 * float(noise.uniform(0, change.noise))
        field = noise.standard_normal(levels.shape[:2], dtype=np.float32)
        levels = levels + strength * field[:, :, None]
    return levels


def saturated(levels: _RGB, factor: float) -> _RGB:
    """Return colours at `factor` times their distance from the grey of the same mean."""
    return levels + (factor - 1) * _from_grey(levels)


def turned(levels: _RGB, share: float) -> _RGB:
    """Return colours turned about the axis of greys by a share of the circle.

    A third of it makes red green, green blue and blue red. Mean and distance from grey stay.
    """
    angle = 2 * math.pi * share
    across = levels[:, :, [2, 0, 1]] - levels[:, :, [1, 2, 0]]
    chroma = _from_grey(levels)
    return levels + (math.cos(angle) - 1) * chroma + math.sin(angle) / math.sqrt(3) * across


def _from_grey(levels: _RGB) -> _RGB:
    """Return levels less the mean of their channels: exactly 0 where all are equal."""
    return (2 * levels - levels[:, :, [1, 2, 0]] - levels[:, :, [2, 0, 1]]) / 3
