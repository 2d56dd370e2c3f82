"""Numbers to colours, and small pictures of them: heat maps, boxes on them, bars of the scale.

Knows numpy arrays and PIL images, and nothing of networks.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

Number = float | int
Box = tuple[Number, Number, Number, Number]
Color = tuple[int, int, int]

# blue below zero, white, red above it; and from dark to light. Told apart without colour vision.
SCORE_COLORS = "2166ac 6aa9d0 f2f2f2 ec8c68 b2182b".split()
SHARE_COLORS = "440154 3b528b 21908c 5dc963 fde725".split()
INK: Color = (32, 32, 32)
PAPER: Color = (250, 250, 250)
_SHOWN_IMAGE = 0.3  # of a heat map over an image, how much of the colour is the image's

_THICK_SIDE = 12  # of boxes with a border of two pixels, px
_DASH = 12  # px


def colored(
    values: Float[np.ndarray, "h w"], low: Number, high: Number, colors: Sequence[str]
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the colours of numbers; those beyond the ends have the colour of the end.

    Args:
        values: the numbers.
        low: has the first colour.
        high: has the last colour.
        colors: equally far apart between the ends.
    """
    stops = np.linspace(low, high, len(colors))
    table = np.array([tuple(bytes.fromhex(color)) for color in colors], dtype=float)
    levels = [np.interp(values, stops, table[:, channel]) for channel in range(3)]
    return np.stack(levels, axis=2).round().astype(np.uint8)


def window_image(
    image: UInt8[np.ndarray, "height width 3"], window: Box, size: tuple[int, int]
) -> Image.Image:
    """Return a window of an image, in its pixels, as a picture of (width, height)."""
    kind = Image.Resampling.BICUBIC
    return Image.fromarray(image).resize(size, kind, box=window, reducing_gap=2.0)


def window_heat(
    image: UInt8[np.ndarray, "height width 3"],
    maps: Float32[np.ndarray, "h w"],
    cell_size: tuple[Number, Number],
    window: Box,
    size: tuple[int, int],
    limit: float,
) -> Image.Image:
    """Return a window of a score map in colours, laid over the grey image.

    Args:
        image: the original.
        maps: scores, cell (0, 0) in the image's top left corner.
        cell_size: (height, width) of a cell, in pixels of the image.
        window: (x0, y0, x1, y1) in pixels of the image.
        size: (width, height) of the picture.
        limit: the score that has the strongest colour, and its negative.
    """
    places: list[np.ndarray] = []
    for axis in (0, 1):
        low, high, count = window[1 - axis], window[3 - axis], size[1 - axis]
        place = low + (np.arange(count) + 0.5) * (high - low) / count
        cells = np.floor(place / cell_size[axis]).astype(np.int64)
        places.append(cells.clip(0, maps.shape[axis] - 1))
    heat = colored(maps[np.ix_(places[0], places[1])], -limit, limit, SCORE_COLORS)
    grey = window_image(image, window, size).convert("L").convert("RGB")
    return Image.blend(Image.fromarray(heat), grey, _SHOWN_IMAGE)


def draw_box(
    picture: Image.Image, box: Box, window: Box, color: Color, *, dashed: bool = False
) -> None:
    """Draw the border of a box on a picture of a window; both in the image's pixels.

    A border of a large box is thick, and light outside, to be seen on a dark image.
    """
    x_scale = picture.width / (window[2] - window[0])
    y_scale = picture.height / (window[3] - window[1])
    x0, x1 = (round((x - window[0]) * x_scale) for x in box[::2])
    y0, y1 = (round((y - window[1]) * y_scale) for y in box[1::2])
    thick = min(x1 - x0, y1 - y0) >= _THICK_SIDE
    lines = [(PAPER, 1, 1), (color, 0, 2)] if thick else [(color, 0, 1)]
    for paint, beyond, width in lines:
        border = Image.new("L", picture.size)
        right, bottom = max(x0, x1 - 1) + beyond, max(y0, y1 - 1) + beyond
        corners = (x0 - beyond, y0 - beyond, right, bottom)
        ImageDraw.Draw(border).rectangle(corners, outline=255, width=width)
        if dashed:
            levels = np.array(border)
            rows, columns = np.indices(levels.shape)
            levels[(rows + columns) % _DASH >= _DASH // 2 + 1] = 0
            border = Image.fromarray(levels)
        picture.paste(paint, (0, 0), border)


def scale_bar(colors: Sequence[str], ends: tuple[str, str], size: tuple[int, int]) -> Image.Image:
    """Return a bar of colours, of (width, height) with the text of its ends below it."""
    width, height = size
    picture = Image.new("RGB", size, PAPER)
    line = height // 2
    bar = colored(np.linspace(0, 1, width)[None].repeat(line, axis=0), 0, 1, colors)
    picture.paste(Image.fromarray(bar), (0, 0))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(10, line - 2))
    draw.text((0, line + 1), ends[0], fill=INK, font=font)
    draw.text((width, line + 1), ends[1], fill=INK, font=font, anchor="ra")
    return picture
