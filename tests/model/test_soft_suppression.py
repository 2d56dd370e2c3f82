"""Scores lowered by overlapping masks, against loops over full-size masks."""

import numpy as np
import pytest

from fcis.core.masks import MaskCrop, crop_from_mask
from fcis.model.soft_suppression import mask_overlaps, soft_scores

SIZE = (40, 50)


def rectangle(top, left, height, width):
    return MaskCrop(top=top, left=left, bits=np.ones((height, width), dtype=bool))


def full(crop):
    mask = np.zeros(SIZE, dtype=bool)
    rows, columns = crop.bits.shape
    mask[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.bits
    return mask


def slow_iou(one, two):
    return (full(one) & full(two)).sum() / max(1, (full(one) | full(two)).sum())


def slow_scores(scores, labels, crops):
    """Take the best one out, lower the others, again and again."""
    left, result = list(range(len(scores))), [float(s) for s in scores]
    while left:
        best = max(left, key=lambda i: result[i])
        left.remove(best)
        for i in left:
            if labels[i] == labels[best]:
                result[i] *= 1 - slow_iou(crops[best], crops[i])
    return result


def blobs(count, rng):
    crops = []
    for _ in range(count):
        top, left = rng.integers(0, 20), rng.integers(0, 30)
        mask = np.zeros(SIZE, dtype=bool)
        mask[top : top + rng.integers(4, 20), left : left + rng.integers(4, 20)] = True
        crops.append(crop_from_mask(mask & (rng.random(SIZE) < 0.8)))
    return crops


@pytest.mark.parametrize("seed", range(5))
def test_against_loops_over_whole_images(seed):
    rng = np.random.default_rng(seed)
    crops = blobs(25, rng)
    scores = rng.uniform(0.1, 1, 25).astype(np.float32)
    labels = rng.integers(1, 3, 25)
    expected = slow_scores(scores, labels, crops)
    assert np.abs(np.array(expected) - scores).max() > 0.2
    np.testing.assert_allclose(soft_scores(scores, labels, crops), expected, atol=1e-5)
    for i, j in np.argwhere(mask_overlaps(labels, crops) > 0):
        assert labels[i] == labels[j] and i != j


def test_by_hand():
    """Of two that share half of the pixels of both, IoU 1/3; the third touches neither."""
    crops = [rectangle(0, 0, 4, 8), rectangle(0, 4, 4, 8), rectangle(4, 0, 4, 12)]
    scores, labels = np.array([0.9, 0.6, 0.5], dtype=np.float32), np.array([1, 1, 1])
    found = soft_scores(scores, labels, crops)
    np.testing.assert_allclose(found, [0.9, 0.4, 0.5], rtol=1e-6)
    assert scores.tolist() == pytest.approx([0.9, 0.6, 0.5])  # not changed in place
    np.testing.assert_allclose(soft_scores(scores, np.array([1, 2, 1]), crops), scores)


def test_an_exact_duplicate_is_worth_nothing():
    crops = [rectangle(3, 3, 5, 5)] * 3
    scores = np.array([0.7, 0.9, 0.9], dtype=np.float32)
    assert soft_scores(scores, np.ones(3, dtype=int), crops).tolist() == pytest.approx([0, 0.9, 0])


def test_neighbours_along_a_diagonal_keep_their_scores():
    """Their boxes overlap by half and more, their masks nowhere."""
    rows, columns = np.indices((20, 20))
    upper = MaskCrop(top=0, left=0, bits=columns > rows)
    lower = MaskCrop(top=0, left=0, bits=columns <= rows)
    scores = np.array([0.9, 0.8], dtype=np.float32)
    assert soft_scores(scores, np.array([1, 1]), [upper, lower]).tolist() == scores.tolist()


def test_a_lowered_one_lowers_others_only_from_its_new_place():
    """The second falls behind the third, which then lowers it further, not the reverse."""
    crops = [rectangle(0, 0, 10, 10), rectangle(0, 2, 10, 10), rectangle(0, 9, 10, 10)]
    scores = np.array([0.9, 0.85, 0.6], dtype=np.float32)
    found = soft_scores(scores, np.array([1, 1, 1]), crops)
    first, second, third = 80 / 120, 30 / 170, 10 / 190
    assert found[2] == pytest.approx(0.6 * (1 - third), rel=1e-5)
    assert found[1] == pytest.approx(0.85 * (1 - first) * (1 - second), rel=1e-5)


def test_nothing_and_empty_masks():
    none = np.zeros(0, dtype=np.float32)
    assert soft_scores(none, np.zeros(0, dtype=int), []).shape == (0,)
    empty = MaskCrop(top=0, left=0, bits=np.zeros((1, 1), dtype=bool))
    scores = np.array([0.5, 0.4], dtype=np.float32)
    found = soft_scores(scores, np.array([1, 1]), [empty, rectangle(0, 0, 2, 2)])
    assert found.tolist() == scores.tolist()
