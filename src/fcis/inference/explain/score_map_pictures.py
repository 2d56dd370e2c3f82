"""Score maps to look at: how the paper's Figures 1(c) and 2 come out for one's own images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from fcis.core.masks import MaskCrop
from fcis.imaging.drawing import draw_instances
from fcis.imaging.instances import Instances
from fcis.inference.explain.heat import (
    INK,
    PAPER,
    SCORE_COLORS,
    SHARE_COLORS,
    Box,
    Color,
    colored,
    draw_box,
    scale_bar,
    window_heat,
    window_image,
)
from fcis.inference.explain.scores import ImageScores, Reading

_Bits = Bool[np.ndarray, "rows columns"]

MOST_INSTANCES = 3
SHIFT = 1 / 3
"""How far the second RoI is moved, as a share of the first one's side."""

WIDTH = 1376
"""Of the picture, px."""

_GAP = 16  # px
_GRID = 504  # sides of panels, px
_VIEW = 304
_PANEL = 256
_LINE = 24  # heights of lines of text, px
_FOUND: Color = (0, 0, 0)
_SHIFTED: Color = (0, 150, 60)
_MARGIN = 0.15  # around both RoIs, as a share of their longer side
_LIMIT_PERCENT = 99.5  # of the sizes of all scores shown, what has the strongest colour
_ARROWS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What is drawn of one instance.

    Attributes:
        title: which one it is.
        crop: its mask.
        found: its box, read from the maps.
        shifted: the same box moved.
        move: in which direction.
        window: the part of the image that is drawn.
        inside, outside: maps of its category.
    """

    title: str
    crop: MaskCrop
    found: Reading
    shifted: Reading
    move: str
    window: Box
    inside: Float32[np.ndarray, "k k h w"]
    outside: Float32[np.ndarray, "k k h w"]


def draw_score_maps(
    scores: ImageScores, instances: Instances, *, most: int = MOST_INSTANCES
) -> Image.Image:
    """Return a picture of how the first instances of an image come out of its score maps.

    For each: the k x k inside and outside maps of its category over the image, the RoI's part
    marked in each; then what the RoI assembles from them, the greater of both, which is averaged
    to the score, the softmax of both, and the mask that it makes; then the same for a RoI moved
    by a third of its side, which reads the same maps and finds less. The RoI is the instance's
    box. All scores of the picture have one scale of colours, and so have all probabilities.

    Args:
        scores: of the image in which the instances were found.
        instances: best first; those without pixels are passed over.
        most: instances that are drawn.

    Raises:
        ValueError: there is no instance with pixels, or none is to be drawn.

    Paper: Figures 1(c) and 2.
    """
    areas = [crop.area for crop in instances.crops]
    chosen = [i for i, area in enumerate(areas) if area][: max(0, most)]
    if not chosen:
        raise ValueError(f"instances: expected at least one to draw, got {len(instances)}")
    shown = [_look(scores, instances, i) for i in chosen]
    limit = _limit(scores, shown)
    blocks = [_block(scores, one, limit) for one in shown]
    picture = Image.new("RGB", (WIDTH, sum(b.height for b in blocks)), PAPER)
    top = 0
    for block in blocks:
        picture.paste(block, (0, top))
        top += block.height
    return picture


def shifted_box(
    box: Float32[np.ndarray, " 4"], size: tuple[int, int]
) -> tuple[Float32[np.ndarray, " 4"], str]:
    """Return a box moved by a third of its side, and the direction: right, left, down or up.

    The first of these in which it stays inside the image, else right.

    Args:
        box: (x0, y0, x1, y1) in pixels of the image.
        size: (height, width) of the image.
    """
    sides = box[2:] - box[:2]
    for name, arrow in _ARROWS.items():
        moved = box + np.tile(np.array(arrow, dtype=np.float32) * sides * np.float32(SHIFT), 2)
        if (moved[:2] >= 0).all() and moved[2] <= size[1] and moved[3] <= size[0]:
            return moved, name
    step = np.array([sides[0] * np.float32(SHIFT), 0] * 2, dtype=np.float32)
    return box + step, "right"


def _look(scores: ImageScores, instances: Instances, index: int) -> _Shown:
    label, box = int(instances.labels[index]), instances.boxes[index]
    moved, move = shifted_box(box, instances.size)
    inside, outside = scores.of(label)
    name = " ".join(instances.class_names[label].split())
    return _Shown(
        title=f"{name} {instances.scores[index]:.2f}, instance {index + 1} of {len(instances)}",
        crop=instances.crops[index],
        found=scores.read(box, label),
        shifted=scores.read(moved, label),
        move=move,
        window=_window(np.stack([box, moved]), instances.size),
        inside=inside,
        outside=outside,
    )


def _window(boxes: Float32[np.ndarray, "n 4"], size: tuple[int, int]) -> Box:
    """Return the part of an image around boxes: a square, where the image is as large."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = (1 + 2 * _MARGIN) * (high - low).max() + 2
    most = np.array(size[::-1])
    corner = ((low + high - side) / 2).clip(0, np.maximum(most - side, 0))
    end = np.minimum(corner + side, most)
    return float(corner[0]), float(corner[1]), float(end[0]), float(end[1])


