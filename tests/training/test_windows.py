import numpy as np
import pytest

from fcis.core.masks import crop_from_mask
from fcis.inference.preprocess import sample_window
from fcis.training.windows import (
    PlacedMask,
    View,
    Window,
    clip_to_window,
    flipped,
    move_boxes,
    move_mask,
    random_crop,
    show_objects,
    transposed,
    whole_window,
    window_levels,
)


def window(image=(20, 30), factors=(1.0, 1.0), corner=(0, 0), size=(20, 30)):
    return Window(image=image, factors=factors, corner=corner, size=size)


def slow_resized_mask(mask, window):
    """Each window pixel by itself: bilinear between pixel centres, edges repeated."""
    height, width = mask.shape
    result = np.zeros(window.size)
    for row in range(window.size[0]):
        for column in range(window.size[1]):
            y = (row + window.corner[0] + 0.5) / window.factors[0]
            x = (column + window.corner[1] + 0.5) / window.factors[1]
            if not (0 <= y <= height and 0 <= x <= width):
                continue
            y, x = np.clip(y - 0.5, 0, height - 1), np.clip(x - 0.5, 0, width - 1)
            for j in {int(y), min(int(y) + 1, height - 1)}:
                for i in {int(x), min(int(x) + 1, width - 1)}:
                    result[row, column] += (1 - abs(y - j)) * (1 - abs(x - i)) * mask[j, i]
    return result


def placed(mask: PlacedMask, size):
    full = np.zeros(size)
    rows, columns = mask.values.shape
    full[mask.top : mask.top + rows, mask.left : mask.left + columns] = mask.values
    return full


@pytest.mark.parametrize(
    ("corner", "size", "rows", "columns"),
    [
        ((0, 0), (20, 30), (0, 20), (0, 30)),
        ((-3, 5), (25, 40), (3, 23), (0, 25)),
        ((15, 0), (10, 10), (0, 5), (0, 10)),
    ],
)
def test_covered_counts_pixels_inside_the_image(corner, size, rows, columns):
    shown = window(corner=corner, size=size)
    assert shown.covered(0) == rows
    assert shown.covered(1) == columns


def test_covered_holds_all_of_a_whole_window_however_its_size_was_rounded():
    for length in range(1, 60):
        for factor in np.linspace(0.05, 3, 37):
            whole = whole_window((length, length), (factor, factor))
            assert whole.covered(0) == (0, whole.size[0]), (length, factor)


def test_window_levels_of_a_whole_image_are_those_of_a_resize():
    levels = np.random.default_rng(0).uniform(0, 255, (13, 17, 3)).astype(np.float32)
    whole = whole_window((13, 17), (1.7, 1.7))
    shown = window_levels(levels, whole, (9.0, 9.0, 9.0))
    np.testing.assert_array_equal(shown, sample_window(levels, (1.7, 1.7), (0.0, 0.0), (22, 29)))


def test_window_levels_fill_what_lies_outside():
    levels = np.full((4, 4, 3), 100, dtype=np.float32)
    crop = window(image=(4, 4), factors=(2.0, 2.0), corner=(-2, 3), size=(12, 12))
    shown = window_levels(levels, crop, (1.0, 2.0, 3.0))
    inside = np.zeros((12, 12), dtype=bool)
    inside[2:10, 0:5] = True
    assert (shown[inside] == 100).all()
    assert (shown[~inside] == [1.0, 2.0, 3.0]).all()


def test_random_crops_lie_inside_or_show_all_of_a_smaller_image():
    rng = np.random.default_rng(0)
    large = whole_window((50, 12), (1.0, 1.0))
    crops = [random_crop(large, (20, 20), rng) for _ in range(200)]
    assert {c.size for c in crops} == {(20, 20)}
    assert {c.corner[0] for c in crops} == set(range(31))
    assert {c.corner[1] for c in crops} == set(range(-8, 1))
    oblong = random_crop(large, (50, 5), rng)
    assert oblong.size == (50, 5) and oblong.corner[0] == 0 and 0 <= oblong.corner[1] <= 7


def test_the_tight_box_is_that_of_the_pixels_inside():
    values = np.array([[0.4, 0.5, 0], [0, 0, 1], [0, 0.4, 0]], dtype=np.float32)
    mask = PlacedMask(top=5, left=2, values=values)
    assert mask.inside.sum() == 2
    assert mask.tight_box().tolist() == [3, 5, 5, 7]


def test_boxes_move_with_factor_and_corner():
    crop = window(factors=(2.0, 3.0), corner=(5, -1), size=(10, 10))
    boxes = np.array([[1, 2, 3, 4]], dtype=np.float32)
    assert move_boxes(boxes, crop).tolist() == [[4, -1, 10, 3]]
    assert clip_to_window(move_boxes(boxes, crop), crop).tolist() == [[4, 0, 10, 3]]
    assert move_boxes(np.zeros((0, 4), dtype=np.float32), crop).shape == (0, 4)


