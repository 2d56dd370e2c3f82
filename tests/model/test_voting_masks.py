"""Whole pixels of boxes, and how votes become a mask; by hand."""

from dataclasses import replace

import numpy as np
import pytest

from fcis.model.voting import whole_pixels
from fcis.recipe.conventions import RELEASE

from .voting_cases import DETECTION, DIRECT, Grid, boxes_of, paste, probabilities, run

pytestmark = pytest.mark.usefixtures("both_countings")


# Pixels


def test_whole_pixels():
    found = whole_pixels(
        boxes_of(
            (0, 0, 10, 10),
            (0.4, 0.6, 9.4, 9.6),  # last pixels 8.4 and 8.6
            (0.5, 1.5, 9.5, 10.5),  # halves to even: 0 and 2; last pixels 8.5 and 9.5: 8 and 10
            (3.2, 3.2, 3.3, 3.3),  # less than a pixel
            (3.5, 3.5, 4.4, 4.4),  # last pixel 3.4 before the first: 4
        )
    )
    assert found.tolist() == [
        [0, 0, 10, 10],
        [0, 1, 9, 10],
        [0, 2, 9, 11],
        [3, 3, 4, 4],
        [4, 4, 5, 5],
    ]
    assert whole_pixels(boxes_of()).shape == (0, 4)


def test_whole_pixels_by_edges():
    found = whole_pixels(
        boxes_of(
            (0.4, 0.6, 9.4, 9.6),
            (0.5, 1.5, 9.5, 10.5),  # halves to even: 0, 2, 10 and 10
            (3.2, 3.2, 3.3, 3.3),  # nothing left
            (3.5, 3.5, 4.4, 4.6),
        ),
        by_edges=True,
    )
    assert found.tolist() == [[0, 1, 9, 10], [0, 2, 10, 10], [3, 3, 3, 3], [4, 4, 4, 5]]
    assert whole_pixels(boxes_of(), by_edges=True).shape == (0, 4)


@pytest.mark.parametrize("conventions", [RELEASE, DIRECT], ids=["stored", "direct"])
def test_voters_without_a_pixel(conventions):
    # the first RoI has no pixel and votes for none; with the second one its weight counts
    empty, full = (3, 3, 3, 3), (2, 2, 6, 6)
    ones = np.ones((4, 4), dtype=np.float32)
    grids = {(0, 1): Grid(ones, empty, empty), (1, 1): Grid(ones, full, full)}
    box = (2, 2, 6, 6)
    alone = run(boxes_of(box), probabilities((0.1, 0.9)), grids, conventions=conventions)
    assert alone[1] == [None]
    for score, found in ((0.5, True), (0.9, False)):
        probs = probabilities((1 - score, score), (0.6, 0.4))
        _, (crop,) = run(boxes_of(box, box), probs, grids, conventions=conventions)
        # of the weight the second one has 0.4 / 0.9 or 0.4 / 1.3
        assert (crop is not None and crop.bits.shape == (4, 4)) == found


# How votes become a mask


def two_voters(first, second, scores):
    """Two RoIs with the same box of 4 x 4 px and constant masks."""
    window = (0, 0, 4, 4)
    grids = {
        (i, 1): Grid(values=np.full((4, 4), v, dtype=np.float32), extent=window, window=window)
        for i, v in enumerate((first, second))
    }
    probs = probabilities(*((1 - s, s) for s in scores))
    return boxes_of(window, window), probs, grids


def test_binary_votes_or_probabilities():
    # mean probability 0.5 * 0.45 + 0.5 * 0.1 = 0.275; of the binary masks it is 0.5
    case = two_voters(0.45, 0.1, (0.6, 0.6))
    assert run(*case)[1][0].bits.all()
    assert run(*case, conventions={**RELEASE, "vote": "probability"})[1] == [None]
    # 0.9 * 0.3 + 0.1 * 1.0 = 0.37 and 0.1: neither; 0.6 * 0.3 + 0.4 * 1 = 0.58 and 0.4
    case = two_voters(0.3, 1.0, (0.9, 0.1))
    assert run(*case)[1] == [None]
    case = two_voters(0.3, 1.0, (0.9, 0.3))
    assert run(*case)[1] == [None]
    assert run(*case, conventions={**RELEASE, "vote": "probability"})[1][0].bits.all()


def test_foreground_at_exactly_the_threshold():
    recipe = replace(DETECTION, mask_threshold=0.5)
    for conventions in (DIRECT, RELEASE, {**DIRECT, "vote": "probability"}):
        case = two_voters(0.5, 0.5, (0.6, 0.3))
        assert run(*case, recipe, conventions)[1][0].bits.all()
        above = {**conventions, "foreground_at_equal": False}
        assert run(*case, recipe, above)[1] == [None]


def test_stored_mask_at_exactly_the_threshold():
    # the binary votes of the second RoI are half of the weight: the voted mask is 0.5 everywhere
    recipe = replace(DETECTION, mask_threshold=0.5)
    above = {**RELEASE, "stored_at_equal": False}
    case = two_voters(0.0, 1.0, (0.6, 0.6))
    assert run(*case, recipe)[1][0].bits.all()
    assert run(*case, recipe, above)[1] == [None]
    # what is not stored is not enlarged again
    direct = {**above, "store_grid": False}
    assert run(*case, recipe, direct)[1][0].bits.all()


def test_stored_grid():
    # a comb of single pixels survives at full resolution, not through 5 x 5 samples
    values = np.zeros((20, 20), dtype=np.float32)
    values[:, ::2] = 1
    values[:, -1] = 1
    box = (4, 6, 24, 26)
    grids = {(0, 1): Grid(values=values, extent=box, window=box)}
    case = boxes_of(box), probabilities((0.1, 0.9)), grids
    (direct,) = run(*case, conventions=DIRECT)[1]
    assert (direct.top, direct.left) == (6, 4)
    assert (direct.bits == (values > 0.4)).all()
    (stored,) = run(*case, grid_size=5)[1]
    assert not (paste(stored) == paste(direct)).all()
    # one sample a pixel holds everything
    (fine,) = run(*case, grid_size=20)[1]
    assert (paste(fine) == paste(direct)).all()


def test_stored_box_is_tight():
    # foreground in a quarter of the box: the samples go there
    values = np.zeros((20, 20), dtype=np.float32)
    values[2:9, 11:19] = 1
    box = (0, 0, 20, 20)
    case = boxes_of(box), probabilities((0.1, 0.9)), {(0, 1): Grid(values, box, box)}
    (crop,) = run(*case, grid_size=3)[1]
    assert (crop.top, crop.left, crop.bits.shape) == (2, 11, (7, 8))
    assert crop.bits.all()


@pytest.mark.parametrize("conventions", [RELEASE, DIRECT], ids=["stored", "direct"])
def test_single_pixel(conventions):
    window = (43, 35, 44, 36)
    grids = {(0, 1): Grid(np.ones((21, 21), dtype=np.float32), window, window)}
    (crop,) = run(boxes_of(window), probabilities((0.1, 0.9)), grids, conventions=conventions)[1]
    assert (crop.top, crop.left, crop.bits.tolist()) == (35, 43, [[True]])
