"""The defaults of training are the release's numbers on COCO; what it has not is off."""

from dataclasses import FrozenInstanceError, fields

import pytest

from fcis.recipe import types as recipe
from fcis.recipe.training import (
    Augmentation,
    LossRecipe,
    OptimiserRecipe,
    TargetRecipe,
    TrainingRecipe,
)


def test_defaults_are_the_release_s():
    training = TrainingRecipe()
    assert (training.steps, training.batch) == (236_000, 8)
    assert training.optimiser == OptimiserRecipe(
        kind="sgd",
        lr=0.004,
        momentum=0.9,
        weight_decay=0.0005,
        reduction_lr=3.0,
        schedule="step",
        milestones=(157_000,),
        warmup="constant",
        warmup_steps=250,
        clip_norm=0.0,
        decay_biases=False,
    )
    assert training.targets == TargetRecipe(
        anchors=256,
        anchor_positive=0.7,
        anchor_negative=0.3,
        rois=128,
        roi_positive=0.5,
        ohem=True,
        negative_low=0.0,
        fill_negatives=True,
        positive_at_equal=True,
        truth_as_rois=True,
    )
    assert training.losses == LossRecipe(
        mask_loss_weight=10.0, mask_loss_norm="rois", loss_rois="planned", rpn_box_norm="planned"
    )


def test_images_are_flipped_and_nothing_else():
    change = Augmentation()
    assert change.flip == 0.5 and change.scale == (1.0, 1.0) and change.sides == ()
    shape = {"flip", "scale", "sides", "scale_draw", "elastic_smoothness"}
    off = {field.name for field in fields(Augmentation)} - shape
    assert not any(getattr(change, name) for name in off)


def test_what_the_paper_has_not_is_off():
    training = TrainingRecipe()
    for name in ("repeat_threshold", "repeat_crops", "ema", "patience", "validation_loss"):
        assert not getattr(training, name), name


def test_the_recipe_has_the_same_records():
    for one in (Augmentation, LossRecipe, OptimiserRecipe, TargetRecipe, TrainingRecipe):
        assert getattr(recipe, one.__name__) is one
    with pytest.raises(FrozenInstanceError):
        TrainingRecipe().steps = 1
