"""Instances to pictures: masks, contours and labels over an image, and sheets of pictures.

Works on crops window by window, so that many instances in a large image cost no full-size masks.
Knows numpy arrays and PIL images, neither models nor data sets.
"""

import colorsys
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fcis.core.masks import MaskCrop, crop_from_mask

Color = tuple[int, int, int]
_Shape = Bool[np.ndarray, "h w"]

FILL_OPACITY = 0.45

# Light enough for dark halos and dark names on them; the first ones are farthest apart.
_PALETTE = (
    "ff6b5e 3fb8ff ffd23f 4fd36b c78bff ff9f40 2fe0d0 ff7ac8 b4e61e 8090ff ffb8a8 00ad8a "
    "e64df0 d4a25a ff3d86 a8dcff c4f5b0 a39bd0 b0b83c ffe9ad cf8066 5fa8b8 ffc4f0 7fb86a"
).split()
_INSTANCE_COLORS = 16  # of the palette: the vivid ones
_SHADES = (0.0, 0.4, 0.75)  # towards white, for neighbours of one class
_MIN_LUMINANCE = 0.28
_DARK: Color = (0, 0, 0)  # halos, and names on their colour
_HALO_OPACITY = 0.6
# What a name hides of objects (as a fraction, other names three times) it may avoid by standing
# not above its instance, but on, below, right or left of it; if it costs more, it is left out.
_SPOT_COSTS = (0.0, 0.05, 0.1, 0.25, 0.25)
_MAX_SPOT_COST = 0.5
_SMALL_SIDE = 320  # images with a shorter side below this are enlarged ...
_TARGET_SIDE = 512  # ... until it is about this long,
_MAX_LONG_SIDE = 4096  # unless the longer one would exceed this
_SHEET: Color = (248, 248, 248)


def class_color(label: int) -> Color:
    """Return the colour of a class, the same in every picture; labels count from 1.

    The first 24 are chosen by eye, any further ones are generated.
    """
    if 1 <= label <= len(_PALETTE):
        red, green, blue = bytes.fromhex(_PALETTE[label - 1])
        return red, green, blue
    # Steps by the golden ratio never repeat a hue; two saturations double the distance.
    hue = label * (math.sqrt(5) - 1) / 2 % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.45 + 0.3 * (label % 2), 1.0)
    color = (round(255 * red), round(255 * green), round(255 * blue))
    while _luminance(color) < _MIN_LUMINANCE:  # blue and violet
        color = _shaded(color, 0.1)
    return color


