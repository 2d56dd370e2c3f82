"""Two ways to count votes, against a loop over votes and against each other."""

import numpy as np
import pytest
import torch

from fcis.model import vote_counting as counting
from fcis.model.vote_counting import (
    Ballot,
    count_in_turn,
    count_together,
)
from fcis.recipe.conventions import PAPER, RELEASE, with_conventions
from fcis.recipe.types import DetectionRecipe
from fcis.structures import MaskGrids, Selection

DETECTION = DetectionRecipe()
SIDE = 64  # px of the image


def ballot_of(conventions, *, detections=12, votes=50, grids=30, seed=0):
    """Random votes in no order; some voters have no pixel, some detections no vote."""
    rng = torch.Generator().manual_seed(seed)
    start = torch.randint(0, SIDE // 2, (grids, 2), generator=rng)
    sides = torch.randint(0, SIDE // 2, (grids, 2), generator=rng)
    windows = torch.cat([start, start + sides], dim=1)
    found = MaskGrids(
        values=torch.rand(grids, 7, 7, generator=rng),
        shapes=torch.full((grids, 2), 7),
        extents=windows.float(),
    )
    voter_of = torch.randint(0, max(1, detections), (votes,), generator=rng)
    weights = torch.rand(votes, generator=rng)
    total = torch.zeros(detections).index_add_(0, voter_of, weights)
    grid_of = torch.randint(0, grids, (votes,), generator=rng)
    selection = Selection(
        rois=torch.arange(detections),
        labels=torch.ones(detections, dtype=torch.int64),
        scores=torch.rand(detections, generator=rng),
        voter_of=voter_of,
        voters=grid_of,
        weights=weights / total[voter_of],
    )
    return Ballot(
        selection=selection,
        grids=found,
        windows=windows,
        grid_of=grid_of,
        recipe=with_conventions(DETECTION, conventions),
    )


def full(counted, detections):
    """The means of all detections in the whole image, and which of them there are."""
    images, seen = np.zeros((detections, SIDE, SIDE), dtype=np.float32), []
    for found, corners, mean in counted:
        assert len(found) == len(corners) == len(mean)
        for detection, (left, top), values in zip(found, corners, mean.numpy(), strict=True):
            height, width = min(len(values), SIDE - top), min(values.shape[1], SIDE - left)
            assert not values[height:].any() and not values[:, width:].any()
            images[detection, top : top + height, left : left + width] = values[:height, :width]
            seen.append(detection)
    assert len(seen) == len(set(seen))
    return images, set(seen)


def by_loop(ballot):
    """Vote after vote in the whole image."""
    images = np.zeros((len(ballot.selection.rois), SIDE, SIDE), dtype=np.float32)
    corner = torch.zeros((1, 2), dtype=torch.int64)
    selection = ballot.selection
    for detection, grid, weight in zip(
        selection.voter_of, ballot.grid_of, selection.weights, strict=True
    ):
        mask = ballot.brought(grid[None], corner, (SIDE, SIDE))[0]
        images[detection] += mask.numpy() * weight.numpy()
    return images


@pytest.mark.parametrize("conventions", [RELEASE, PAPER], ids=["binary", "probability"])
@pytest.mark.parametrize("bound", [1, 900, 1 << 20])
@pytest.mark.parametrize("seed", [0, 1])
def test_both_ways_are_a_loop_over_votes(monkeypatch, conventions, bound, seed):
    ballot = ballot_of(conventions, seed=seed)
    monkeypatch.setattr(counting, "_CHUNK", bound)
    monkeypatch.setattr(counting, "_CACHED", bound)
    expected = by_loop(ballot)
    together, everyone = full(count_together(ballot), len(expected))
    np.testing.assert_allclose(together, expected, atol=1e-6)
    assert everyone == set(range(len(expected)))
    in_turn, seen = full(count_in_turn(ballot), len(expected))
    reached = expected >= DETECTION.mask_threshold
    # cut to the foreground, and left out without any
    assert seen == set(np.flatnonzero(reached.any(axis=(1, 2))).tolist()) and len(seen) > 3
    np.testing.assert_allclose(in_turn[reached], expected[reached], atol=1e-6)
    for detection in seen:
        rows, columns = np.nonzero(in_turn[detection])
        rows_reached, columns_reached = np.nonzero(reached[detection])
        assert rows.min() == rows_reached.min() and rows.max() == rows_reached.max()
        assert columns.min() == columns_reached.min() and columns.max() == columns_reached.max()


def test_nobody_votes():
    ballot = ballot_of(RELEASE, detections=1, votes=0)
    assert list(count_in_turn(ballot)) == []
    empty = ballot_of(RELEASE, detections=0, votes=0)
    assert list(count_in_turn(empty)) == list(count_together(empty)) == []


@pytest.mark.parametrize("bound", [1, 3000, 1 << 24])
def test_windows_of_similar_size(bound):
    rng = np.random.default_rng(0)
    sides = rng.integers(0, 200, (50, 2)).tolist()
    counts = rng.integers(1, 9, 50).tolist()
    parts = list(counting._similar(sides, counts, bound))
    assert sorted(i for part in parts for i in part) == list(range(50))
    for part in parts:
        width, height = np.max([sides[i] for i in part], axis=0)
        assert len(part) == 1 or width * height * sum(counts[i] for i in part) <= bound
        # padding no more than doubles large windows
        for i in part:
            assert max(32, width) * max(32, height) <= 2 * max(32, sides[i][0]) * max(
                32, sides[i][1]
            )
    assert len(parts) <= (36 if bound == 1 << 24 else 50)
    assert list(counting._similar([], [], bound)) == []


@pytest.mark.parametrize(
    ("bound", "starts"),
    [(1, [0, 2, 3, 4, 5, 6, 7]), (300, [0, 5, 6, 7]), (500, [0, 5]), (600, [0])],
)
def test_parts_hold_few_masks(monkeypatch, bound, starts):
    # of 100, 200, 0 and 300 px
    boxes = [[0, 0, 10, 10], [5, 5, 25, 15], [3, 3, 3, 9], [0, 0, 30, 10]]
    used = [0, 0, 1, 2, 0, 3, 1, 3, 3]
    monkeypatch.setattr(counting, "_CHUNK", bound)
    parts = list(counting._parts(used, boxes))
    assert [part.start for part in parts] == starts
    assert [vote for part in parts for vote in part] == list(range(9))
