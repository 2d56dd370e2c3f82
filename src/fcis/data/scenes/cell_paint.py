"""The levels of a drawn fluorescence image: a layout of nuclei and an RNG in, pixels out.

What a microscope does, step by step: nuclei shine, unevenly and each as brightly as it likes; the
lens blurs them and spreads a halo; the ground shines a little too, more on one side; photons are
counted; the camera adds noise of its own, and makes 8-bit levels of the counts.
"""

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from scipy.ndimage import gaussian_filter

from fcis.data.scenes.shape_distances import unit_vector
from fcis.data.scenes.shape_layout import Layout, Placed
from fcis.data.scenes.shape_paint import clouds, ramp

Light = Float32[np.ndarray, "h w"]

_BRIGHT_SHARE, _BRIGHT = 0.04, 2.2  # dividing and dying nuclei, and how much brighter they are


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _glow(rng: np.random.Generator, placed: Placed, size: tuple[int, int], depth: float) -> Light:
    """Return the light of the part of a nucleus that lies in the image, about 1 on average."""
    cover = placed.silhouette.cover[placed.inside(*size)]
    h, w = cover.shape
    coarse = clouds(rng, h, w, max(2, int(placed.diameter / 3)))
    fine = clouds(rng, h, w, 2)
    brightness = _between(rng, 0.35, 1.3) * (_BRIGHT if rng.random() < _BRIGHT_SHARE else 1.0)
    return brightness * cover * (1.0 + depth * (0.6 * coarse + 0.4 * fine))


def _ground(rng: np.random.Generator, h: int, w: int) -> Float64[np.ndarray, "h w"]:
    """Return the light of what is no nucleus, about 1 on average, more on one side."""
    along = ramp(unit_vector(rng), h, w)
    slope = (along - along.min()) / max(float(along.max() - along.min()), 1.0) - 0.5
    uneven = 0.15 * clouds(rng, h, w, max(h, w) // 2)
    return np.maximum(1.0 + _between(rng, 0.1, 1.4) * slope + uneven, 0.0).astype(np.float64)


def paint_cells(layout: Layout, rng: np.random.Generator) -> UInt8[np.ndarray, "height width"]:
    """Return the picture of a layout of nuclei, one channel of 8-bit levels."""
    height, width = size = layout.owner.shape
    light = np.zeros(size, dtype=np.float32)
    depth = _between(rng, 0.1, 0.5)
    for placed in layout.objects:
        light[placed.window(height, width)] += _glow(rng, placed, (height, width), depth)
    light = gaussian_filter(light, _between(rng, 0.5, 1.4)).astype(np.float64)
    halo = _between(rng, 0.02, 0.12) * gaussian_filter(light, _between(rng, 5.0, 15.0))
    photons = _between(rng, 60.0, 400.0)  # of a pixel in a nucleus of brightness 1
    expected = photons * (light + halo)
    expected += _between(rng, 3.0, 0.12 * photons) * _ground(rng, height, width)
    counts = rng.poisson(expected) + _between(rng, 1.0, 4.0) * rng.standard_normal(size)
    gain = _between(rng, 60.0, 190.0) / photons  # levels a photon
    levels = _between(rng, 2.0, 12.0) + gain * counts
    return np.clip(np.floor(levels + 0.5), 0.0, 255.0).astype(np.uint8)
