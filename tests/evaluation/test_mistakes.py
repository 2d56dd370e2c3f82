"""Mistakes by hand, and against loops over dense masks."""

import numpy as np
import pytest

from fcis.core.masks import MaskCrop, crop_from_mask
from fcis.evaluation.dsb import correct_share
from fcis.evaluation.mistakes import draw_mistakes, find_mistakes, touching_pairs
from fcis.evaluation.overlaps import category_overlaps
from fcis.evaluation.records import read_evaluation_set

from .conftest import dataset, detection, rectangle

NO_PAIR = {"both found": 0, "merged": 0, "split": 0, "one missed": 0, "both missed": 0}
NOT_FALSE = {"duplicate": 0, "merged": 0, "part": 0, "poor mask": 0, "background": 0}
# Two nuclei side by side, one pixel between them
LEFT, RIGHT = rectangle(5, 5, 10, 12), rectangle(16, 5, 10, 12)
BOTH = rectangle(5, 5, 21, 12)


def mistakes(truth, found, **options):
    """Of annotated masks and of (mask, score) in one image."""
    data = dataset([(1, 1, mask) for mask in truth])
    results = [detection(mask, score=score) for mask, score in found]
    return find_mistakes(read_evaluation_set(data, results), {1: 0.5}, **options)


@pytest.mark.parametrize(
    ("found", "pair", "false", "right"),
    [
        ([(LEFT, 0.9), (RIGHT, 0.8)], "both found", {}, 2),
        ([(BOTH, 0.9)], "merged", {"merged": 1}, 0),
        # the larger part of a merged one may still be found
        ([(LEFT | rectangle(15, 5, 7, 12), 0.9)], "merged", {}, 1),
        ([(LEFT, 0.9), (BOTH, 0.8)], "merged", {"merged": 1}, 1),
        (
            [(LEFT, 0.9), (rectangle(16, 5, 5, 11), 0.8), (rectangle(21, 5, 5, 11), 0.8)],
            "split",
            {"part": 2},
            1,
        ),
        ([(LEFT, 0.9)], "one missed", {}, 1),
        ([(LEFT, 0.9), (RIGHT, 0.4)], "one missed", {}, 1),
        ([], "both missed", {}, 0),
        ([(rectangle(5, 5, 5, 11), 0.9)], "both missed", {"part": 1}, 0),
        ([(LEFT, 0.9), (RIGHT, 0.9), (LEFT, 0.7)], "both found", {"duplicate": 1}, 2),
        ([(LEFT, 0.9), (RIGHT, 0.9), (rectangle(40, 20, 9, 9), 0.6)], "both found",
         {"background": 1}, 2),
        # shifted by half: IoU 1/3
        ([(LEFT, 0.9), (rectangle(16, 11, 10, 12), 0.6)], "one missed", {"poor mask": 1}, 1),
    ],
)  # fmt: skip
def test_two_that_touch(found, pair, false, right):
    result = mistakes([LEFT, RIGHT], found)
    assert result.pairs == NO_PAIR | {pair: 1}
    assert result.false == NOT_FALSE | false
    assert result.right == right


def test_sizes():
    """Of 4, 59, 60, 200 and 1,050 pixels; the second and the last are found."""
    truth = [
        rectangle(0, 0, 2, 2),
        rectangle(5, 0, 59, 1, size=(40, 80)),
        rectangle(5, 3, 60, 1, size=(40, 80)),
        rectangle(0, 5, 20, 10, size=(40, 80)),
        rectangle(25, 5, 35, 30, size=(40, 80)),
    ]
    truth[0] = rectangle(0, 0, 2, 2, size=(40, 80))
    data = dataset([(1, 1, mask) for mask in truth], size=(40, 80))
    results = [detection(truth[i], score=0.9) for i in (1, 4)]
    result = find_mistakes(read_evaluation_set(data, results), {1: 0.5})
    found = {(s.low, s.high): (s.found, s.annotated) for s in result.sizes}
    assert found == {
        (0, 60): (1, 2),
        (60, 120): (0, 1),
        (120, 250): (0, 1),
        (250, 500): (0, 0),
        (500, 1000): (0, 0),
        (1000, None): (1, 1),
    }
    data = result.to_json()
    assert (data["right"], data["missed"], data["correct"]) == (2, 3, 0.4)
    assert data["sizes"][0] == {"pixels": [0, 60], "annotated": 2, "recall": 0.5}
    assert data["sizes"][3]["recall"] is None and data["sizes"][-1]["pixels"] == [1000, None]
    other = find_mistakes(read_evaluation_set(dataset([]), []), {}, areas=(10,))
    assert [s.annotated for s in other.sizes] == [0, 0] and other.to_json()["correct"] is None


