"""Of each convention: where its values give different results, and where the same.

What is expected was computed by hand from the words of the reference, sections 1 to 6 and 11, or
of the paper.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fcis.recipe.conventions import Rows

from .convention_stages import (
    AGAINST,
    APART,
    DRAWN,
    PLAIN,
    anchors,
    box_maps,
    boxes_of,
    chosen,
    decays,
    detected,
    head_losses,
    labels,
    on_grid,
    pairs,
    plan,
    proposed,
    refined,
    resized,
    rpn_box_loss,
    scored,
    stem,
    suppressed,
    tiny,
    voted,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: what each of its values gives where they differ, and all where they do not."""

    apart: Callable[[Rows], object]
    expected: dict[object, object]
    same: Callable[[Rows], object]
    common: object
    context: dict[str, object] | None = None


# 0 to 24 px are 1.5 cells. Bins of 0.75 cells read cell 0, and cells 0 and 1: 1 and 2. Samples lie
# at 0.375 and 1.125 cells, centres of cells at 0.5 and 1.5: 1 and 1 + 0.625 * 2. Covered are two
# cells. With whole cells all three read cells 0 and 1.
SAMPLING = Case(
    apart=lambda c: scored((0, 0, 24, 16), c, out_size=2),
    expected={"pool": 1.5, "align": 1.625, "native": 2.0},
    same=lambda c: scored((0, 0, 32, 16), c, out_size=2),
    common=2.0,
)

