"""Smooth deformation against loops over pixels, and what it does to masks and boxes."""

import math

import numpy as np
import pytest

from fcis.training.elastic import draw_shifts, pulled
from fcis.training.windows import PlacedMask, View

SIZE = (24, 30)


def placed(mask, rng=None):
    """The rectangle around a mask, soft at random."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    if rng is not None:
        cut *= rng.uniform(0.3, 1, cut.shape).astype(np.float32)
    return PlacedMask(top=int(rows[0]), left=int(columns[0]), values=cut)


def block(top, left, rows, columns):
    mask = np.zeros(SIZE, dtype=bool)
    mask[top : top + rows, left : left + columns] = True
    return placed(mask)


def full(mask):
    canvas = np.zeros(SIZE, dtype=np.float32)
    rows, columns = mask.values.shape
    canvas[mask.top : mask.top + rows, mask.left : mask.left + columns] = mask.values
    return canvas


def view_of(*masks, crowds=(), seed=0):
    rng = np.random.default_rng(seed)
    return View(
        levels=rng.uniform(0, 255, (*SIZE, 3)).astype(np.float32),
        boxes=np.array([m.tight_box() for m in masks], dtype=np.float32).reshape(-1, 4),
        labels=np.arange(1, len(masks) + 1),
        masks=masks,
        crowds=np.array(crowds, dtype=np.float32).reshape(-1, 4),
    )


def shift_by(down, right):
    return np.broadcast_to(np.float32([down, right]).reshape(2, 1, 1), (2, *SIZE)).copy()


def slow_pull(canvas, shifts):
    """Each pixel bilinear at its place, which is held inside."""
    height, width = canvas.shape
    result = np.zeros_like(canvas)
    for y in range(height):
        for x in range(width):
            row = min(max(y + float(shifts[0, y, x]), 0), height - 1)
            column = min(max(x + float(shifts[1, y, x]), 0), width - 1)
            top, left = math.floor(row), math.floor(column)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            b, r = row - top, column - left
            upper = (1 - r) * canvas[top, left] + r * canvas[top, right]
            lower = (1 - r) * canvas[bottom, left] + r * canvas[bottom, right]
            result[y, x] = (1 - b) * upper + b * lower
    return result


@pytest.mark.parametrize("seed", range(4))
def test_against_loops_over_pixels(seed):
    rng = np.random.default_rng(seed)
    masks = []
    for top, left, rows, columns in ((0, 3, 9, 8), (8, 12, 10, 18), (15, 0, 9, 9)):
        mask = np.zeros(SIZE, dtype=bool)
        mask[top : top + rows, left : left + columns] = rng.random((rows, columns)) < 0.9
        masks.append(placed(mask, rng))
    view = view_of(*masks, seed=seed)
    shifts = draw_shifts(SIZE, 1.5, 5.0, rng)
    result = pulled(view, shifts)
    for channel in range(3):
        expected = slow_pull(view.levels[:, :, channel], shifts)
        np.testing.assert_allclose(result.levels[:, :, channel], expected, atol=2e-3)
    assert result.labels.tolist() == [1, 2, 3]
    for before, after, box in zip(masks, result.masks, result.boxes, strict=True):
        expected = slow_pull(full(before), shifts)
        assert np.abs(expected - full(before)).max() > 0.2
        np.testing.assert_allclose(full(after), expected, atol=1e-5)
        rows, columns = np.nonzero(full(after) >= 0.5)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == tight


def test_no_shift_changes_nothing():
    view = view_of(block(2, 3, 6, 7), crowds=[(4, 5, 9, 12)])
    result = pulled(view, shift_by(0, 0))
    assert np.array_equal(result.levels, view.levels)
    assert np.array_equal(full(result.masks[0]), full(view.masks[0]))
    assert result.boxes.tolist() == view.boxes.tolist()
    assert result.crowds.tolist() == view.crowds.tolist()


def test_one_shift_of_all_moves_all():
    """Each pixel shows what is 2 px below and 3 px left of it: content moves up and right."""
    view = view_of(block(10, 12, 5, 6), crowds=[(4, 5, 9, 12)])
    result = pulled(view, shift_by(2, -3))
    assert np.array_equal(result.levels[:-2, 3:], view.levels[2:, :-3])
    assert (result.levels[-1] == result.levels[-2]).all()  # the edge is repeated
    assert result.boxes.tolist() == [[15, 8, 21, 13]]
    assert result.crowds.tolist() == [[7, 3, 12, 10]]


def test_masks_that_touch_do_not_come_to_overlap():
    view = view_of(block(4, 4, 12, 8), block(4, 12, 12, 9))
    result = pulled(view, draw_shifts(SIZE, 2.0, 6.0, np.random.default_rng(1)))
    first, second = (full(mask) for mask in result.masks)
    assert (first + second).max() <= 1 + 1e-5
    # along the seam pixels are shared: it has moved, and by no whole pixels
    assert ((first > 0.01) & (second > 0.01)).sum() > 8


@pytest.mark.parametrize(("away", "kept"), [(-5, True), (-6, False), (-9, False)])
def test_what_nearly_leaves_the_view_is_dropped(away, kept):
    """An object of 6 columns at the left edge: of one column, 1/6 of it is left."""
    moving = placed(np.pad(np.ones((8, 6), dtype=bool), ((4, 12), (1, 23))))
    view = view_of(block(4, 20, 8, 4), moving)
    result = pulled(view, shift_by(0, 1 - away))
    assert result.labels.tolist() == [1, 2][: 1 + kept]
    assert len(result.masks) == len(result.boxes) == 1 + kept
    crowd = view_of(crowds=[(1, 4, 7, 12)])
    assert len(pulled(crowd, shift_by(0, 1 - away)).crowds) == kept


def test_a_view_without_objects():
    result = pulled(view_of(), shift_by(1, 1))
    assert result.boxes.shape == (0, 4) and result.masks == () and result.labels.shape == (0,)


def test_shifts_of_another_size():
    with pytest.raises(ValueError, match=r"shifts: expected those of \(24, 30\) pixels, got \(30"):
        pulled(view_of(), np.zeros((2, 30, 24), dtype=np.float32))


# The shifts themselves


@pytest.mark.parametrize("smoothness", [4.0, 8.0])
def test_strength_and_smoothness_are_those_asked_for(smoothness):
    """Smoothed white noise of unit power has a gradient of 1 / (sqrt(2) * smoothness)."""
    shifts = draw_shifts((400, 380), 3.0, smoothness, np.random.default_rng(0))
    assert shifts.dtype == np.float32
    for direction in shifts:
        assert np.sqrt(np.square(direction).mean()) == pytest.approx(3.0, rel=1e-4)
        for axis in (0, 1):
            gradient = np.sqrt(np.square(np.diff(direction, axis=axis)).mean())
            assert gradient == pytest.approx(3.0 / (math.sqrt(2) * smoothness), rel=0.15)
    assert abs(np.corrcoef(shifts.reshape(2, -1))[0, 1]) < 0.3


def test_shifts_depend_on_the_generator_alone():
    one, two = (draw_shifts(SIZE, 2.0, 6.0, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, draw_shifts(SIZE, 2.0, 6.0, np.random.default_rng(6)))
    assert not draw_shifts(SIZE, 0.0, 6.0, np.random.default_rng(5)).any()
