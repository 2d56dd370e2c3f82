"""Which RoIs become detections, who votes on them, and with whose mask; by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.model.voting import select, voting_pairs

from .voting_cases import DETECTION, DIRECT, SETTINGS, TWO, Grid, boxes_of, probabilities, run

pytestmark = pytest.mark.usefixtures("both_countings")


def test_one_roi_may_be_several_categories():
    probs = probabilities((0.1, 0.5, 0.4), (0.2, 0.2, 0.6))
    far = boxes_of((0, 0, 10, 10), (20, 0, 30, 10))
    each = select(far, probs, DETECTION)
    assert each.scores.tolist() == pytest.approx([0.6, 0.5, 0.4, 0.2])
    assert each.labels.tolist() == [2, 1, 2, 1]
    assert each.rois.tolist() == [1, 0, 0, 1]
    best = select(far, probs, replace(DETECTION, assignment="best-category"))
    assert best.rois.tolist() == [1, 0]
    assert best.labels.tolist() == [2, 1]


def test_suppression_is_within_a_category_or_over_all():
    probs = probabilities((0.1, 0.7, 0.2), (0.2, 0.3, 0.5))
    each = select(TWO, probs, DETECTION)
    assert list(zip(each.rois.tolist(), each.labels.tolist(), strict=True)) == [(0, 1), (1, 2)]
    best = select(TWO, probs, replace(DETECTION, assignment="best-category"))
    assert list(zip(best.rois.tolist(), best.labels.tolist(), strict=True)) == [(0, 1)]


def test_suppression_at_equal():
    recipe = replace(DETECTION, nms=0.5)
    probs = probabilities((0.2, 0.8), (0.4, 0.6))
    for assignment in ("each-category", "best-category"):
        kept = replace(recipe, assignment=assignment)
        assert len(select(TWO, probs, kept).rois) == 2
        at_equal = replace(kept, nms_at_equal=True)
        assert len(select(TWO, probs, at_equal).rois) == 1


def test_merging_at_equal():
    probs = probabilities((0.2, 0.8), (0.4, 0.6))
    both = select(TWO, probs, DETECTION)
    assert both.voters.tolist() == [0, 1]
    torch.testing.assert_close(both.weights, torch.tensor([0.8, 0.6]) / 1.4)
    alone = select(TWO, probs, replace(DETECTION, merge_at_equal=False))
    assert alone.voters.tolist() == [0]
    assert alone.weights.tolist() == [1]


def test_all_rois_vote_however_low_their_score():
    probs = probabilities((0.2, 0.8), (0.9999, 0.0001))
    selection = select(TWO, probs, DETECTION)
    assert selection.rois.tolist() == [0]
    assert selection.voters.tolist() == [0, 1]
    torch.testing.assert_close(selection.weights, probs[:, 1] / probs[:, 1].sum())


def test_weights_are_those_of_the_category_under_vote():
    probs = probabilities((0.1, 0.6, 0.3), (0.1, 0.2, 0.7))
    selection = select(TWO, probs, replace(DETECTION, nms=0.9))
    assert selection.labels.tolist() == [2, 1, 2, 1]
    for detection, label in enumerate(selection.labels.tolist()):
        mine = selection.voter_of == detection
        assert selection.voters[mine].tolist() == [0, 1]
        torch.testing.assert_close(selection.weights[mine], probs[:, label] / probs[:, label].sum())


def test_limits():
    row = boxes_of(*((20 * i, 0, 20 * i + 10, 10) for i in range(5)))
    probs = probabilities(*((1 - s, s) for s in (0.3, 0.9, 0.0009, 0.001, 0.5)))
    assert select(row, probs, DETECTION).rois.tolist() == [1, 4, 0, 3]
    three = replace(DETECTION, max_detections=3)
    assert select(row, probs, three).rois.tolist() == [1, 4, 0]
    half = replace(DETECTION, min_score=0.5)
    assert select(row, probs, half).rois.tolist() == [1, 4]


@pytest.mark.parametrize("name", SETTINGS)
def test_nothing_to_select(name):
    conventions = SETTINGS[name]
    for boxes, probs in (
        (boxes_of(), torch.zeros(0, 4)),
        (TWO, probabilities((1, 0, 0, 0), (1, 0, 0, 0))),
    ):
        selection, crops = run(boxes, probs, {}, DETECTION, conventions)
        assert crops == []
        assert selection.rois.shape == selection.voters.shape == (0,)
        assert selection.rois.dtype == selection.labels.dtype == torch.int64


# Whose mask


def test_mask_category():
    probs = probabilities((0.1, 0.3, 0.6), (0.5, 0.4, 0.1))
    selection = select(TWO, probs, DETECTION)
    # detections: RoI 0 as 2, RoI 1 as 1; both RoIs vote on both
    assert selection.labels.tolist() == [2, 1]
    for category, expected in {
        "best-foreground": {(0, 2), (1, 1)},
        "best-any": {(0, 2), (1, 0)},
        "voted": {(0, 1), (0, 2), (1, 1), (1, 2)},
    }.items():
        recipe = replace(DETECTION, mask_category=category)
        rois, classes, grid_of = voting_pairs(selection, probs, recipe)
        pairs = list(zip(rois.tolist(), classes.tolist(), strict=True))
        assert set(pairs) == expected
        assert len(pairs) == len(expected)
        # each vote uses a grid of its own voter
        assert torch.equal(rois[grid_of], selection.voters)
        if category == "voted":
            assert torch.equal(classes[grid_of], selection.labels[selection.voter_of])


def test_mask_category_changes_the_mask():
    probs = probabilities((0.5, 0.1, 0.4))
    box = boxes_of((0, 0, 8, 8))
    shares = {0: 2, 1: 4, 2: 6}  # columns of foreground by category
    grids = {}
    for category, columns in shares.items():
        values = np.zeros((8, 8), dtype=np.float32)
        values[:, :columns] = 1
        grids[0, category] = Grid(values=values, extent=(0, 0, 8, 8), window=(0, 0, 8, 8))
    expected = {"best-foreground": [6, 6], "best-any": [2, 2], "voted": [6, 4]}
    for category, widths in expected.items():
        conventions = {**DIRECT, "mask_category": category}
        selection, crops = run(box, probs, grids, DETECTION, conventions)
        assert selection.labels.tolist() == [2, 1]
        assert [crop.bits.shape[1] for crop in crops] == widths
