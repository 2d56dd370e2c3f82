"""The frozen types of a recipe. Values live in `recipes.py`, defaults here and nowhere else.

A recipe is data: it travels as JSON inside every weights file and run folder. `to_json`,
`from_json` and `with_setting` are in `recipe_json.py`. The defaults of this file are the numbers
of the 2017 release for COCO; where paper and release differ is in `conventions.py`. What belongs to
training alone is in `training_recipe.py`, and can be imported from here.
"""

from dataclasses import dataclass, field
from typing import Literal

from fcis.recipe.conventions import CHAINERCV as CHAINERCV
from fcis.recipe.conventions import CONVENTIONS as CONVENTIONS
from fcis.recipe.conventions import PAPER as PAPER
from fcis.recipe.conventions import RELEASE, Conventions
from fcis.recipe.conventions import named_conventions as named_conventions
from fcis.recipe.training import Augmentation as Augmentation
from fcis.recipe.training import OptimiserRecipe as OptimiserRecipe
from fcis.recipe.training import TargetRecipe as TargetRecipe
from fcis.recipe.training import TrainingRecipe

System = Literal["fcis", "fcis-separate", "naive-mnc", "mnc", "instfcn-rfcn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneRecipe:
    """What is computed on whole images: a ResNet whose conv5 keeps conv4's stride (Paper: 2.3).

    Attributes:
        network: name of a backbone in `model/backbones.py`, of which the others are fields.
        depths: blocks of conv2_x .. conv5_x.
        widths: convolution widths of conv2_x .. conv5_x; bottleneck blocks put out four times it.
        variant: `v1` has the stride in the first 1x1 and an unpadded ceil-mode max-pool.
        stride: pixels per cell of conv4 and conv5.
        norm: `frozen` statistics (pretrained), `batch` or `group` (from scratch).
        train_affine: with frozen statistics, are scale and shift of unfrozen stages trained.
        frozen_stages: 1 freezes conv1, 2 also conv2_x, and so on.
        pretrained: timm name of ImageNet weights to begin training with, or empty.
        fusion: the layer that is added to conv5, on whose grid the score maps then are: of conv3
            (stride 8) or conv2 (stride 4). The paper has none.
    """

    network: str = "resnet"
    depths: tuple[int, int, int, int] = (3, 4, 23, 3)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    block: Literal["basic", "bottleneck"] = "bottleneck"
    variant: Literal["v1", "modern"] = "v1"
    stem_width: int = 64
    stride: Literal[8, 16] = 16
    norm: Literal["frozen", "batch", "group"] = "frozen"
    train_affine: bool = True
    frozen_stages: int = 2
    in_channels: int = 3
    pretrained: str = ""
    fusion: Literal["none", "c2", "c3"] = "none"

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
        min_size: px under which a proposal is dropped, of the resized image unless
            `Conventions.min_size_in_original` says otherwise.
    """

    channels: int = 512
    anchor_sizes: tuple[float, ...] = (64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    pre_nms: int = 6000
    post_nms: int = 300
    nms_area: float = 0.0
    nms: float = 0.7
    min_size: float = 2.0


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
    """

    reduction: int = 1024
    k: int = 7
    out_size: int = 21
    box_stds: tuple[float, float, float, float] = (0.2, 0.2, 0.5, 0.5)
    init: Literal["small", "he"] = "small"


@dataclass(frozen=True, slots=True, kw_only=True)
class NaiveMNCRecipe:
    """What naive MNC has instead of score maps (Paper: 4.1; reference: 10.1).

    Attributes:
        pooled_size: samples a side of the features pooled from a RoI.
        mask_grid: samples a side of its mask; the layer for it has their square outputs.
    """

    pooled_size: int = 14
    mask_grid: int = 28


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

    feature_grid: int = 14
    mask_grid: int = 28
    mask_hidden: int = 256
    delta_bound: float = 1 / 512


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

    window_cells: int = 14
    window_parts: int = 7
    window_channels: int = 512
    pyramid: tuple[float, ...] = (0.1975, 0.2963, 0.4444, 0.6667, 1.0, 1.5)
    window_fill: float = 0.8
    window_positive: float = 0.5
    window_negative: float = 0.4
    windows: int = 256
    candidates: int = 1000
    proposal_nms: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRecipe:
    """From RoIs to instances (Paper: 2.3, Inference; reference: 5).

    Attributes:
        passes: 2 scores the refined boxes too (300 + 300 RoIs), 1 the proposals alone.
        nms: IoU above which the lower box of a category goes.
        merge_iou: IoU from which a RoI takes part in the vote on another's mask.
        mask_threshold: foreground from here on.
        max_detections: instances an image.
        min_score: nothing below is put out.
        drop_size: px of the resized image under which a RoI is dropped.
        mask_score: scores are multiplied by the mean inside probability of the voted mask's pixels.
        mask_suppression: `soft` lowers scores by the overlap of voted masks with those of better
            detections, as `model/suppression.py` says; twice `max_detections` are voted on then.
    """

    passes: Literal[1, 2] = 2
    nms: float = 0.3
    merge_iou: float = 0.5
    mask_threshold: float = 0.4
    max_detections: int = 100
    min_score: float = 0.001
    drop_size: float = 2.0
    mask_score: bool = False
    mask_suppression: Literal["none", "soft"] = "none"


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
    """

    short_side: int = 600
    long_side: int = 1000
    zoom: float = 1.0
    mean: tuple[float, ...] = (123.15, 115.90, 103.06)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    stretch: tuple[float, float] = (0.0, 100.0)
    high_depth: tuple[float, float] = (0.1, 99.9)


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
    class_names: tuple[str, ...] = ()
    category_ids: tuple[int, ...] = ()
    backbone: BackboneRecipe = field(default_factory=BackboneRecipe)
    rpn: RPNRecipe = field(default_factory=RPNRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)
    naive_mnc: NaiveMNCRecipe = field(default_factory=NaiveMNCRecipe)
    mnc: MNCRecipe = field(default_factory=MNCRecipe)
    instfcn: InstFCNRecipe = field(default_factory=InstFCNRecipe)
    detection: DetectionRecipe = field(default_factory=DetectionRecipe)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    conventions: Conventions = RELEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A model and how to train it."""

    name: str
    description: str = ""
    model: ModelRecipe = field(default_factory=ModelRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