def draw_instances(
    image: UInt8[np.ndarray, "height width 3"],
    crops: Sequence[MaskCrop],
    labels: Int[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"] | None,
    class_names: Sequence[str],
    *,
    color_by: Literal["class", "instance"] | None = None,
    text: bool | None = None,
    scale: int | None = None,
    fill: float | None = None,
) -> Image.Image:
    """Return a picture of the image with every instance filled, outlined and named on it.

    The result does not depend on the order of the instances: large ones are painted first, and
    colours follow class and position. An instance without pixels is left out.

    Args:
        image: RGB, the original image.
        crops: the masks, in pixels of the image.
        labels: 1..C, indices into `class_names`.
        scores: shown beside the names; None for annotations.
        class_names: by label; index 0 is the background.
        color_by: "class" gives a class its `class_color` in every picture, in three shades
            where instances of one class are close; "instance" gives neighbours different
            colours. None: by instance if there is one class only.
        text: True names every instance, False none. None: those whose name hides little of
            other names and objects; in a crowded picture large instances only.
        scale: how many times as wide and high as the image the picture is. None: 1, or for a
            shorter side under 320 pixels what brings it to about 512.
        fill: opacity of the masks, 0..1; None: `FILL_OPACITY`. Contours are always opaque.

    Raises:
        ValueError: the lengths differ, a label has no name, the scale is below 1, or the
            opacity is not in 0..1.
    """
    count = len(crops)
    if len(labels) != count or (scores is not None and len(scores) != count):
        got = f"{len(labels)} labels" + ("" if scores is None else f", {len(scores)} scores")
        raise ValueError(f"labels and scores: expected one for each of {count} crops, got {got}")
    if count and not 1 <= labels.min() <= labels.max() < len(class_names):
        raise ValueError(f"labels: expected 1..{len(class_names) - 1}, got {labels.tolist()}")
    if scale is not None and scale < 1:
        raise ValueError(f"scale: expected a whole number >= 1, got {scale}")
    fill = FILL_OPACITY if fill is None else fill
    if not 0 <= fill <= 1:
        raise ValueError(f"fill: expected an opacity from 0 to 1, got {fill}")
    height, width = image.shape[:2]
    scale = scale or _automatic_scale(height, width)
    canvas = Image.fromarray(image)
    if scale > 1:
        canvas = canvas.resize((width * scale, height * scale), Image.Resampling.BICUBIC)

    kept = [(_tight(crop), index) for index, crop in enumerate(crops) if crop.bits.any()]
    kept.sort(key=lambda pair: (-pair[0].area, pair[0].top, pair[0].left, labels[pair[1]]))
    shapes = [crop for crop, _ in kept]
    order = [index for _, index in kept]
    kinds: list[int] = labels[order].tolist()
    by_class = color_by == "class" or (color_by is None and len(class_names) > 2)
    colors = _colors(shapes, kinds, by_class)
    _paint(canvas, shapes, colors, scale, fill)

    if text is not False:
        names = [" ".join(class_names[label].split()) for label in kinds]
        if scores is not None:
            names = [f"{name} {scores[i]:.2f}" for name, i in zip(names, order, strict=True)]
        _write(canvas, shapes, names, colors[0], scale, always=text is True)
    return canvas


def contact_sheet(
    pictures: Sequence[Image.Image], columns: int, titles: Sequence[str] | None = None
) -> Image.Image:
    """Return pictures side by side in rows, each under its title, none of them resized.

    Every cell is as large as the largest picture; smaller ones are centred in theirs. No
    pictures give a single white pixel.

    Raises:
        ValueError: no columns, or not as many titles as pictures.
    """
    if columns < 1:
        raise ValueError(f"columns: expected a whole number >= 1, got {columns}")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"titles: expected {len(pictures)}, got {len(titles)}")
    if not pictures:
        return Image.new("RGB", (1, 1), "white")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    gap = max(4, width // 64)
    font = ImageFont.load_default(max(12, width // 36))
    line = 0 if titles is None else round(font.getbbox("Ag")[3]) + gap // 2
    size = (columns * (width + gap) + gap, rows * (height + line + gap) + gap)
    sheet = Image.new("RGB", size, _SHEET)
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        left, top = gap + column * (width + gap), gap + row * (height + line + gap)
        if titles is not None:
            title = _shortened(titles[index], font, width)
            draw.text((left + width / 2, top), title, fill=(32, 32, 32), font=font, anchor="ma")
        offset = ((width - picture.width) // 2, (height - picture.height) // 2 + line)
        sheet.paste(picture.convert("RGB"), (left + offset[0], top + offset[1]))
    return sheet


def _automatic_scale(height: int, width: int) -> int:
    """Return how many times a small image is enlarged to be seen well."""
    short, long = sorted((height, width))
    wanted = round(_TARGET_SIDE / short) if short < _SMALL_SIDE else 1
    return max(1, min(wanted, _MAX_LONG_SIDE // long))


def _tight(crop: MaskCrop) -> MaskCrop:
    """Return the crop without empty margins."""
    inner = crop_from_mask(crop.bits)
    return MaskCrop(top=crop.top + inner.top, left=crop.left + inner.left, bits=inner.bits)


def _colors(
    crops: Sequence[MaskCrop], labels: Sequence[int], by_class: bool
) -> tuple[list[Color], list[Color]]:
    """Return the colours of masks and of contours; neighbours differ in at least the latter."""
    if not by_class:
        choice = _told_apart(crops, [0] * len(crops), _INSTANCE_COLORS, spread=True)
        colors = [class_color(index + 1) for index in choice]
        return colors, colors
    colors = [class_color(label) for label in labels]
    choice = _told_apart(crops, labels, len(_SHADES), spread=False)
    shaded = [_shaded(c, _SHADES[index]) for c, index in zip(colors, choice, strict=True)]
    return colors, shaded


def _shaded(color: Color, amount: float) -> Color:
    """Return a colour mixed with white: 0 none, 1 only white."""
    red, green, blue = (round(value + amount * (255 - value)) for value in color)
    return red, green, blue


def _luminance(color: Color) -> float:
    """Return the relative luminance, 0..1, as the WCAG's contrast ratio uses it."""
    red, green, blue = (
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (value / 255 for value in color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _told_apart(
    crops: Sequence[MaskCrop], groups: Sequence[int], choices: int, *, spread: bool
) -> list[int]:
    """Return a choice for each crop that its neighbours of the same group do not have.

    Greedy, from top to bottom. Where several choices are free, `spread` takes the one used least
    so far, otherwise the first. Too many neighbours share what they use least.
    """
    count, group = len(crops), np.array(groups)
    chosen = np.full(count, -1, dtype=np.int64)
    top_left = np.array([(c.top, c.left) for c in crops], dtype=float).reshape(count, 2)
    size = np.array([c.bits.shape for c in crops], dtype=float).reshape(count, 2)
    margin = 2 + 0.25 * np.sqrt(size.prod(axis=1, keepdims=True))
    low, high = top_left - margin, top_left + size + margin
    uses = np.zeros(choices, dtype=np.int64)
    for i in np.lexsort((size[:, 1], size[:, 0], top_left[:, 1], top_left[:, 0])):
        near = ((low < high[i]) & (high > low[i])).all(axis=1) & (group == group[i])
        taken = np.bincount(chosen[near & (chosen >= 0)], minlength=choices)
        chosen[i] = (taken * (count + 1) + (uses if spread else 0)).argmin()
        uses[chosen[i]] += 1
    return chosen.tolist()


def _paint(
    canvas: Image.Image,
    crops: Sequence[MaskCrop],
    colors: tuple[Sequence[Color], Sequence[Color]],
    scale: int,
    fill: float,
) -> None:
    """Paint all masks, then all halos, then all contours, so that no contour gets covered.

    Colours are those of the masks and those of the contours.
    """
    line = max(1, round(math.sqrt(min(canvas.size) / 120)))
    pad = (line + 1) // 2 + 2

    def lay(layer: Callable[[_Shape, int], Image.Image], paints: Sequence[Color]) -> None:
        for crop, color in zip(crops, paints, strict=True):
            # A thick line would fill a small object and hide what is inside
            width = max(1, min(line, min(crop.bits.shape) * scale // 8))
            corner = (crop.left * scale - pad, crop.top * scale - pad)
            canvas.paste(color, corner, layer(_enlarged(crop.bits, scale, pad), width))

    lay(lambda shape, _: _coverage(shape, fill), colors[0])
    lay(_halo, [_DARK] * len(crops))
    lay(_contour, colors[1])


def _halo(shape: _Shape, width: int) -> Image.Image:
    """Return the opacity of the thin dark border around a mask, for a contour `width` wide."""
    return _difference(_grown(shape, (width + 1) // 2), shape, _HALO_OPACITY)


def _contour(shape: _Shape, width: int) -> Image.Image:
    """Return the opacity of the border inside a mask."""
    return _difference(shape, ~_grown(~shape, width), 1.0)


def _difference(outer: _Shape, inner: _Shape, opacity: float) -> Image.Image:
    """Return the opacity of what a mask has and a mask inside it has not."""
    high, low = (np.asarray(_coverage(shape, opacity)) for shape in (outer, inner))
    return Image.fromarray(np.maximum(high, low) - low)


def _enlarged(bits: _Shape, scale: int, pad: int) -> Bool[np.ndarray, "h2 w2"]:
    """Return a mask at the picture's scale, its steps rounded off, within an empty margin."""
    shape = _repeated(bits, scale, pad)
    if scale == 1:
        return shape
    blurred = Image.fromarray(shape).convert("L").filter(ImageFilter.GaussianBlur(0.6 * scale))
    # Parts one pixel thin, in no 2 x 2 block of the mask, would vanish in the blur
    inner = np.pad(bits, 1)
    block = inner[:-1, :-1] & inner[1:, :-1] & inner[:-1, 1:] & inner[1:, 1:]
    thin = bits & ~(block[:-1, :-1] | block[1:, :-1] | block[:-1, 1:] | block[1:, 1:])
    return (np.asarray(blurred) > 127) | _repeated(thin, scale, pad)


def _repeated(bits: _Shape, scale: int, pad: int) -> Bool[np.ndarray, "h2 w2"]:
    """Return a mask with every pixel made a square of `scale` pixels, within an empty margin."""
    return np.pad(bits.repeat(scale, axis=0).repeat(scale, axis=1), pad)


def _coverage(shape: _Shape, opacity: float) -> Image.Image:
    """Return the opacity of every pixel of a mask; steps are smoothed, straight edges stay."""
    smooth = Image.fromarray(shape).convert("L").filter(ImageFilter.GaussianBlur(0.6))
    # The steeper ramp takes back the blur of straight edges, the floor that of single pixels
    ramp = ((np.arange(256) / 255 - 0.5) * 1.6 + 0.5).clip(0, 1) * opacity * 255
    levels = ramp.round().astype(np.uint8)[np.asarray(smooth)]
    return Image.fromarray(np.maximum(levels, shape * np.uint8(round(0.6 * opacity * 255))))


def _grown(shape: _Shape, radius: int) -> _Shape:
    """Return the pixels within about `radius` of the mask: an octagon in place of a disc."""
    for step in range(radius):
        wide, grown = shape.copy(), shape.copy()
        wide[:, 1:] |= shape[:, :-1]
        wide[:, :-1] |= shape[:, 1:]
        source = wide if step % 2 else shape  # squares and crosses in turn
        grown |= wide
        grown[1:] |= source[:-1]
        grown[:-1] |= source[1:]
        shape = grown
    return shape


def _write(
    canvas: Image.Image,
    crops: Sequence[MaskCrop],
    names: Sequence[str],
    colors: Sequence[Color],
    scale: int,
    *,
    always: bool,
) -> None:
    """Write the names on the picture, the largest instances first."""
    font_size = max(11, round(11 * (min(canvas.size) / 400) ** 0.6))
    font = ImageFont.load_default(font_size)
    margin = max(2, round(font_size / 5))
    line = round(font.getbbox("Ag")[3]) + margin
    names = [_shortened(name, font, canvas.width - 2 * margin) for name in names]
    sizes = [(math.ceil(font.getlength(name)) + 2 * margin, line) for name in names]
    few = sum(w * h for w, h in sizes) <= 0.12 * canvas.width * canvas.height
    draw = ImageDraw.Draw(canvas)
    corners = [(c.left, c.top, c.left + c.bits.shape[1], c.top + c.bits.shape[0]) for c in crops]
    objects = np.array(corners, dtype=float).reshape(-1, 4) * scale
    placed = np.zeros((0, 4))
    for crop, name, color, size in zip(crops, names, colors, sizes, strict=True):
        large = size[0] * size[1] <= 0.5 * crop.bits.size * scale**2
        if not (always or few or large):
            continue
        spots = _spots(crop, size, scale, canvas.size)
        cost = 3 * _cover(spots, placed) + _cover(spots, objects) + _SPOT_COSTS
        best = int(cost.argmin())
        if cost[best] > _MAX_SPOT_COST and not always:
            continue
        x0, y0, x1, y1 = spots[best].round().tolist()
        draw.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), radius=margin, fill=color)
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        draw.text(middle, name, fill=_DARK, font=font, anchor="mm")
        placed = np.concatenate([placed, spots[best : best + 1]])


def _spots(
    crop: MaskCrop, size: tuple[int, int], scale: int, canvas: tuple[int, int]
) -> Float[np.ndarray, "spot 4"]:
    """Return boxes in the picture where a mask's name may stand, the best first, all inside.

    Above, on, below, right of and left of the mask.
    """
    (rows, columns), (w, h) = crop.bits.shape, size
    top, left = crop.top * scale, crop.left * scale
    bottom, right = top + rows * scale, left + columns * scale
    x_top, x_bottom = (
        left + float(np.flatnonzero(crop.bits[row]).mean() + 0.5) * scale for row in (0, -1)
    )
    y_mid, x_mid = (
        start + float(np.searchsorted(np.cumsum(total), total.sum() / 2)) * scale
        for start, total in ((top, crop.bits.sum(axis=1)), (left, crop.bits.sum(axis=0)))
    )
    corners = np.array(
        [
            (x_top - w / 2, top - h - 1),
            (x_mid - w / 2, y_mid - h / 2),
            (x_bottom - w / 2, bottom + 1),
            (right + 1, y_mid - h / 2),
            (left - w - 1, y_mid - h / 2),
        ]
    ).clip(0, np.maximum(np.subtract(canvas, size), 0))
    return np.concatenate([corners, corners + size], axis=1)


def _cover(
    spots: Float[np.ndarray, "spot 4"], others: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, " spot"]:
    """Return how much of the other boxes each spot covers: the sum of their covered fractions."""
    low = np.maximum(spots[:, None, :2], others[None, :, :2])
    high = np.minimum(spots[:, None, 2:], others[None, :, 2:])
    area = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return ((high - low).clip(min=0).prod(axis=2) / area).sum(axis=1)


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return the name, its end cut off if it is wider than `width` pixels."""
    if font.getlength(name) <= width:
        return name
    while name and font.getlength(name + "...") > width:
        name = name[:-1]
    return name + "..."