CASES = {
    "sampling": SAMPLING,
    # first pixel 16.4 is 16, last one 31.2 is 31: the box is cell 1 alone, and 1.03 to 2.01 else
    "round_rois": Case(
        apart=lambda c: scored((16.4, 0, 32.2, 16), c, out_size=1),
        expected={True: 3.0, False: 7.0},
        same=lambda c: scored((16, 0, 32, 16), c, out_size=1),
        common=3.0,
    ),
    # with one slot there are four channels; with two the second one is used
    "box_slots": Case(
        apart=lambda c: tiny(c).head.boxes.out_channels,
        expected={1: 4, 2: 8},
        same=lambda c: box_maps(c, second=5.0),
        common=[5.0] * 4,
    ),
    # 1 / sqrt(1e-5) and 1 / sqrt(2e-5), of the first layer alone
    "stem_eps": Case(
        apart=lambda c: stem(c, 0.0),
        expected={1e-5: [316.23, 316.23], 2e-5: [223.61, 316.23]},
        same=lambda c: stem(c, 4.0),
        common=[0.5, 0.5],
    ),
    # base 16 px, twice enlarged: sqrt(256 * 2) = 22.63 is 23, half of it 11.5 is 12
    "anchor_rounding": Case(
        apart=lambda c: np.round(anchors(c, 0.5), 4).tolist(),
        expected={True: [[46.0, 24.0]], False: [[45.2548, 22.6274]]},
        same=lambda c: anchors(c, 1.0),
        common=[[32.0, 32.0]],
    ),
    # 40 x 56 px hold 2 x 3 whole cells of 16 px, 48 x 64 px all of 3 x 4
    "proposal_grid": Case(
        apart=lambda c: on_grid(c, (40, 56)),
        expected={"whole-cells": 6, "full": 12},
        same=lambda c: on_grid(c, (48, 64)),
        common=12,
    ),
    # logits 3 over 2 and 1 over -3: the second one is the more probable
    "proposal_rank": Case(
        apart=lambda c: proposed(c, APART[:2], [[2, 3], [-3, 1]]),
        expected={"probability": APART[[1, 0]].tolist(), "logit": APART[:2].tolist()},
        same=lambda c: proposed(c, APART[:2], [[0, 1], [0, 3]]),
        common=APART[[1, 0]].tolist(),
        context=PLAIN,
    ),
    "pad_proposals": Case(
        apart=lambda c: proposed(c, APART, [3, 2, 1], post_nms=5),
        expected={True: APART[[0, 1, 2, 0, 1]].tolist(), False: APART.tolist()},
        same=lambda c: proposed(c, APART, [3, 2, 1], post_nms=3),
        common=APART.tolist(),
        context={"proposal_grid": "full"},
    ),
    # 40 px of a doubled image are 20 of the original
    "min_size_in_original": Case(
        apart=lambda c: len(proposed(c, APART, [3, 2, 1], scale=2.0, min_size=25.0)),
        expected={False: 3, True: 0},
        same=lambda c: len(proposed(c, APART, [3, 2, 1], scale=1.0, min_size=25.0)),
        common=3,
        context=PLAIN,
    ),
    "nms_at_equal": Case(
        apart=lambda c: suppressed(c, 0.5),
        expected={False: (2, 2), True: (1, 1)},
        same=lambda c: (suppressed(c, 0.4), suppressed(c, 0.6)),
        common=((2, 2), (1, 1)),
    ),
    # in the RPN, after the first pass, and in the original image
    "box_clip": Case(
        apart=lambda c: (
            proposed(c, boxes_of((-30, 4, -20, 8)), [1], size=(10, 20)),
            refined(c, -2.0),
            detected(c, (30, 2, 34, 8)),
        ),
        expected={
            "last-pixel": ([[0, 4, 1, 8]], [0, 0, 1, 8], [23, 2, 24, 8]),
            "edge": ([], [0, 0, 0, 8], None),
        },
        same=lambda c: (
            proposed(c, boxes_of((-30, 4, 5, 18)), [1], size=(10, 20)),
            refined(c, 0.5),
            detected(c, (18, 2, 34, 8)),
        ),
        common=([[0, 4, 5, 10]], [4, 0, 12, 8], [18, 2, 24, 8]),
        context=PLAIN,
    ),
    # the last pixel 23 of a doubled image is 11.5 of the original, rounded 12; the edge is 12
    "box_end": Case(
        apart=lambda c: detected(c, (8, 8, 24, 24), scale=2.0),
        expected={"last-pixel": [4, 4, 13, 13], "edge": [4, 4, 12, 12]},
        same=lambda c: detected(c, (8, 8, 24, 24)),
        common=[8, 8, 24, 24],
    ),
    # the last pixel 7.5 is 8, the edge 8.5 too; 3.2 to 3.4 is pixel 3, or nothing
    "box_rounding": Case(
        apart=lambda c: (detected(c, (2, 2, 8.5, 9)), detected(c, (3.2, 2, 3.4, 9))),
        expected={
            "last-pixel": ([2, 2, 9, 9], [3, 2, 4, 9]),
            "edge": ([2, 2, 8, 9], None),
        },
        same=lambda c: (detected(c, (2, 2, 8, 9)), detected(c, (2.3, 1.6, 8.3, 9.4))),
        common=([2, 2, 8, 9], [2, 2, 8, 9]),
    ),
    # detections: RoI 0 as 2, RoI 1 as 1; each votes on both, one by its background at best
    "mask_category": Case(
        apart=lambda c: pairs(c, [[0.1, 0.3, 0.6], [0.5, 0.4, 0.1]]),
        expected={
            "best-foreground": [(0, 2), (1, 1)],
            "best-any": [(0, 2), (1, 0)],
            "voted": [(0, 1), (0, 2), (1, 1), (1, 2)],
        },
        same=lambda c: pairs(c, [[0.1, 0.9, 0.0], [0.2, 0.8, 0.0]]),
        common=[(0, 1), (1, 1)],
    ),
    "assignment": Case(
        apart=lambda c: labels(c, [0.1, 0.3, 0.6]),
        expected={"each-category": [2, 1], "best-category": [2]},
        same=lambda c: labels(c, [0.1, 0.9, 0.0]),
        common=[1],
    ),
    # 0.45 and 0.1 are on and off at 0.4; halves of the weight each: 0.5, or 0.275
    "vote": Case(
        apart=lambda c: voted(c, [[[0.45]], [[0.1]]], [0.6, 0.6]),
        expected={"binary": 16, "probability": None},
        same=lambda c: (voted(c, [[[0.9]], [[0.8]]], [0.6, 0.6]), voted(c, [[[0.1]]], [0.6])),
        common=(16, None),
    ),
    # an L of 12 of 16 px; one sample in its middle is 3/4, which is enough for all 16
    "store_grid": Case(
        apart=lambda c: voted(c, [np.kron([[1, 0], [1, 1]], np.ones((2, 2)))], [0.6]),
        expected={True: 16, False: 12},
        same=lambda c: voted(c, [[[1, 1], [1, 1]]], [0.6]),
        common=16,
    ),
    # the second RoI votes against, at IoU 0.5; the first one has 0.8 / 1.5 = 0.53 of the weight
    "merge_at_equal": Case(
        apart=lambda c: voted(c, AGAINST, [0.8, 0.7], height=2.0, threshold=0.7),
        expected={True: None, False: 16},
        same=lambda c: (
            voted(c, AGAINST, [0.8, 0.7], height=1.0, threshold=0.7),
            voted(c, AGAINST, [0.8, 0.7], height=3.0, threshold=0.7),
        ),
        common=(16, None),
    ),
    "foreground_at_equal": Case(
        apart=lambda c: voted(c, [[[0.5]]], [0.6], threshold=0.5),
        expected={True: 16, False: None},
        same=lambda c: (
            voted(c, [[[0.51]]], [0.6], threshold=0.5),
            voted(c, [[[0.49]]], [0.6], threshold=0.5),
        ),
        common=(16, None),
    ),
    # votes for and against of the same weight; what is not stored is not concerned
    "stored_at_equal": Case(
        apart=lambda c: voted(c, AGAINST, [0.6, 0.6], threshold=0.5),
        expected={True: 16, False: None},
        same=lambda c: (
            voted(c, AGAINST, [0.7, 0.6], threshold=0.5),
            voted({**c, "store_grid": False}, AGAINST, [0.6, 0.6], threshold=0.5),
        ),
        common=(16, 16),
    ),
    # a quarter and three quarters of 10; halves to even
    "resize": Case(
        apart=lambda c: resized(c, 2.0),
        expected={"levels": [0, 2, 8, 10], "float": [0, 2.5, 7.5, 10]},
        same=lambda c: resized(c, 1.0),
        common=[0, 10],
    ),
    # 641 * 600 / 478 = 804.6; boxes are mapped back by the factor, or the ratio of the widths
    "size_rounding": Case(
        apart=lambda c: plan(c, (478, 641)),
        expected={
            "nearest": ((600, 805), [round(600 / 478, 6)] * 2),
            "down": ((600, 804), [round(804 / 641, 6)] * 2),
        },
        same=lambda c: plan(c, (480, 640)),
        common=((600, 800), [1.25, 1.25]),
    ),
    # two of four RoIs are positive: 2 * 0.5 / 4, ten times or once
    "mask_loss_weight": Case(
        apart=lambda c: head_losses(c, 2, planned=4),
        expected={10.0: [1, 2.5, 0.125], 1.0: [1, 0.25, 0.125]},
        same=lambda c: head_losses(c, 0, planned=4),
        common=[1, 0, 0],
    ),
    "negative_low": Case(
        apart=lambda c: chosen(c, [8, 2, 0.5]),
        expected={0.0: [(0.5, 0), (2, 0), (8, 1)], 0.1: [(2, 0), (8, 1)]},
        same=lambda c: chosen(c, [8, 2, 1.5]),
        common=[(1.5, 0), (2, 0), (8, 1)],
        context=DRAWN,
    ),
    "fill_negatives": Case(
        apart=lambda c: chosen(c, [8, 2], rois=4),
        expected={True: [(2, 0), (2, 0), (2, 0), (8, 1)], False: [(2, 0), (8, 1)]},
        same=lambda c: chosen(c, [8, 2], rois=2),
        common=[(2, 0), (8, 1)],
        context={"truth_as_rois": False},
    ),
    "positive_at_equal": Case(
        apart=lambda c: chosen(c, [5]),
        expected={True: [(5, 1)], False: [(5, 0)]},
        same=lambda c: chosen(c, [4, 6]),
        common=[(4, 0), (6, 1)],
        context=DRAWN,
    ),
    "truth_as_rois": Case(
        apart=lambda c: chosen(c, [2]),
        expected={True: [(2, 0), (10, 1)], False: [(2, 0)]},
        same=lambda c: chosen(c, [2], objects=False),
        common=[(2, 0)],
        context={"fill_negatives": False},
    ),
    # ten times 2 * 0.5, of four RoIs or of two positives
    "mask_loss_norm": Case(
        apart=lambda c: head_losses(c, 2, planned=4),
        expected={"rois": [1, 2.5, 0.125], "positives": [1, 5, 0.125]},
        same=lambda c: head_losses(c, 4, planned=4),
        common=[1, 5, 0.25],
    ),
    # of eight RoIs that there should be, or of the four that there are
    "loss_rois": Case(
        apart=lambda c: head_losses(c, 2, planned=8),
        expected={"planned": [1, 1.25, 0.0625], "actual": [1, 2.5, 0.125]},
        same=lambda c: head_losses(c, 2, planned=4),
        common=[1, 2.5, 0.125],
    ),
    # An object of 16 px covers four anchors of 8 px, each with IoU 1/4, and these are its best:
    # shifts of a half in x and y, growth ln 2. The smooth loss is |d| - 1/18 each; 16 anchors are
    # labelled, 64 there should be.
    "rpn_box_norm": Case(
        apart=lambda c: rpn_box_loss(c, (0, 0, 16, 16)),
        expected={
            "planned": round(8 * (0.5 + np.log(2) - 1 / 9) / 64, 4),
            "labelled": round(8 * (0.5 + np.log(2) - 1 / 9) / 16, 4),
        },
        same=lambda c: rpn_box_loss(c),
        common=0,
    ),
    "decay_biases": Case(
        apart=lambda c: (decays(c, "rpn.conv.bias"), decays(c, "backbone.bn1.bias")),
        expected={False: ([0.0], [0.0]), True: ([0.5], [0.5])},
        same=lambda c: (decays(c, "rpn.conv.weight"), decays(c, "backbone.bn1.weight")),
        common=([0.5], [0.5]),
    ),
}