def test_categories_images_crowds_and_thresholds_are_kept_apart():
    instances = [(1, 1, LEFT), (1, 2, RIGHT), (2, 1, RIGHT), (1, 1, rectangle(40, 5, 9, 9), True)]
    data = dataset(instances, num_images=2, categories=(1, 2))
    results = [
        detection(LEFT, score=0.6),
        detection(RIGHT, category_id=2, score=0.6),  # below its threshold
        detection(LEFT, image_id=2, score=0.6),
        detection(rectangle(40, 5, 9, 9), score=0.6),
    ]
    result = find_mistakes(read_evaluation_set(data, results), {2: 0.7})
    assert sum(result.pairs.values()) == 0
    assert result.right == 1 and result.false == NOT_FALSE | {"background": 2}
    assert sum(s.annotated for s in result.sizes) == 3


def test_the_counts_make_the_share_of_correct_instances():
    """The Data Science Bowl's figure, which another module computes."""
    rng = np.random.default_rng(0)
    masks = [
        rectangle(*rng.integers(0, 30, 2).tolist(), *rng.integers(3, 20, 2).tolist())
        for _ in range(60)
    ]
    data = dataset([(1 + i % 3, 1 + i % 2, m) for i, m in enumerate(masks)], num_images=3,
                   categories=(1, 2))  # fmt: skip
    results = []
    for i, mask in enumerate(masks):
        moved = np.roll(mask, rng.integers(-3, 4, 2), axis=(0, 1))
        for score in rng.random(rng.integers(0, 3)):
            results.append(
                detection(moved, image_id=1 + i % 3, category_id=1 + i % 2, score=float(score))
            )
    both = read_evaluation_set(data, results)
    thresholds = {1: 0.3, 2: 0.6}
    result = find_mistakes(both, thresholds)
    expected = correct_share(category_overlaps(both), thresholds, 0.5)
    assert result.to_json()["correct"] == pytest.approx(expected)
    assert 10 < result.right == sum(s.found for s in result.sizes)
    assert all(result.false[cause] for cause in ("duplicate", "poor mask"))


def slow_pairs(masks, gap):
    """By the distances of all pixels of one to all of the other, along the longer axis."""
    places = [np.argwhere(mask) for mask in masks]
    pairs = []
    for i, one in enumerate(places):
        for j in range(i + 1, len(places)):
            apart = np.abs(one[:, None] - places[j][None]).max(axis=2)
            if apart.size and apart.min() <= gap + 1:
                pairs.append((i, j))
    return pairs


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_pairs_against_distances_of_pixels(gap):
    rng = np.random.default_rng(gap)
    masks = []
    for _ in range(20):
        x, y, w, h = *rng.integers(0, 45, 2).tolist(), *rng.integers(2, 9, 2).tolist()
        masks.append(rectangle(x, y, w, h) & (rng.random((40, 60)) < 0.7))
    masks.append(np.zeros((40, 60), dtype=bool))
    expected = slow_pairs(masks, gap)
    assert 3 < len(expected) < 150
    assert touching_pairs([crop_from_mask(mask) for mask in masks], gap) == expected


def test_how_far_apart_is_touching():
    def crop(left):
        return MaskCrop(top=0, left=left, bits=np.ones((3, 3), dtype=bool))

    assert touching_pairs([crop(0), crop(3)], 0) == [(0, 1)]
    assert touching_pairs([crop(0), crop(4)], 0) == []
    assert touching_pairs([crop(0), crop(4)], 1) == [(0, 1)]
    assert touching_pairs([crop(5), crop(0)], 1) == []
    assert touching_pairs([], 1) == []


def test_the_picture_shows_every_count():
    figure = draw_mistakes(mistakes([LEFT, RIGHT], [(LEFT, 0.9), (RIGHT, 0.8), (LEFT, 0.7)]))
    sizes, pairs, false = figure.axes
    assert [bar.get_height() for bar in sizes.patches] == [0, 0, 1, 0, 0, 0]
    assert [bar.get_height() for bar in pairs.patches] == [1, 0, 0, 0, 0]
    assert [bar.get_height() for bar in false.patches] == [1, 0, 0, 0, 0]
    assert {text.get_text() for text in sizes.texts} == {"0 / 0", "2 / 2"}
