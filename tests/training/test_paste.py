import numpy as np
import pytest

from fcis.training.paste import paste, pick_objects
from fcis.training.windows import PlacedMask, View

SIZE = (10, 12)


def block(top, left, rows, columns, value=1.0):
    values = np.full((rows, columns), value, dtype=np.float32)
    return PlacedMask(top=top, left=left, values=values)


def view(*masks, level=0.0, labels=None, size=SIZE):
    """Boxes are a quarter of a pixel larger than the masks, as annotated ones may be."""
    boxes = [m.tight_box() + np.array([-0.25, -0.25, 0.25, 0.25]) for m in masks]
    return View(
        levels=np.full((*size, 3), level, dtype=np.float32),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels or range(1, len(masks) + 1), dtype=np.int64),
        masks=masks,
        crowds=np.full((1, 4), level, dtype=np.float32),
    )


def full(mask, size=SIZE):
    canvas = np.zeros(size)
    rows, columns = mask.values.shape
    canvas[mask.top : mask.top + rows, mask.left : mask.left + columns] = mask.values
    return canvas


def test_what_is_covered_leaves_masks_and_boxes_below():
    below = view(block(2, 1, 4, 6), block(7, 8, 2, 3), level=10)
    above = view(block(0, 4, 9, 3), level=200, labels=[5])
    result = paste(below, above)
    assert result.labels.tolist() == [1, 2, 5]
    assert full(result.masks[0]).sum() == 4 * 3  # of columns 1 to 6, 4 to 6 are covered
    assert result.boxes[0].tolist() == [1, 2, 4, 6]
    assert result.boxes[1].tolist() == [7.75, 6.75, 11.25, 9.25]  # untouched, as annotated
    assert result.boxes[2].tolist() == above.boxes[0].tolist()
    pasted = full(above.masks[0]) == 1
    assert (result.levels[pasted] == 200).all() and (result.levels[~pasted] == 10).all()
    assert result.crowds.tolist() == below.crowds.tolist()
    together = sum(full(m) for m in result.masks)
    expected = np.maximum(sum(full(m) for m in below.masks), full(above.masks[0]))
    assert (together == expected).all()


@pytest.mark.parametrize(("left_over", "kept"), [(4, True), (3, True), (2, False), (0, False)])
def test_what_is_nearly_covered_is_dropped(left_over, kept):
    """An object of 20 pixels: 0.15 of it are 3."""
    below = view(block(4, 0, 1, 4), block(2, 1, 2, 10), labels=[4, 7])
    result = paste(below, view(block(2, 1, 1, 10), block(3, 1, 1, 10 - left_over), labels=[1, 1]))
    assert (7 in result.labels.tolist()) == kept
    assert result.labels.tolist() == [4] + [7] * kept + [1, 1]
    if kept:
        assert result.boxes[1].tolist() == [11 - left_over, 3, 11, 4]
        assert full(result.masks[1]).sum() == left_over
    assert len(result.boxes) == len(result.masks) == len(result.labels)


def test_a_hole_in_the_middle_leaves_the_box_as_large():
    result = paste(view(block(1, 1, 5, 5)), view(block(2, 2, 3, 3)))
    assert result.boxes[0].tolist() == [1, 1, 6, 6]
    assert full(result.masks[0]).sum() == 25 - 9


def test_shares_of_pixels_add_up_as_of_objects_side_by_side():
    below = view(block(0, 0, 2, 6), level=100)
    edge = np.array([[0.25, 0.75, 1.0], [0.0, 0.5, 1.0]], dtype=np.float32)
    above = view(PlacedMask(top=0, left=3, values=edge), level=200)
    result = paste(below, above)
    expected = [[1, 1, 1, 0.75, 0.25, 0], [1, 1, 1, 1, 0.5, 0]]
    assert result.masks[0].values.tolist() == expected
    assert result.levels[:2, 3:6, 0].tolist() == [[125, 175, 200], [100, 150, 200]]


def test_pasted_objects_that_overlap_cover_by_the_larger_share():
    above = view(block(0, 0, 1, 3, 0.75), block(0, 1, 1, 3, 0.5), level=8)
    result = paste(view(block(0, 0, 1, 12)), above)
    assert result.masks[0].values[0, :5].tolist() == [0.25, 0.25, 0.25, 0.5, 1]
    assert result.levels[0, :5, 0].tolist() == [6, 6, 6, 4, 0]
    assert result.labels.tolist() == [1, 1, 2]


def test_nothing_pasted_and_nothing_below():
    below, empty = view(block(2, 1, 4, 6), level=10), view(level=200)
    same = paste(below, empty)
    assert same.labels.tolist() == [1] and (same.levels == below.levels).all()
    assert same.boxes.tolist() == below.boxes.tolist()
    assert (same.masks[0].values == below.masks[0].values).all()
    alone = paste(empty, below)
    assert alone.labels.tolist() == [1] and alone.masks == below.masks
    none = paste(empty, view(level=10))
    assert none.boxes.shape == (0, 4) and none.labels.shape == (0,) and none.masks == ()
    assert (none.levels == 200).all()


def test_views_have_one_size():
    message = r"above: expected levels of \(10, 12, 3\), got \(12, 10, 3\)"
    with pytest.raises(ValueError, match=message):
        paste(view(), view(size=(12, 10)))


def test_any_number_of_objects_is_picked_as_often():
    start = view(*(block(0, i, 1, 1) for i in range(4)))
    rng = np.random.default_rng(0)
    counts, picked = np.zeros(5), np.zeros(4)
    for _ in range(800):
        chosen = pick_objects(start, rng)
        indices = chosen.labels - 1
        assert (np.diff(indices) > 0).all()
        assert chosen.boxes.tolist() == start.boxes[indices].tolist()
        assert [m.left for m in chosen.masks] == indices.tolist()
        counts[len(indices)] += 1
        picked[indices] += 1
    assert counts[0] == 0
    assert (abs(counts[1:] - 200) < 60).all()  # 4.9 standard deviations
    assert (abs(picked - 500) < 70).all()  # each in 2.5 of 4
    empty = view()
    assert pick_objects(empty, rng) is empty
