"""The defaults of training are the release's numbers on COCO; what it has not is off."""

import re
from dataclasses import FrozenInstanceError, fields

import pytest

from fcis.core.errors import InputError
from fcis.recipe import types as recipe
from fcis.recipe.as_json import with_setting
from fcis.recipe.bounds import check_record
from fcis.recipe.named import named_recipe
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


# What cannot be meant, said without the annotations: a bound that is gone or too wide fails here.
IMPOSSIBLE = {
    "steps": ("0", "0"),
    "batch": ("-1", "-1"),
    "accumulate": ("0", "0"),
    "ema": ("1", "1.0"),
    "patience": ("-1", "-1"),
    "pictures": ("-1", "-1"),
    "seed": ("-1", "-1"),
    "validate_every": ("-1", "-1"),
    "checkpoint_every": ("0", "0"),
    "workers": ("-1", "-1"),
    "devices": ("0", "0"),
    "num_nodes": ("0", "0"),
    "repeat_threshold": ("1.5", "1.5"),
    "repeat_crops": ("1.5", "1.5"),
    "optimiser.lr": ("0", "0.0"),
    "optimiser.lr_images": ("-1", "-1"),
    "optimiser.momentum": ("1", "1.0"),
    "optimiser.weight_decay": ("-1", "-1.0"),
    "optimiser.reduction_lr": ("0", "0.0"),
    "optimiser.milestones": ("[9, 3]", "(9, 3)"),
    "optimiser.warmup_steps": ("-1", "-1"),
    "optimiser.clip_norm": ("-1", "-1.0"),
    "targets.anchors": ("1", "1"),
    "targets.anchor_positive": ("1.5", "1.5"),
    "targets.anchor_negative": ("0.8", "0.8"),
    "targets.rois": ("0", "0"),
    "targets.roi_positive": ("0", "0.0"),
    "targets.positive_fraction": ("2", "2.0"),
    "augmentation.flip": ("1.5", "1.5"),
    "augmentation.flip_vertical": ("-0.1", "-0.1"),
    "augmentation.transpose": ("2", "2.0"),
    "augmentation.brightness": ("-1", "-1.0"),
    "augmentation.contrast": ("-1", "-1.0"),
    "augmentation.gamma": ("-1", "-1.0"),
    "augmentation.scale": ("[0, 1]", "0.0"),
    "augmentation.crop": ("-1", "-1"),
    "augmentation.crop_above": ("-1", "-1"),
    "augmentation.sides": ("[600, 0]", "0"),
    "augmentation.paste": ("1.1", "1.1"),
    "augmentation.saturation": ("-1", "-1.0"),
    "augmentation.hue": ("0.6", "0.6"),
    "augmentation.channel_gain": ("-1", "-1.0"),
    "augmentation.blur": ("-1", "-1.0"),
    "augmentation.noise": ("-1", "-1.0"),
    "augmentation.elastic": ("-1", "-1.0"),
    "augmentation.elastic_smoothness": ("0", "0.0"),
}


@pytest.mark.parametrize("field", IMPOSSIBLE)
def test_impossible_values_are_named(field):
    text, value = IMPOSSIBLE[field]
    pattern = rf"training\.{re.escape(field)}(\[\d\])?: is {re.escape(value)}, expected [^\n]+"
    with pytest.raises(InputError) as error:
        check_record(with_setting(named_recipe("tiny"), f"training.{field}", text), "")
    assert re.fullmatch(rf"(--set )?{pattern}", str(error.value)), str(error.value)