@pytest.mark.parametrize("factors", [(1.0, 1.0), (2.3, 2.3), (0.6, 0.6), (1.5, 0.8)])
@pytest.mark.parametrize("place", ["inside", "at the border", "all"])
def test_masks_are_resized_like_whole_images(factors, place):
    rng = np.random.default_rng(3)
    mask = np.zeros((14, 18), dtype=bool)
    where = {
        "inside": (slice(4, 9), slice(6, 13)),
        "at the border": (slice(0, 6), slice(11, 18)),
        "all": (slice(None), slice(None)),
    }[place]
    mask[where] = rng.random(mask[where].shape) < 0.8
    crop = crop_from_mask(mask)
    whole = whole_window(mask.shape, factors)
    for shown in (whole, random_crop(whole, (9, 9), rng), random_crop(whole, (50, 50), rng)):
        expected = slow_resized_mask(mask, shown)
        moved = move_mask(crop, shown)
        if moved is None:
            assert expected.max() < 0.5
        else:
            np.testing.assert_allclose(placed(moved, shown.size), expected, atol=1e-5)


def test_a_mask_outside_the_window_is_none():
    mask = np.zeros((20, 30), dtype=bool)
    mask[2:5, 2:5] = True
    assert move_mask(crop_from_mask(mask), window(corner=(8, 8), size=(10, 10))) is None
    empty = crop_from_mask(np.zeros((20, 30), dtype=bool))
    assert move_mask(empty, window()) is None


def objects_of(*masks):
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return np.array(boxes, dtype=np.float32), [crop_from_mask(m) for m in masks]


def test_objects_cut_by_the_window_get_a_tight_box():
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 5:9] = True  # an L that the window leaves the upper part of
    mask[13:15, 5:25] = True
    boxes, crops = objects_of(mask)
    kept, shown, masks = show_objects(boxes, crops, window(size=(12, 30)))
    assert kept == [0]
    assert shown.tolist() == [[5, 5, 9, 12]]
    assert masks[0].values.sum() == 7 * 4
    kept, shown, _ = show_objects(boxes, crops, window())
    assert shown.tolist() == boxes.tolist()


def test_slivers_and_what_lies_outside_are_dropped():
    masks = [np.zeros((20, 30), dtype=bool) for _ in range(3)]
    masks[0][2:12, 2:12] = True
    masks[1][2:12, 18:28] = True  # 1 of 10 columns is left
    masks[2][15:19, 22:29] = True
    boxes, crops = objects_of(*masks)
    kept, shown, placed_masks = show_objects(boxes, crops, window(size=(20, 19)))
    assert kept == [0]
    assert shown.shape == (1, 4) and len(placed_masks) == 1
    kept, shown, placed_masks = show_objects(boxes, crops, window(size=(20, 20)))
    assert kept == [0, 1]  # 2 of 10
    kept, shown, placed_masks = show_objects(boxes[:0], [], window())
    assert kept == [] and shown.shape == (0, 4) and placed_masks == ()


def test_rounding_the_size_of_a_whole_image_clips_boxes_and_no_more():
    mask = np.zeros((21, 21), dtype=bool)
    mask[0:21, 15:21] = True
    boxes, crops = objects_of(mask)
    whole = whole_window((21, 21), (0.83, 0.83))  # 17.43 px, 17 after rounding
    _, shown, _ = show_objects(boxes, crops, whole)
    np.testing.assert_allclose(shown, [[15 * 0.83, 0, 17, 17]], rtol=1e-6)


def view():
    rng = np.random.default_rng(0)
    return View(
        levels=rng.uniform(0, 255, (8, 12, 3)).astype(np.float32),
        boxes=np.array([[1, 2, 5, 4]], dtype=np.float32),
        labels=np.array([7]),
        masks=(PlacedMask(top=2, left=1, values=rng.random((2, 4)).astype(np.float32)),),
        crowds=np.array([[0, 0, 3, 8], [4, 4, 5, 5]], dtype=np.float32),
    )


def test_flips_and_transposition_by_hand():
    start = view()
    flip = flipped(start)
    assert flip.boxes.tolist() == [[7, 2, 11, 4]]
    assert flip.crowds.tolist() == [[9, 0, 12, 8], [7, 4, 8, 5]]
    assert (flip.masks[0].top, flip.masks[0].left) == (2, 7)
    assert (flip.masks[0].values == start.masks[0].values[:, ::-1]).all()
    assert (flip.levels == start.levels[:, ::-1]).all()
    turned = transposed(start)
    assert turned.boxes.tolist() == [[2, 1, 4, 5]]
    assert turned.crowds.tolist() == [[0, 0, 8, 3], [4, 4, 5, 5]]
    assert (turned.masks[0].top, turned.masks[0].left) == (1, 2)
    assert turned.levels.shape == (12, 8, 3)


@pytest.mark.parametrize("change", [flipped, transposed])
def test_twice_is_as_before(change):
    start, end = view(), change(change(view()))
    assert (end.levels == start.levels).all()
    assert (end.boxes == start.boxes).all() and (end.crowds == start.crowds).all()
    assert (end.masks[0].values == start.masks[0].values).all()
    assert (end.masks[0].top, end.masks[0].left) == (2, 1)
    assert change(start).labels.tolist() == [7]
