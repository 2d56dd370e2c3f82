"""A ResNet whose conv4 and conv5 share one grid (Paper: 2.3).

The blocks are timm's; strides, dilations and the pooling are set here, because neither timm nor
torchvision dilates the first block of conv5 as the paper's network does. Parameters have
torchvision's names (`conv1.weight`, `layer1.0.bn1.weight`, ...).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from timm.models.resnet import BasicBlock, Bottleneck, downsample_conv
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from fcis.model.backbone import Backbone, Conv5
from fcis.model.fusion import Fusion
from fcis.model.imagenet import load_imagenet
from fcis.model.norms import FrozenBatchNorm, NarrowGroupNorm
from fcis.model.strided_1x1 import LEAST_CHANNELS, NarrowShortcut
from fcis.recipe.types import BackboneRecipe

# Strides and dilations of conv2_x .. conv5_x. All blocks of a stage have its dilation, the first
# one too; the first block has its stride. Official: symbols/resnet_v1_101_fcis.py:622-671 @309f6c9
STRIDES = {16: (1, 2, 2, 1), 8: (1, 2, 1, 1)}
DILATIONS = {16: (1, 1, 1, 2), 8: (1, 1, 2, 4)}


class ResNet(Backbone):
    """The convolutions of a ResNet, conv1 to conv5.

    Attributes:
        conv5: where `layer4` runs; with `roi` it is left to whoever has the RoIs' features.
        fusion: adds a finer layer to C5, or nothing.

    Paper: 2.3.
    """

    stem, stem_norm = "conv1", "bn1"
    classifier, added = ("fc.",), ("fusion.",)
    meanings = ("variant",)
    sizes = ("block", "depths", "widths", "stem_width")

    def __init__(
        self,
        *,
        conv1: nn.Conv2d,
        bn1: nn.Module,
        maxpool: nn.MaxPool2d,
        stages: Sequence[nn.Sequential],
        channels: tuple[int, int],
        stride: int,
        conv5: Conv5 = "image",
        fusion: Fusion | None = None,
    ) -> None:
        super().__init__()
        self.conv5: Conv5 = conv5
        self.conv1 = conv1
        self.bn1 = bn1
        self.maxpool = maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = channels
        self.stride = stride
        self.fusion = fusion
        self.finer = 1 if fusion is None else fusion.factor
        self.least_side = 3 if maxpool.ceil_mode else 1

    @property
    def last_stage(self) -> nn.Module:
        """Return conv5."""
        return self.layer4

    def extract(
        self, pixels: Float[Tensor, "image channel height width"]
    ) -> tuple[Float[Tensor, "image channel4 h w"], Float[Tensor, "image channel5 h5 w5"]]:
        """Return C4 and C5 of images that all fill the canvas, channels-last in memory.

        Where conv5 runs on RoIs, C5 has no channels; where a finer layer is added to it, it is
        on a finer grid.
        """
        # 1.2 to 1.8 times as fast on a CPU; the weights stay contiguous, as files want them
        x = pixels.contiguous(memory_format=torch.channels_last)
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x)), inplace=True))
        source = None if self.fusion is None else self.fusion.source
        x = self.layer1(x)
        added = x if source == "c2" else None
        x = self.layer2(x)
        added = x if source == "c3" else added
        c4 = self.layer3(x)
        if self.conv5 == "roi":
            return c4, c4[:, :0]
        c5 = self.layer4(c4)
        return c4, c5 if self.fusion is None or added is None else self.fusion(c5, added)

    def cells_along(self, length: int) -> int:
        """Return the cells of C4 along a side of `length` pixels, 0 if it is too short."""
        if length < 1:
            return 0
        conv1 = (length - 1) // 2 + 1
        # ceil((n - 3) / 2) + 1 for the unpadded pool, floor((n + 2 - 3) / 2) + 1 for the padded
        cells = conv1 // 2 if self.maxpool.ceil_mode else (conv1 - 1) // 2 + 1
        for stride in STRIDES[self.stride]:
            cells = (cells - 1) // stride + 1
        return cells


def build_resnet(recipe: BackboneRecipe, *, fetch: bool, conv5: Conv5) -> ResNet:
    """Return the ResNet of a recipe; arguments and errors are those of `build_backbone`.

    Convolutions start from He's normal initialisation (fan out), all scales at one. timm's zero
    for the last scale of a residual branch is not taken over: it makes every block begin as its
    shortcut, and in runs of a few hundred steps from scratch the losses then fall later.

    ImageNet weights of timm were trained with the `modern` geometry; `v1` accepts them, since all
    shapes agree, but then sees slightly shifted features and needs more fine-tuning.
    """
    conv1 = nn.Conv2d(recipe.in_channels, recipe.stem_width, 7, stride=2, padding=3, bias=False)
    bn1 = _norm_layer(recipe, 0)(recipe.stem_width)
    bn1.eps = recipe.stem_eps
    if recipe.variant == "v1":
        maxpool = nn.MaxPool2d(3, stride=2, padding=0, ceil_mode=True)
    else:
        maxpool = nn.MaxPool2d(3, stride=2, padding=1)
    expansion = _block(recipe).expansion
    outputs = [expansion * width for width in recipe.widths]
    inputs = [recipe.stem_width, *outputs[:-1]]
    stages = [_stage(recipe, index, channels, conv5=conv5) for index, channels in enumerate(inputs)]
    # none of it is on the way of a network without it, random numbers included
    fusion = _fusion(recipe, outputs)
    parts = [nn.ModuleList([conv1, bn1]), *stages, *([] if fusion is None else [fusion])]
    _initialise(parts)
    if fetch and recipe.norm == "frozen" and not recipe.pretrained:
        _quieten(stages)
    _freeze(recipe, parts)
    backbone = ResNet(
        conv1=conv1,
        bn1=bn1,
        maxpool=maxpool,
        stages=stages,
        channels=(outputs[2], outputs[3]),
        stride=recipe.stride,
        conv5=conv5,
        fusion=fusion,
    )
    if recipe.pretrained and fetch:
        load_imagenet(backbone, recipe)
    return backbone


def _block(recipe: BackboneRecipe) -> type[BasicBlock] | type[Bottleneck]:
    return BasicBlock if recipe.block == "basic" else Bottleneck


def _norm_layer(
    recipe: BackboneRecipe, stage: int
) -> type[FrozenBatchNorm] | type[nn.BatchNorm2d] | type[NarrowGroupNorm]:
    """Return the norm of conv1 (stage 0) or of conv2_x .. conv5_x (1 .. 4)."""
    if recipe.norm == "group":
        return NarrowGroupNorm
    # a frozen stage's statistics stand still as well
    if recipe.norm == "frozen" or stage < recipe.frozen_stages:
        return FrozenBatchNorm
    return nn.BatchNorm2d  # its eps is BATCH_NORM_EPS by default


def _stage(recipe: BackboneRecipe, index: int, channels: int, *, conv5: Conv5) -> nn.Sequential:
    """Build conv2_x (index 0) .. conv5_x (3) on an input of so many channels."""
    block = _block(recipe)
    norm_layer = _norm_layer(recipe, index + 1)
    width, stride = recipe.widths[index], STRIDES[recipe.stride][index]
    dilation = DILATIONS[recipe.stride][index]
    if index == 3 and conv5 == "roi":
        stride, dilation = 2, 1
    outputs = block.expansion * width
    shortcut = None
    if stride != 1 or channels != outputs:
        shortcut = downsample_conv(channels, outputs, 1, stride=stride, norm_layer=norm_layer)
        if channels < LEAST_CHANNELS:
            # initialised with all others; a network's first weights are those of its seed
            narrow = skip_init(
                NarrowShortcut, channels, outputs, kernel_size=1, stride=stride, bias=False
            )
            shortcut = nn.Sequential(narrow, *list(shortcut.children())[1:])
    blocks: list[BasicBlock | Bottleneck] = []
    for number in range(recipe.depths[index]):
        first = number == 0
        blocks.append(
            block(
                channels if first else outputs,
                width,
                stride=stride if first else 1,
                downsample=shortcut if first else None,
                dilation=dilation,
                first_dilation=dilation,
                norm_layer=norm_layer,
            )
        )
    if recipe.variant == "v1" and isinstance(blocks[0], Bottleneck):
        blocks[0].conv1.stride, blocks[0].conv2.stride = blocks[0].conv2.stride, (1, 1)
    return nn.Sequential(*blocks)


def _fusion(recipe: BackboneRecipe, outputs: Sequence[int]) -> Fusion | None:
    """Build what adds a finer layer to conv5, given the channels of conv2_x .. conv5_x."""
    if recipe.fusion == "none":
        return None
    finer = outputs[0] if recipe.fusion == "c2" else outputs[1]
    return Fusion(
        lateral=nn.Conv2d(finer, outputs[3], 1, bias=False),
        # behind all stages that can be frozen
        norm=_norm_layer(recipe, len(outputs) + 1)(outputs[3]),
        source=recipe.fusion,
        factor=recipe.stride // recipe.map_stride,
    )


def _initialise(parts: Sequence[nn.Module]) -> None:
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _quieten(stages: Sequence[nn.Sequential]) -> None:
    """Scale residual branches so that they add up to about what they begin with.

    Frozen norms that no weights have filled change nothing: after 33 blocks features would be a
    hundred thousand times as large as the image.
    """
    blocks = [block for stage in stages for block in stage]
    for block in blocks:
        last = getattr(block, "bn3" if isinstance(block, Bottleneck) else "bn2")
        nn.init.constant_(last.weight, len(blocks) ** -0.5)


def _freeze(recipe: BackboneRecipe, parts: Sequence[nn.Module]) -> None:
    """Switch off the gradients of frozen parts and, if the recipe says so, of all norms."""
    for part in parts[: recipe.frozen_stages]:
        part.requires_grad_(False)
    if not recipe.train_affine:
        for part in parts:
            for module in part.modules():
                if isinstance(module, FrozenBatchNorm | nn.BatchNorm2d | nn.GroupNorm):
                    module.requires_grad_(False)
