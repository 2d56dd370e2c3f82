"""The defaults are the release's numbers, and the paper's record differs where its text does."""

from dataclasses import FrozenInstanceError, fields

import pytest

from fcis.recipe import (
    PAPER,
    RELEASE,
    Conventions,
    DetectionRecipe,
    HeadRecipe,
    ModelRecipe,
    Preprocessing,
    RPNRecipe,
)


def test_paper_differs_from_the_release_in_these_alone():
    changed = {
        f.name: getattr(PAPER, f.name)
        for f in fields(Conventions)
        if getattr(PAPER, f.name) != getattr(RELEASE, f.name)
    }
    # rows of the reference's section 11
    assert changed == {
        "sampling": "native",  # 1
        "box_slots": 1,  # 2
        "mask_loss_weight": 1.0,  # 3
        "mask_category": "voted",  # 4
        "assignment": "best-category",  # 5
        "vote": "probability",  # 6
        "store_grid": False,  # 6
        "merge_at_equal": False,  # 7
        "fill_negatives": False,  # 8
        "positive_at_equal": False,  # 9
        "truth_as_rois": False,  # 10
        "mask_loss_norm": "positives",  # 22
    }
    # row 8: all other RoIs are negatives, as in the release's COCO configuration
    assert PAPER.negative_low == RELEASE.negative_low == 0


def test_defaults_are_the_release_s():
    model = ModelRecipe()
    assert model.conventions is RELEASE
    assert model.rpn == RPNRecipe(
        channels=512,
        anchor_sizes=(64.0, 128.0, 256.0, 512.0),
        anchor_ratios=(0.5, 1.0, 2.0),
        pre_nms=6000,
        post_nms=300,
        nms=0.7,
        min_size=2.0,
    )
    stds = (0.2, 0.2, 0.5, 0.5)
    assert model.head == HeadRecipe(reduction=1024, k=7, out_size=21, box_stds=stds)
    assert model.detection == DetectionRecipe(
        passes=2,
        nms=0.3,
        merge_iou=0.5,
        mask_threshold=0.4,
        max_detections=100,
        min_score=0.001,
        drop_size=2.0,
    )
    assert model.preprocessing == Preprocessing(
        short_side=600, long_side=1000, mean=(123.15, 115.90, 103.06), std=(1.0, 1.0, 1.0)
    )
    assert RELEASE.mask_loss_weight == 10


def test_recipes_do_not_change():
    with pytest.raises(FrozenInstanceError):
        RELEASE.vote = "probability"
    with pytest.raises(TypeError):
        Conventions("pool")
