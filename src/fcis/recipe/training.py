"""The part of a recipe that says how a network is trained. Defaults: the release on COCO."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from fcis.recipe.bounds import (
    Between,
    Count,
    CountOrNone,
    Length,
    Positive,
    PositiveShare,
    Rising,
    Rule,
    Share,
    Strength,
)

_Milestones = Annotated[tuple[CountOrNone, ...], Length(0, 1000), Rising()]
_Factor = Annotated[float, Between(0, 1000, "low")]
_Pixels = Annotated[int, Between(0, 10**6)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserRecipe:
    """Optimiser and learning-rate schedule (Paper: 2.3, Training; reference: 6.6).

    Attributes:
        lr: base rate; gradients are averaged over all images of a step.
        lr_images: images a step that `lr` is meant for; another number of them, by batch,
            accumulation or devices, changes it in proportion. 0 takes it as it is.
        reduction_lr: multiplier for the 1x1 reduction on conv5.
        fc_lr: multiplier for fully connected layers, which MNC and naive MNC have.
        milestones: steps after which `step` multiplies the rate by 0.1.
        warmup: `constant` holds a tenth of the rate for `warmup_steps`, `linear` rises to it.
        clip_norm: bound on the gradient's norm, 0 for none.
        decay_biases: weight decay holds for biases and shifts too, as in ChainerCV.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.004
    lr_images: CountOrNone = 0
    momentum: Annotated[float, Between(0, 1, "high")] = 0.9
    weight_decay: Strength = 0.0005
    reduction_lr: Positive = 3.0
    fc_lr: Positive = 1.0
    schedule: Literal["step", "cosine"] = "step"
    milestones: _Milestones = (157_000,)
    warmup: Literal["none", "constant", "linear"] = "constant"
    warmup_steps: CountOrNone = 250
    clip_norm: Strength = 0.0
    decay_biases: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecipe:
    """What the losses look at (Paper: 2.3, Training; reference: 3.4, 6.2, 6.5).

    Attributes:
        anchors: anchors an image in the RPN's losses, at most half of them positive.
        anchor_positive, anchor_negative: IoU bounds.
        anchor_border: px by which an anchor may leave the image and still be looked at.
        rois: RoIs an image in the losses of the head.
        roi_positive: IoU with the ground truth from which a RoI is positive.
        positive_fraction: share of positive RoIs at most, when sampled at random.
        ohem: all RoIs are tried and the `rois` with the highest loss count.
        ignore_crowds: RoIs and anchors inside crowd regions are not negatives.
        negative_low: [8] RoIs with less IoU than this are not negatives.
        fill_negatives: [8] too few negatives are filled up from all RoIs but the positives.
        positive_at_equal: [9] a RoI at the IoU threshold is positive.
        truth_as_rois: [10] ground-truth boxes join the RoIs of a training image.
    """

    anchors: Annotated[int, Between(2, 10**6)] = 256
    anchor_positive: PositiveShare = 0.7
    anchor_negative: Share = 0.3
    anchor_border: Annotated[float, Between(-1e6, 1e6)] = 0.0
    rois: Annotated[int, Between(1, 10**6)] = 128
    roi_positive: PositiveShare = 0.5
    positive_fraction: Share = 0.25
    ohem: bool = True
    ignore_crowds: bool = False
    negative_low: Share = 0.0
    fill_negatives: bool = True
    positive_at_equal: bool = True
    truth_as_rois: bool = True

    def rules(self) -> Iterator[Rule]:
        """Yield the rules between fields."""
        good = self.anchor_negative <= self.anchor_positive
        yield "anchor_negative", good, "at most anchor_positive"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRecipe:
    """How the terms of the losses are weighted (Paper: 2.3, Training; reference: 3.5, 6.4, 11).

    Attributes:
        mask_loss_weight: [3] of the mask term; the paper's weights are equal.
        mask_loss_norm: [22] the sum of the RoIs' mask terms, each the mean over its samples, is
            divided by a number of RoIs or by that of positives.
        loss_rois: [22] that number, for boxes too: of the RoIs there should be or that there are.
        rpn_box_norm: the RPN's box term is divided by the number of anchors there should be, or
            by that of labelled ones.
    """

    mask_loss_weight: Strength = 10.0
    mask_loss_norm: Literal["rois", "positives"] = "rois"
    loss_rois: Literal["planned", "actual"] = "planned"
    rpn_box_norm: Literal["planned", "labelled"] = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Changes to training images; sample s of a run depends on (seed, epoch, position) alone.

    Attributes:
        flip, flip_vertical, transpose: probabilities.
        sides: shorter sides of which a random one takes the place of the test's `short_side`,
            its bound on the longer side changed in proportion; none for the test's own. The
            paper's are 480, 576, 688, 864, 1200 and 1400.
        scale: factors between which a random one multiplies the scale that this gives.
        scale_draw: factors are as frequent per octave (`log`), or per unit (`uniform`, the usual
            one of large-scale jitter, 0.1 to 2).
        crop: side of the square the network sees, px after resizing; 0 for whole images.
        crop_above: px of the resized shorter side up to which images stay whole; 0 crops all.
        paste: probability that objects of another training image are laid over this one.
        brightness, contrast, gamma: strength of random intensity changes, 0 for none.
        saturation: strength of random changes of the distance from grey.
        hue: the most by which colours turn, as a share of the circle.
        channel_gain: strength of a random factor for each colour channel by itself.
        blur: largest standard deviation of a Gaussian blur, px after resizing.
        noise: largest standard deviation of Gaussian noise, as a share of 255 levels; all
            channels get the same, so that grey stays grey.
        elastic: largest strength of a smooth deformation: root mean square of the shifts of pixels
            along an axis, px after resizing.
        elastic_smoothness: px over which these shifts change.
    """

    flip: Share = 0.5
    flip_vertical: Share = 0.0
    transpose: Share = 0.0
    sides: Annotated[tuple[Annotated[int, Between(1, 10**6)], ...], Length(0, 1000)] = ()
    scale: Annotated[tuple[_Factor, _Factor], Rising()] = (1.0, 1.0)
    scale_draw: Literal["log", "uniform"] = "log"
    crop: _Pixels = 0
    crop_above: _Pixels = 0
    paste: Share = 0.0
    brightness: Strength = 0.0
    contrast: Strength = 0.0
    gamma: Strength = 0.0
    saturation: Strength = 0.0
    hue: Annotated[float, Between(0, 0.5)] = 0.0
    channel_gain: Strength = 0.0
    blur: Strength = 0.0
    noise: Strength = 0.0
    elastic: Strength = 0.0
    elastic_smoothness: Positive = 16.0

    def rules(self) -> Iterator[Rule]:
        """Yield the rules between fields."""
        good = self.elastic_smoothness > self.elastic
        about = "above elastic: content would be turned inside out"
        yield "elastic_smoothness", good, about
        yield "crop_above", not self.crop_above or self.crop > 0, "0 where crop is 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """A training run.

    Attributes:
        steps: optimiser steps.
        batch: images a step and device; 0 takes as many as fit into the memory of a CUDA device,
            4 elsewhere.
        accumulate: batches whose gradients are averaged before a step.
        validate_every: steps between validations; 0 validates at the end alone.
        checkpoint_every: steps between checkpoints.
        workers: processes that read images; 0 reads in the training process.
        devices: of a node, each with a process and `batch` images of its own.
        num_nodes: machines.
        precision: of the network in training; with `bfloat16` the weights stay float32.
        repeat_threshold: categories in a smaller share of the images than this have their images
            repeated within an epoch, sqrt(threshold / share) times; 0 repeats none.
        repeat_crops: images are repeated within an epoch, as often as crops fit into them to this
            power: 1 shows all places equally often, 0 all images.
        ema: decay a step of a running average of the weights, which is then validated and kept in
            their place; 0 for none.
        metric: figure on the validation set that tells which weights are the best.
        patience: validations without a better figure after which a run ends; 0 for none.
        validation_loss: compute the losses on the validation set too.
        pictures: validation images that are drawn at each validation.
    """

    steps: Count = 236_000
    batch: Annotated[int, Between(0, 10**6)] = 8
    accumulate: Annotated[int, Between(1, 10**6)] = 1
    seed: CountOrNone = 0
    validate_every: CountOrNone = 0
    checkpoint_every: Count = 500
    workers: Annotated[int, Between(0, 1024)] = 2
    devices: Annotated[int, Between(1, 1024)] = 1
    num_nodes: Annotated[int, Between(1, 10**5)] = 1
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    repeat_threshold: Share = 0.0
    repeat_crops: Share = 0.0
    ema: Annotated[float, Between(0, 1, "high")] = 0.0
    metric: Literal["AP", "AP50", "AP75", "box_AP", "dsb@0.50", "loss"] = "AP"
    patience: CountOrNone = 0
    validation_loss: bool = False
    pictures: Annotated[int, Between(0, 1000)] = 4
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    targets: TargetRecipe = field(default_factory=TargetRecipe)
    losses: LossRecipe = field(default_factory=LossRecipe)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def rules(self) -> Iterator[Rule]:
        """Yield the rules between fields."""
        good = self.batch > 0 or self.devices * self.num_nodes == 1
        about = "at least 1 on several devices; batch=0 on one of them tells what fits"
        yield "batch", good, about
        good = self.augmentation.crop > 0 or not self.repeat_crops
        yield "repeat_crops", good, "0 where augmentation.crop is 0"
        good = not self.patience or self.validate_every > 0
        yield "patience", good, "0 where validate_every is 0"
