"""The part of a recipe that says how a network is trained. Defaults: the release on COCO."""

from dataclasses import dataclass, field
from typing import Literal


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
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.004
    lr_images: int = 0
    momentum: float = 0.9
    weight_decay: float = 0.0005
    reduction_lr: float = 3.0
    fc_lr: float = 1.0
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[int, ...] = (157_000,)
    warmup: Literal["none", "constant", "linear"] = "constant"
    warmup_steps: int = 250
    clip_norm: float = 0.0


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
    """

    anchors: int = 256
    anchor_positive: float = 0.7
    anchor_negative: float = 0.3
    anchor_border: float = 0.0
    rois: int = 128
    roi_positive: float = 0.5
    positive_fraction: float = 0.25
    ohem: bool = True
    ignore_crowds: bool = False


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

    flip: float = 0.5
    flip_vertical: float = 0.0
    transpose: float = 0.0
    sides: tuple[int, ...] = ()
    scale: tuple[float, float] = (1.0, 1.0)
    scale_draw: Literal["log", "uniform"] = "log"
    crop: int = 0
    crop_above: int = 0
    paste: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    channel_gain: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    elastic: float = 0.0
    elastic_smoothness: float = 16.0


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

    steps: int = 236_000
    batch: int = 8
    accumulate: int = 1
    seed: int = 0
    validate_every: int = 0
    checkpoint_every: int = 500
    workers: int = 2
    devices: int = 1
    num_nodes: int = 1
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    repeat_threshold: float = 0.0
    repeat_crops: float = 0.0
    ema: float = 0.0
    metric: Literal["AP", "AP50", "AP75", "box_AP", "dsb@0.50", "loss"] = "AP"
    patience: int = 0
    validation_loss: bool = False
    pictures: int = 4
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    targets: TargetRecipe = field(default_factory=TargetRecipe)
    augmentation: Augmentation = field(default_factory=Augmentation)
