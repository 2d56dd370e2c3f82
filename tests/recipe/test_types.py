"""The defaults are the release's numbers."""

from dataclasses import FrozenInstanceError, replace

import pytest

from fcis.core.image_reading import RGB, ImageReading
from fcis.recipe.conventions import RELEASE
from fcis.recipe.types import DetectionRecipe, HeadRecipe, ModelRecipe, Preprocessing, RPNRecipe


def test_defaults_are_the_release_s():
    model = ModelRecipe()
    assert model.rpn == RPNRecipe(
        channels=512,
        anchor_sizes=(64.0, 128.0, 256.0, 512.0),
        anchor_ratios=(0.5, 1.0, 2.0),
        pre_nms=6000,
        post_nms=300,
        nms_area=0.0,
        nms=0.7,
        min_size=2.0,
        anchor_rounding=True,
        proposal_grid="whole-cells",
        proposal_rank="probability",
        pad_proposals=True,
        min_size_in_original=False,
        nms_at_equal=False,
        box_clip="last-pixel",
    )
    assert model.backbone.stem_eps == 1e-5
    stds = (0.2, 0.2, 0.5, 0.5)
    assert model.head == HeadRecipe(
        reduction=1024,
        k=7,
        out_size=21,
        box_stds=stds,
        sampling="pool",
        round_rois=True,
        box_slots=2,
    )
    assert model.detection == DetectionRecipe(
        passes=2,
        nms=0.3,
        merge_iou=0.5,
        mask_threshold=0.4,
        max_detections=100,
        min_score=0.001,
        drop_size=2.0,
        nms_at_equal=False,
        box_clip="last-pixel",
        box_end="last-pixel",
        box_rounding="last-pixel",
        mask_category="best-foreground",
        assignment="each-category",
        vote="binary",
        store_grid=True,
        merge_at_equal=True,
        foreground_at_equal=True,
        stored_at_equal=True,
    )
    assert model.preprocessing == Preprocessing(
        short_side=600,
        long_side=1000,
        mean=(123.15, 115.90, 103.06),
        std=(1.0, 1.0, 1.0),
        resize="levels",
        size_rounding="nearest",
    )
    assert RELEASE["mask_loss_weight"] == 10


def test_recipes_do_not_change():
    with pytest.raises(FrozenInstanceError):
        DetectionRecipe().vote = "probability"
    with pytest.raises(TypeError):
        HeadRecipe("pool")


def test_a_model_says_how_images_are_read():
    model = ModelRecipe()
    assert model.image_reading == RGB
    model = replace(
        model,
        backbone=replace(model.backbone, in_channels=5),
        preprocessing=replace(model.preprocessing, high_depth=(1.0, 99.0)),
    )
    assert model.image_reading == ImageReading(percentiles=(1.0, 99.0), channels=5)
