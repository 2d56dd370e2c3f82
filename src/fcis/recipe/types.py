"""The frozen types of a recipe. Values live in `named.py`, defaults and bounds here.

A recipe is data: it travels as JSON inside every weights file and run folder (`as_json.py`). What
a field may be stands in its annotation (`bounds.py`). The defaults are the numbers of the 2017
release for COCO. Where the release, ChainerCV and the paper differ is said by fields of each
stage's record; their rows in the reference's section 11 stand in brackets, and `conventions.py`
has the three sets of their values. What belongs to training alone is in `training.py`, and can be
imported from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from fcis.core.image_reading import ImageReading
from fcis.recipe.bounds import (
    Between,
    Channels,
    Length,
    Percentiles,
    Positive,
    PositiveShare,
    Rising,
    Rule,
    Share,
    Side,
)
from fcis.recipe.training import Augmentation as Augmentation
from fcis.recipe.training import LossRecipe as LossRecipe
from fcis.recipe.training import OptimiserRecipe as OptimiserRecipe
from fcis.recipe.training import TargetRecipe as TargetRecipe
from fcis.recipe.training import TrainingRecipe

_Depth = Annotated[int, Between(1, 256)]
_Anchors = Length(1, 100)
_Factor = Annotated[float, Between(0, 32, "low")]
_Stds = tuple[Positive, Positive, Positive, Positive]

System = Literal["fcis", "fcis-separate", "naive-mnc", "mnc", "instfcn-rfcn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneRecipe:
    """What is computed on whole images: a ResNet whose conv5 keeps conv4's stride (Paper: 2.3).

    Attributes:
        network: name of a backbone in `model/backbones.py`, of which the others are fields.
        depths: blocks of conv2_x .. conv5_x.
        widths: of conv2_x .. conv5_x; bottleneck blocks have four times as many outputs.
        variant: `v1` has the stride in the first 1x1 and an unpadded ceil-mode max-pool.
        stride: pixels per cell of conv4 and conv5.
        norm: `frozen` statistics (pretrained), `batch` or `group` (from scratch).
        train_affine: with frozen statistics, are scale and shift of unfrozen stages trained.
        frozen_stages: 1 freezes conv1, 2 also conv2_x, and so on.
        pretrained: timm name of ImageNet weights to begin training with, or empty.
        fusion: the layer that is added to conv5, on whose grid the score maps then are: of conv3
            (stride 8) or conv2 (stride 4). The paper has none.
        stem_eps: what conv1's normalisation adds to the variance.
    """

    network: str = "resnet"
    depths: tuple[_Depth, _Depth, _Depth, _Depth] = (3, 4, 23, 3)
    widths: tuple[Channels, Channels, Channels, Channels] = (64, 128, 256, 512)
    block: Literal["basic", "bottleneck"] = "bottleneck"
    variant: Literal["v1", "modern"] = "v1"
    stem_width: Channels = 64
    stride: Literal[8, 16] = 16
    norm: Literal["frozen", "batch", "group"] = "frozen"
    train_affine: bool = True
    frozen_stages: Annotated[int, Between(0, 5)] = 2
    in_channels: Annotated[int, Between(1, 1024)] = 3
    pretrained: str = ""
    fusion: Literal["none", "c2", "c3"] = "none"
    stem_eps: Annotated[float, Between(0, 1)] = 1e-5

    @property
    def map_stride(self) -> int:
        """Return pixels per cell of the maps that RoIs read."""
        return {"none": self.stride, "c3": 8, "c2": 4}[self.fusion]


@dataclass(frozen=True, slots=True, kw_only=True)
class RPNRecipe:
    """Region proposals (Paper: 2.3; reference: 3).

    Attributes:
        anchor_sizes: square roots of the anchors' areas, px of the resized image.
        anchor_ratios: height over width.
        pre_nms, post_nms: proposals kept by score before and after suppression.
        nms_area: px of the resized image that `pre_nms` and `post_nms` are for; an image of more
            keeps more, in proportion. 0: as many whatever the size, as in the paper.
        nms: IoU above which the lower proposal goes.
        min_size: px under which a proposal is dropped, of the resized image or of the original.
        anchor_rounding: the release rounds the sides of the base anchors.
        proposal_grid: the release ignores the last, partly covered row and column.
        proposal_rank: proposals are ranked by their object probability, or by the object's logit
            alone, as ChainerCV does.
        pad_proposals: fill up to `post_nms` by repeating survivors.
        min_size_in_original: [15] `min_size` counts in px of the original image; RoIs are dropped
            by their size in the resized image all the same, as in ChainerCV.
        nms_at_equal: suppress at IoU equal to the threshold too.
        box_clip: a box outside the image keeps the last pixel nearest to it, as in the release,
            or is cut at the image's edge, and nothing may be left of it.
    """

    channels: Channels = 512
    anchor_sizes: Annotated[tuple[Positive, ...], _Anchors] = (64.0, 128.0, 256.0, 512.0)
    anchor_ratios: Annotated[tuple[Positive, ...], _Anchors] = (0.5, 1.0, 2.0)
    pre_nms: Annotated[int, Between(1, 10**7)] = 6000
    post_nms: Annotated[int, Between(1, 10**6)] = 300
    nms_area: Annotated[float, Between(0, 1e12)] = 0.0
    nms: PositiveShare = 0.7
    min_size: Annotated[float, Between(0, 1e6)] = 2.0
    anchor_rounding: bool = True
    proposal_grid: Literal["whole-cells", "full"] = "whole-cells"
    proposal_rank: Literal["probability", "logit"] = "probability"
    pad_proposals: bool = True
    min_size_in_original: bool = False
    nms_at_equal: bool = False
    box_clip: Literal["last-pixel", "edge"] = "last-pixel"

    def rules(self) -> Iterator[Rule]:
        """Yield the rules between fields."""
        yield "post_nms", self.post_nms <= self.pre_nms, "at most pre_nms"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRecipe:
    """Score maps and their assembly (Paper: 2.1 to 2.3).

    Attributes:
        reduction: channels of the 1x1 convolution on conv5.
        k: a RoI has k x k parts.
        out_size: samples a side of an assembled RoI in the `pool` and `align` modes.
        box_stds: what the network's box deltas are multiplied by.
        init: weights before training: `small`, the release's, a deviation of 0.01 everywhere; or
            `he`, with which activations of the reduction are as large as those of conv5, and
            scores about a half. The first suits pretrained features; from scratch, scores that
            begin near zero hold up what is below them for hundreds of steps.
        sampling: [1] how a RoI reads the maps: the release's bins, bilinear samples, map cells.
        round_rois: the release rounds RoIs to pixels before binning (`pool` only).
        box_slots: [2] sets of k*k*4 box maps; the release has an unused one for background.
    """

    reduction: Channels = 1024
    k: Annotated[int, Between(1, 64)] = 7
    out_size: Side = 21
    box_stds: _Stds = (0.2, 0.2, 0.5, 0.5)
    init: Literal["small", "he"] = "small"
    sampling: Literal["pool", "align", "native"] = "pool"
    round_rois: bool = True
    box_slots: Literal[1, 2] = 2

    def rules(self) -> Iterator[Rule]:
        """Yield the rules between fields."""
        yield "out_size", self.out_size >= self.k, "at least k"


@dataclass(frozen=True, slots=True, kw_only=True)
class NaiveMNCRecipe:
    """What naive MNC has instead of score maps (Paper: 4.1; reference: 10.1).

    Attributes:
        pooled_size: samples a side of the features pooled from a RoI.
        mask_grid: samples a side of its mask; the layer for it has their square outputs.
    """

    pooled_size: Side = 14
    mask_grid: Side = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class MNCRecipe:
    """What each RoI goes through in MNC (Paper: 1, 4.2; reference: 10.2).

    Attributes:
        feature_grid: features a side of a RoI, warped from twice as many samples a side.
        mask_grid: samples a side of its mask; the layer for it has their square outputs.
        mask_hidden: outputs of the layer before that one.
        delta_bound: bound of the gradient of one image's losses that reaches each number of a
            box's delta through the box, in the RPN and between two passes; with 0 losses move no
            boxes. A loss changes with a box's edge by so much a pixel; times the box's size, that
            would be many times what the box regression itself asks for. Default: the release's.
    """

    feature_grid: Side = 14
    mask_grid: Side = 28
    mask_hidden: Channels = 256
    delta_bound: Annotated[float, Between(0, 1e6)] = 1 / 512


@dataclass(frozen=True, slots=True, kw_only=True)
class InstFCNRecipe:
    """The network of mask proposals of InstFCN + R-FCN (Paper: 2.1, 4.1; reference: 10.3).

    Attributes:
        window_cells: cells a side of the square window; 14 of them at stride 16 are 224 px.
        window_parts: a window has so many x so many position-sensitive parts.
        window_channels: of the hidden layer of each branch.
        pyramid: factors by which the resized image is resized again at test, rising.
        window_fill: longer side of an object's box over the side of the window that suits it.
        window_positive: IoU with the window that suits an object from which one is positive.
        window_negative: IoU below which a window is negative.
        windows: an image in the losses, at most half of them positive.
        candidates: windows an image, best first, whose masks are compared with each other.
        proposal_nms: IoU of mask boxes above which the lower proposal goes; `rpn.post_nms` of
            those that remain are classified.
    """

    window_cells: Side = 14
    window_parts: Annotated[int, Between(1, 64)] = 7
    window_channels: Channels = 512
    pyramid: Annotated[tuple[_Factor, ...], Length(1, 100), Rising()] = (
        0.1975, 0.2963, 0.4444, 0.6667, 1.0, 1.5,
    )  # fmt: skip
    window_fill: PositiveShare = 0.8
    window_positive: PositiveShare = 0.5
    window_negative: Share = 0.4
    windows: Annotated[int, Between(2, 10**6)] = 256
    candidates: Annotated[int, Between(1, 10**6)] = 1000
    proposal_nms: PositiveShare = 0.8

    def rules(self) -> Iterator[Rule]:
        """Yield the rules between fields."""
        yield "window_cells", self.window_cells >= self.window_parts, "at least window_parts"
        good = self.window_negative <= self.window_positive
        yield "window_negative", good, "at most window_positive"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRecipe:
    """From RoIs to instances (Paper: 2.3, Inference; reference: 5).

    Attributes:
        passes: 2 scores the refined boxes too (300 + 300 RoIs), 1 the proposals alone.
        nms: IoU above which the lower box of a category goes.
        merge_iou: IoU from which a RoI takes part in the vote on another's mask.
        mask_threshold: foreground from here on.
        max_detections: instances an image.
        min_score: nothing below is output.
        drop_size: px of the resized image under which a RoI is dropped.
        mask_score: scores are multiplied by the mean inside probability of the voted mask's pixels.
        mask_suppression: `soft` lowers scores by the overlap of voted masks with those of better
            detections, as `model/soft_suppression.py` says; twice `max_detections` are voted on
            then.
        nms_at_equal: suppress at IoU equal to the threshold too.
        box_clip: of refined boxes, as of the RPN's.
        box_end: the release maps the last covered pixel back to the original image, not the edge.
        box_rounding: whole pixels of a box: first and last covered pixel are rounded, as in the
            release, or both edges, and nothing may be left, as in ChainerCV.
        mask_category: whose mask a RoI has: its best category, background excluded or not, or
            [4] the category under vote.
        assignment: [5] a RoI may be detected as several categories, or as its best one alone.
        vote: [6] binary masks are averaged, or probabilities.
        store_grid: [6] the voted mask is stored with out_size x out_size samples and enlarged
            again.
        merge_at_equal: [7] merge at IoU equal to the threshold too.
        foreground_at_equal: [18] a pixel at the mask threshold is foreground.
        stored_at_equal: [18] the same for a stored mask that was enlarged again, which with
            ChainerCV must be above the threshold; nothing if `foreground_at_equal` is off.
    """

    passes: Literal[1, 2] = 2
    nms: PositiveShare = 0.3
    merge_iou: PositiveShare = 0.5
    mask_threshold: Annotated[float, Between(0, 1, "both")] = 0.4
    max_detections: Annotated[int, Between(1, 10**6)] = 100
    min_score: Annotated[float, Between(0, 1, "high")] = 0.001
    drop_size: Annotated[float, Between(0, 1e6)] = 2.0
    mask_score: bool = False
    mask_suppression: Literal["none", "soft"] = "none"
    nms_at_equal: bool = False
    box_clip: Literal["last-pixel", "edge"] = "last-pixel"
    box_end: Literal["last-pixel", "edge"] = "last-pixel"
    box_rounding: Literal["last-pixel", "edge"] = "last-pixel"
    mask_category: Literal["best-foreground", "best-any", "voted"] = "best-foreground"
    assignment: Literal["each-category", "best-category"] = "each-category"
    vote: Literal["binary", "probability"] = "binary"
    store_grid: bool = True
    merge_at_equal: bool = True
    foreground_at_equal: bool = True
    stored_at_equal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From an RGB image of 8-bit levels to network input.

    Attributes:
        short_side: shorter side after resizing, px; 0 to use `zoom`.
        long_side: bound on the longer side, px; 0 for none.
        zoom: fixed factor, if `short_side` is 0.
        mean, std: input = (level - mean) / std, per channel.
        stretch: percentiles of each image that become level 0 and 255; (0, 100) leaves it alone.
        high_depth: percentiles between which 16-bit and float images become 8-bit levels.
        resize: the release resizes 8-bit images and rounds to whole levels.
        size_rounding: how the resized side lengths become whole.
    """

    short_side: Annotated[int, Between(0, 2**14)] = 600
    long_side: Annotated[int, Between(0, 2**16)] = 1000
    zoom: _Factor = 1.0
    mean: Annotated[tuple[Annotated[float, Between(-1e6, 1e6)], ...], Length(1, 1024)] = (
        123.15, 115.90, 103.06,
    )  # fmt: skip
    std: Annotated[tuple[Positive, ...], Length(1, 1024)] = (1.0, 1.0, 1.0)
    stretch: Percentiles = (0.0, 100.0)
    high_depth: Percentiles = (0.1, 99.9)
    resize: Literal["levels", "float"] = "levels"
    size_rounding: Literal["nearest", "down"] = "nearest"

    def with_short_side(self, side: int) -> "Preprocessing":
        """Return a resizing to another shorter side, the bound on the longer in proportion."""
        bound = round(self.long_side * side / self.short_side) if self.short_side else 0
        return replace(self, short_side=side, long_side=bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecipe:
    """All that is needed to build the network and to run it.

    Attributes:
        system: FCIS or a method that it is compared with; what only one of them reads has a
            record of its own. FCIS that does not depend on the place in a RoI is `head.k` = 1.
        class_names: categories 1..C, background aside.
        category_ids: the dataset's ids of these categories.
    """

    system: System = "fcis"
    class_names: Annotated[tuple[str, ...], Length(0, 10**5)] = ()
    category_ids: tuple[int, ...] = ()
    backbone: BackboneRecipe = field(default_factory=BackboneRecipe)
    rpn: RPNRecipe = field(default_factory=RPNRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)
    naive_mnc: NaiveMNCRecipe = field(default_factory=NaiveMNCRecipe)
    mnc: MNCRecipe = field(default_factory=MNCRecipe)
    instfcn: InstFCNRecipe = field(default_factory=InstFCNRecipe)
    detection: DetectionRecipe = field(default_factory=DetectionRecipe)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    @property
    def image_reading(self) -> ImageReading:
        """Return how the images of this network are read."""
        return ImageReading(
            percentiles=self.preprocessing.high_depth, channels=self.backbone.in_channels
        )

    def rules(self) -> Iterator[Rule]:
        """Yield the rules between records."""
        system, prep, is_fcis = self.system, self.preprocessing, self.system == "fcis"
        good = len(self.category_ids) == len(self.class_names)
        yield "category_ids", good, "one id a category"
        # without categories it is for no dataset yet: `for_dataset` adapts the means to channels
        good = not self.class_names or len(prep.mean) == len(prep.std) == self.backbone.in_channels
        yield "preprocessing.mean", good, "one value a channel (backbone.in_channels), like std"
        good = system not in ("naive-mnc", "mnc") or self.head.sampling != "native"
        about = f"pool or align: {system} has features and masks of one size"
        yield "head.sampling", good, about
        good = system != "instfcn-rfcn" or self.detection.passes == 1
        about = "1: boxes refined from those of instfcn-rfcn's masks have no mask"
        yield "detection.passes", good, about
        good = self.backbone.fusion == "none" or is_fcis
        yield "backbone.fusion", good, f"none: {system} has no score maps on a finer grid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A model and how to train it."""

    name: str
    description: str = ""
    model: ModelRecipe = field(default_factory=ModelRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)

    def rules(self) -> Iterator[Rule]:
        """Yield the rules between the network and its training."""
        change, channels = self.training.augmentation, self.model.backbone.in_channels
        good = not change.sides or self.model.preprocessing.short_side > 0
        about = (
            "none: the model resizes by a fixed zoom (model.preprocessing.short_side is 0); take "
            "training.augmentation.scale"
        )
        yield "training.augmentation.sides", good, about
        for name in ("saturation", "hue"):
            good = channels == 3 or not getattr(change, name)
            about = f"0: it is for colours, and model.backbone.in_channels is {channels}"
            yield f"training.augmentation.{name}", good, about
