"""The colours and textures of a synthetic scene: a layout and an RNG in, pixels out.

Nothing here looks at an object's category, so neither colour nor texture tells it. All values
are RGB from 0 to 255 as float32; like the geometry they come from arithmetic that is rounded the
same way on every machine.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from fcis.data.scenes.shape_distances import unit_vector
from fcis.data.scenes.shape_layout import Layout, Placed

Colour = Float32[np.ndarray, " 3"]
Gray = Float32[np.ndarray, "h w"]
Picture = Float32[np.ndarray, "h w 3"]

# Least distance in RGB between the mean colours of an object and of what it lies on, drawn for
# each scene: the lower one is still easy to see, textures being at most +-_SWING around the mean.
_LOW_CONTRAST, _HIGH_CONTRAST = 65.0, 140.0
_SWING = 34.0
_TEXTURES = ("flat", "gradient", "clouds", "noise", "stripes", "checks", "dots")
_CANDIDATES = 48  # colours from which the first with enough contrast is taken


def _uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """Return uniform numbers from -1 to 1 on a grid of 256 steps, which are quick to draw."""
    return rng.integers(0, 256, shape, dtype=np.uint8).astype(np.float32) / 127.5 - 1.0


def _stretch(values: Float32[np.ndarray, "n ..."], length: int) -> Float32[np.ndarray, "m ..."]:
    """Return the first axis interpolated linearly to another length, ends on ends."""
    position = np.arange(length, dtype=np.float32) * ((len(values) - 1) / max(length - 1, 1))
    lower = np.minimum(position.astype(np.int64), len(values) - 2)
    share = (position - lower.astype(np.float32)).reshape(-1, *[1] * (values.ndim - 1))
    return values[lower] * (1.0 - share) + values[lower + 1] * share


def clouds(rng: np.random.Generator, h: int, w: int, cell: int) -> Gray:
    """Return smooth noise from -1 to 1 with a grain of about `cell` pixels."""
    knots = _uniform(rng, (h // cell + 2, w // cell + 2))
    return np.ascontiguousarray(_stretch(_stretch(knots, h).T, w).T)


def ramp(direction: tuple[float, float], h: int, w: int) -> Gray:
    """Return for each pixel how far it lies along a direction, in pixels."""
    x = np.arange(w, dtype=np.float32) * direction[0]
    y = np.arange(h, dtype=np.float32) * direction[1]
    return y[:, None] + x[None, :]


def _wave(along: Gray, period: float, shift: float) -> Gray:
    """Return a triangle wave from -1 to 1, clipped so that its flanks take a third of it."""
    turns = along / period + shift
    turns = turns - np.floor(turns)
    return np.clip((np.abs(turns - 0.5) - 0.25) * 12.0, -1.0, 1.0)


def _pattern(rng: np.random.Generator, h: int, w: int) -> Gray:
    """Return a random texture from -1 to 1."""
    kind = _TEXTURES[rng.integers(len(_TEXTURES))]
    x, y = unit_vector(rng)
    period = 5.0 + rng.random() * max(3.0, 0.3 * min(h, w))
    shift, side_shift = rng.random(), rng.random()
    match kind:
        case "flat":
            return np.zeros((h, w), dtype=np.float32)
        case "gradient":
            along = ramp((x, y), h, w)
            low, high = float(along.min()), float(along.max())
            return (along - low) * (2.0 / max(high - low, 1.0)) - 1.0
        case "clouds":
            return clouds(rng, h, w, max(3, int(period / 2)))
        case "noise":
            return _uniform(rng, (h, w))
        case "stripes":
            return _wave(ramp((x, y), h, w), period, shift)
    stripes = _wave(ramp((x, y), h, w), period, shift)
    crossing = _wave(ramp((-y, x), h, w), period, side_shift)
    return stripes * crossing if kind == "checks" else np.minimum(stripes, crossing)


def _swing(rng: np.random.Generator) -> Colour:
    """Return how far a texture leads away from its mean colour, mostly in lightness."""
    strength = _SWING * (0.3 + 0.7 * rng.random())
    return strength * (0.75 + 0.25 * _uniform(rng, (3,)))


def _colour(rng: np.random.Generator, around: Sequence[Colour], contrast: float) -> Colour:
    """Return a random colour that differs from those around it, as far as there is one."""
    candidates = rng.integers(20, 236, (_CANDIDATES, 3)).astype(np.float32)
    gaps = candidates[:, None, :] - np.stack(around)[None, :, :]
    nearest = (gaps * gaps).sum(axis=2).min(axis=1)
    good = np.flatnonzero(nearest >= contrast * contrast)
    return candidates[good[0] if len(good) else int(nearest.argmax())]


def _background(rng: np.random.Generator, h: int, w: int) -> Picture:
    """Return a picture of two colours that run into each other, clouds and a faint pattern."""
    base = rng.integers(40, 216, 3).astype(np.float32)
    span = 36.0 * _uniform(rng, (3,))
    share = 0.6 * clouds(rng, h, w, max(h, w)) + 0.4 * clouds(rng, h, w, max(12, max(h, w) // 6))
    texture = 0.5 * _pattern(rng, h, w)
    grain = clouds(rng, h, w, 3) * np.float32(4.0 + 8.0 * rng.random())
    swing = _swing(rng)
    picture = np.empty((h, w, 3), dtype=np.float32)
    for channel in range(3):
        picture[..., channel] = base[channel] + span[channel] * share + swing[channel] * texture
        picture[..., channel] += grain
    return picture


def _draw(picture: Picture, placed: Placed, colour: Colour, rng: np.random.Generator) -> None:
    """Draw one object over the picture, with smooth edges."""
    rows, columns = placed.window(picture.shape[0], picture.shape[1])
    cover = placed.silhouette.cover[placed.inside(picture.shape[0], picture.shape[1])]
    h, w = cover.shape
    texture = _pattern(rng, h, w)
    swing = _swing(rng)
    for channel in range(3):
        ground = picture[rows, columns, channel]
        ground += cover * (colour[channel] + swing[channel] * texture - ground)


def paint(layout: Layout, rng: np.random.Generator) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture of a layout, RGB.

    The mean colour of each object differs from the background below it and from the objects
    that its box meets by a distance in RGB of 65 to 140, chosen for the scene, where a random
    choice of colours allows it.
    """
    height, width = layout.owner.shape
    picture = _background(rng, height, width)
    contrast = _LOW_CONTRAST + (_HIGH_CONTRAST - _LOW_CONTRAST) * rng.random()
    windows = [placed.window(height, width) for placed in layout.objects]
    # The colour of the ground under each object, before anything is drawn over it. Whole numbers,
    # because the order in which floats are summed differs between machines.
    whole = picture.astype(np.int32)
    grounds = [np.floor(whole[window].mean(axis=(0, 1))).astype(np.float32) for window in windows]
    colours: list[Colour] = []
    for i, (rows, columns) in enumerate(windows):
        around = [
            colours[j]
            for j, (other_rows, other_columns) in enumerate(windows[:i])
            if max(rows.start, other_rows.start) <= min(rows.stop, other_rows.stop)
            and max(columns.start, other_columns.start) <= min(columns.stop, other_columns.stop)
        ]
        colours.append(_colour(rng, [grounds[i], *around], contrast))
        _draw(picture, layout.objects[i], colours[i], rng)
    picture += _uniform(rng, (height, width, 1)) * np.float32(1.0 + 5.0 * rng.random())
    return np.clip(np.floor(picture + 0.5), 0.0, 255.0).astype(np.uint8)