def _limit(scores: ImageScores, shown: Sequence[_Shown]) -> float:
    """Return the size of a score that has the strongest colour in the picture."""
    values: list[np.ndarray] = []
    down, across = scores.cell_size
    for one in shown:
        x0, y0, x1, y1 = one.window
        rows = slice(int(y0 / down), int(y1 / down) + 1)
        columns = slice(int(x0 / across), int(x1 / across) + 1)
        for maps in (one.inside, one.outside):
            values.append(maps[:, :, rows, columns].reshape(-1))
        for reading in (one.found, one.shifted):
            values += [reading.inside.reshape(-1), reading.outside.reshape(-1)]
    return max(float(np.percentile(np.abs(np.concatenate(values)), _LIMIT_PERCENT)), 1e-6)


def _block(scores: ImageScores, one: _Shown, limit: float) -> Image.Image:
    """Return the picture of one instance."""
    found = f"RoI as found: {_reason(scores, one.found)}"
    moved = f"RoI moved {one.move} by a third: {_reason(scores, one.shifted)}"
    rows = [
        _row(scores, one.found, (found, _FOUND), limit),
        _row(scores, one.shifted, (moved, _SHIFTED), limit),
    ]
    head = 2 * _LINE + _GAP
    top = head + _GRID + _GAP
    picture = Image.new("RGB", (WIDTH, top + sum(row.height for row in rows)), PAPER)
    _text(picture, (_GAP, _GAP // 2), one.title, 18)
    _view(picture, scores, one, limit, head)
    for column, (name, maps) in enumerate((("inside", one.inside), ("outside", one.outside))):
        left = _GAP + _VIEW + _GAP + column * (_GRID + _GAP)
        count = f"{scores.k} x {scores.k} {name} maps" if scores.k > 1 else f"{name} map"
        _text(picture, (left, head - _LINE), f"{count}, the RoIs' parts marked", 14)
        picture.paste(_grid(scores, one, maps, limit), (left, head))
    for row in rows:
        picture.paste(row, (0, top))
        top += row.height
    return picture


def _reason(scores: ImageScores, reading: Reading) -> str:
    """Say what the score of a RoI comes from."""
    others = reading.logits.copy()
    others[reading.label] = -np.inf
    rival = int(others.argmax())
    return (
        f"mean of the maximum {reading.logits[reading.label]:+.2f}, "
        f"of {' '.join(scores.class_names[rival].split())} {reading.logits[rival]:+.2f}; "
        f"score {reading.score:.2f} (softmax over {len(others)} categories)"
    )


def _view(picture: Image.Image, scores: ImageScores, one: _Shown, limit: float, top: int) -> None:
    """Draw the image with the mask and both RoIs, and the scales below it."""
    size = _fitted(one.window, _VIEW)
    view = _masked(scores, one.window, _in_window(one.crop, one.window, size))
    draw_box(view, _box(one.shifted.box), one.window, _SHIFTED, dashed=True)
    draw_box(view, _box(one.found.box), one.window, _FOUND)
    _text(picture, (_GAP, top - _LINE), "mask, RoI as found, RoI moved (dashed)", 14)
    picture.paste(view, (_GAP, top))
    for index, (name, colors, ends) in enumerate(
        (
            ("scores", SCORE_COLORS, (f"{-limit:.2g}", f"+{limit:.2g}")),
            ("probability of being inside", SHARE_COLORS, ("0", "1")),
        )
    ):
        place = top + _GRID - 2 * (40 + _LINE) + index * (44 + _LINE)
        _text(picture, (_GAP, place), name, 14)
        picture.paste(scale_bar(colors, ends, (_VIEW, 36)), (_GAP, place + _LINE - 4))


def _grid(
    scores: ImageScores, one: _Shown, maps: Float32[np.ndarray, "k k h w"], limit: float
) -> Image.Image:
    """Return all maps of a side over the image, in each the parts of both RoIs marked."""
    picture = Image.new("RGB", (_GRID, _GRID), PAPER)
    space = 4 if scores.k > 1 else 0
    size = _fitted(one.window, (_GRID - (scores.k - 1) * space) // scores.k)
    for row in range(scores.k):
        for column in range(scores.k):
            tile = window_heat(
                scores.image, maps[row, column], scores.cell_size, one.window, size, limit
            )
            for reading, color in ((one.shifted, _SHIFTED), (one.found, _FOUND)):
                part = _part(_box(reading.extent), row, column, scores.k)
                draw_box(tile, part, one.window, color)
            picture.paste(tile, (column * (size[0] + space), row * (size[1] + space)))
    return picture


def _row(
    scores: ImageScores, reading: Reading, title: tuple[str, Color], limit: float
) -> Image.Image:
    """Return what a RoI reads, and what becomes of it."""
    extent = _box(reading.extent)
    size = _fitted(extent, _PANEL)
    share = colored(reading.probability, 0, 1, SHARE_COLORS)
    of_scores = [
        colored(values, -limit, limit, SCORE_COLORS)
        for values in (reading.inside, reading.outside, reading.evidence)
    ]
    panels = [_assembled(colors, reading, size) for colors in (*of_scores, share)]
    panels.append(_masked(scores, extent, _mask(scores, reading, size)))
    names = (
        "inside, assembled",
        "outside, assembled",
        "maximum: is it such a box?",
        "softmax: is it inside?",
        f"mask: from {scores.mask_threshold:g} on",
    )
    picture = Image.new("RGB", (WIDTH, 2 * _LINE + size[1] + _GAP), PAPER)
    _text(picture, (_GAP, 0), title[0], 16, title[1])
    for index, (name, panel) in enumerate(zip(names, panels, strict=True)):
        left = _GAP + index * (_PANEL + _GAP)
        _text(picture, (left, _LINE), name, 14)
        picture.paste(panel, (left, 2 * _LINE))
    return picture


def _assembled(
    colors: UInt8[np.ndarray, "row column 3"], reading: Reading, size: tuple[int, int]
) -> Image.Image:
    """Return the samples of a RoI as squares, with lines between its parts."""
    picture = Image.fromarray(colors).resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    for axis, parts in ((0, reading.parts[0]), (1, reading.parts[:, 0])):
        for cut in np.flatnonzero(np.diff(parts)) + 1:
            place = round(cut * size[axis] / len(parts))
            ends = (place, 0, place, size[1]) if axis == 0 else (0, place, size[0], place)
            draw.line(ends, fill=INK)
    return picture


def _mask(scores: ImageScores, reading: Reading, size: tuple[int, int]) -> _Bits:
    """Return the mask of a RoI, enlarged to (width, height)."""
    share = Image.fromarray(reading.probability).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(share) >= scores.mask_threshold


def _in_window(crop: MaskCrop, window: Box, size: tuple[int, int]) -> _Bits:
    """Return a window of a mask, as (width, height) pixels of a picture."""
    places: list[np.ndarray] = []
    for axis, start in ((0, crop.top), (1, crop.left)):
        low, high, count = window[1 - axis], window[3 - axis], size[1 - axis]
        place = low + (np.arange(count) + 0.5) * (high - low) / count
        # one more row and column on each side, which are empty
        pixel = np.floor(place).astype(np.int64) - start + 1
        places.append(pixel.clip(0, crop.bits.shape[axis] + 1))
    return np.pad(crop.bits, 1)[np.ix_(places[0], places[1])]


def _masked(scores: ImageScores, window: Box, bits: _Bits) -> Image.Image:
    """Return a window of the image, as large as a mask, with the mask on it."""
    image = np.asarray(window_image(scores.image, window, (bits.shape[1], bits.shape[0])))
    crop, label = MaskCrop(top=0, left=0, bits=bits), np.array([1])
    return draw_instances(image, [crop], label, None, ("background", ""), text=False, scale=1)


def _fitted(window: Box, side: int) -> tuple[int, int]:
    """Return the (width, height) of a picture of a window that fits into a square."""
    width, height = window[2] - window[0], window[3] - window[1]
    factor = side / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _part(extent: Box, row: int, column: int, k: int) -> Box:
    """Return the part of a RoI that reads a map."""
    x0, y0, x1, y1 = extent
    width, height = (x1 - x0) / k, (y1 - y0) / k
    left, top = x0 + column * width, y0 + row * height
    return left, top, left + width, top + height


def _box(values: Float32[np.ndarray, " 4"]) -> Box:
    x0, y0, x1, y1 = values.tolist()
    return x0, y0, x1, y1


def _text(
    picture: Image.Image, place: tuple[int, int], text: str, size: int, color: Color = INK
) -> None:
    font = ImageFont.load_default(size)
    ImageDraw.Draw(picture).text(place, text, fill=color, font=font)
