"""Where two tiles see different things: the limits from which one of them is right.

The image has two tiles, columns 0..100 and 80..180; all numbers are pixels of the image.
"""

import numpy as np
import pytest

from fcis.core.masks import MaskCrop
from fcis.imaging.instances import Instances
from fcis.inference.tiling.join import Joiner
from fcis.inference.tiling.tile_grid import Tiling, plan_tiles

SIZE = (100, 180)


def joined(left, right, *, rows=20, scores=(0.5, 0.5)):
    """Return (first column, end, score) of what comes of one object (first, end) in each tile."""
    grid = plan_tiles(SIZE, Tiling(size=100, overlap=20))
    joiner = Joiner(grid)
    for tile, (first, end), score in zip(grid, (left, right), scores, strict=True):
        bits = np.ones((rows, end - first), dtype=bool)
        joiner.add(
            tile,
            Instances(
                size=(100, 100),
                scores=np.array([score], dtype=np.float32),
                labels=np.array([1]),
                crops=(MaskCrop(top=40, left=first - tile.left, bits=bits),),
                class_names=("background", "cell"),
                category_ids=(0, 7),
            ),
        )
    found = joiner.finish()
    return [
        (crop.left, crop.left + crop.bits.shape[1], pytest.approx(score))
        for crop, score in zip(found.crops, found.scores.tolist(), strict=True)
    ]


@pytest.mark.parametrize("score", [0.3, 0.45])
def test_what_one_tile_alone_cuts_needs_twice_the_score_of_what_contradicts_it(score):
    """They share 9 columns of the 20 that both tiles see, too few to be one object."""
    cut, whole = (40, 100), (84, 93)
    more, less = 2.1 * score, 1.9 * score
    assert joined(cut, whole, scores=(more, score)) == [(*cut, more)]
    assert joined(cut, whole, scores=(less, score)) == [(*whole, score)]


def test_an_object_was_seen_whole_if_less_than_a_tenth_of_it_is_beyond_the_tile():
    """The left tile ends it at 95; of 99 or 101 columns the right tile adds those from 100 on."""
    whole = (5, 95)
    assert joined(whole, (80, 109), scores=(0.8, 0.4)) == [(*whole, 0.8)]  # 9 of 99
    ((first, end, score),) = joined(whole, (80, 111), scores=(0.8, 0.4))  # 11 of 101
    assert (first, end) == (5, 111)
    assert score == pytest.approx((90 * 0.8 + 31 * 0.4) / 121)


@pytest.mark.parametrize(
    ("left", "right", "is_one"),
    [(42, 60, True), (60, 42, True), (46, 60, False), (60, 46, False)],
)
def test_pieces_are_one_object_if_they_share_a_quarter_of_the_smaller_one(left, right, is_one):
    """Threads of one row that share 11 pixels, 84..95: more than 42 / 4, less than 46 / 4."""
    pieces = (95 - left, 95), (84, 84 + right)
    expected = [(95 - left, 84 + right)] if is_one else list(pieces)
    assert sorted(found[:2] for found in joined(*pieces, rows=1)) == expected
