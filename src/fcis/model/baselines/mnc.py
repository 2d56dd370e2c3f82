"""MNC: mask, category and a better box of each RoI in a cascade, run once or twice.

The method that FCIS is compared with in Table 2 (Paper: 1, 4.2; reference: 10.2; Dai et al.,
Instance-aware Semantic Segmentation via Multi-task Network Cascades, 2016). With a ResNet-101, 91
layers run on whole images, conv1 to conv4 at stride 16, and 10 on each RoI: conv5, with its
original stride 2, and the classifier. Stage 1 are the proposals. Stage 2 warps conv4 to 14 x 14
features a RoI and finds a mask of 28 x 28, the same for all categories. Stage 3 reads the features
twice, as they are and multiplied by the mask, each with a conv5 of its own, and finds category and
box. Stages 4 and 5 are 2 and 3 again with the same weights, on the boxes that stage 3 found:
`detection.passes` is 1 for three stages and 2 for five.

Paper and release say what VGG-16 does on RoIs; for ResNet-101 they give the number of layers
alone. That both readings of the features have a conv5 of their own follows the release, where both
have fully connected layers of their own, and fits the times of Table 2.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from fcis.model.detector import Detector
from fcis.model.rpn import find_proposals
from fcis.ops.roi_sampling import RoIs
from fcis.ops.roi_warping import warp_rois
from fcis.recipe.types import HeadRecipe, MNCRecipe, ModelRecipe
from fcis.structures import Features, ImageBatch, Proposals, RoIMasks, RoIScores, RPNOutput

_AT_ONCE = 100  # RoIs that the cascade works on at a time where nothing is trained
_MASK_STD = 0.001  # reference: 10.2
_CLASS_STD, _BOX_STD = 0.01, 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMasks:
    """Masks that were needed to score RoIs, kept because voting asks for them again.

    Attributes:
        boxes: pixels of the resized images.
        image_index: the image of each.
        logits: of lying inside the object.
    """

    boxes: Float[Tensor, "roi 4"]
    image_index: Int[Tensor, " roi"]
    logits: Float[Tensor, "roi row column"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeMaps:
    """What the cascade reads of whole images.

    Attributes:
        c4: of conv4.
        cells: (rows, columns) of the grid that belong to each image.
        stride: pixels per cell.
        seen: grows with every call of `MNC.score_rois` on these maps.
    """

    c4: Float[Tensor, "image channel h w"]
    cells: Int[Tensor, "image 2"]
    stride: int
    seen: list[SeenMasks]


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeOutput:
    """What stages 2 and 3 find of each RoI.

    Attributes:
        masks: logits of lying inside the object, before the sigmoid.
        classes: logits of what the box holds; they help training and are not looked at else.
        instances: logits of what the box with its mask holds.
        deltas: (dx, dy, dw, dh) for each category, already multiplied by the box stds.
    """

    masks: Float[Tensor, "roi row column"]
    classes: Float[Tensor, "roi class"]
    instances: Float[Tensor, "roi class"]
    deltas: Float[Tensor, "roi class 4"]

    def best_deltas(self) -> Float[Tensor, "roi 4"]:
        """Return the deltas of the best category but background.

        Official (MNC): lib/pylayer/stage_bridge_layer.py:131-205; in its test, :237-250, deltas
        of the background count too.
        """
        best = self.instances.detach()[:, 1:].argmax(dim=1) + 1
        return self.deltas[torch.arange(len(best), device=best.device), best]


class CascadeHead(nn.Module):
    """The layers of the cascade that no ResNet has, and conv5 again for masked features.

    Attributes:
        backbone: its `layer4` is conv5 of the masked features. It begins as the other one does,
            from ImageNet weights if there are any.
    """

    def __init__(
        self,
        conv5: nn.Module,
        channels: tuple[int, int],
        num_classes: int,
        *,
        recipe: MNCRecipe,
        head: HeadRecipe,
    ) -> None:
        super().__init__()
        c4, c5 = channels
        self.mask_grid = recipe.mask_grid
        self.mask_hidden = nn.Linear(c4 * recipe.feature_grid**2, recipe.mask_hidden)
        self.mask = nn.Linear(recipe.mask_hidden, recipe.mask_grid**2)
        self.backbone = nn.ModuleDict({"layer4": copy.deepcopy(conv5)})
        self.classes = nn.Linear(2 * c5, num_classes + 1)
        self.instances = nn.Linear(2 * c5, num_classes + 1)
        self.boxes = nn.Linear(2 * c5, 4 * (num_classes + 1))
        for layer, std in (
            (self.mask_hidden, _MASK_STD),
            (self.mask, _MASK_STD),
            (self.classes, _CLASS_STD),
            (self.instances, _CLASS_STD),
            (self.boxes, _BOX_STD),
        ):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        if head.init == "he":
            nn.init.kaiming_normal_(self.mask_hidden.weight, nonlinearity="relu")
            nn.init.normal_(self.mask.weight, std=recipe.mask_hidden**-0.5)

    def masks(
        self, features: Float[Tensor, "roi channel row column"]
    ) -> Float[Tensor, "roi mask_row mask_column"]:
        """Return mask logits of RoIs from their warped features: stage 2."""
        # warped features are channels-last, so that this order is a view
        flat = features.permute(0, 2, 3, 1).flatten(1).to(self.mask_hidden.weight.dtype)
        logits = self.mask(functional.relu(self.mask_hidden(flat)))
        return logits.unflatten(1, (self.mask_grid, self.mask_grid))

    def mask_pooled(
        self,
        features: Float[Tensor, "roi channel row column"],
        masks: Float[Tensor, "roi mask_row mask_column"],
    ) -> Float[Tensor, "roi channel row column"]:
        """Return the features multiplied by the mask's probabilities, resized to their grid."""
        inside = functional.interpolate(
            masks.sigmoid()[:, None],
            size=features.shape[2:],
            mode="bilinear",
            align_corners=False,
        )
        return features * inside.to(features.dtype)


class MNC(Detector[CascadeMaps]):
    """The cascade with three stages, or with five where the recipe has two passes."""

    head: CascadeHead
    class_layers = ("head.classes.", "head.instances.", "head.boxes.")

    def __init__(self, recipe: ModelRecipe, *, fetch: bool = False) -> None:
        super().__init__(recipe, fetch=fetch, conv5="roi")
        self.head = CascadeHead(
            self.backbone.last_stage,
            self.backbone.channels,
            len(recipe.class_names),
            recipe=recipe.mnc,
            head=recipe.head,
        )

    @property
    def mask_size(self) -> int:
        """Samples along a side of a mask."""
        return self.recipe.mnc.mask_grid

    def maps(self, features: Features) -> CascadeMaps:
        """Return conv4, of which no mask was found yet."""
        return CascadeMaps(c4=features.c4, cells=features.cells, stride=features.stride, seen=[])

    def rpn_proposals(self, output: RPNOutput, batch: ImageBatch) -> Proposals:
        """Return the regions of interest; the gradient of their coordinates reaches the RPN."""
        return find_proposals(
            output,
            batch.sizes.to(torch.float32),
            batch.scales,
            self.recipe.rpn,
        )

    def warp(
        self, maps: CascadeMaps, boxes: Float[Tensor, "roi 4"], image_index: Int[Tensor, " roi"]
    ) -> Float[Tensor, "roi channel row column"]:
        """Return the features of RoIs.

        The convention `pool` rounds boxes to cells as MNC's release does, `align` does not.
        """
        return warp_rois(
            maps.c4,
            RoIs(boxes=boxes, image_index=image_index, cells=maps.cells),
            size=2 * self.recipe.mnc.feature_grid,
            stride=maps.stride,
            whole_cells=self.recipe.head.sampling == "pool",
        )

    def cascade(
        self, maps: CascadeMaps, boxes: Float[Tensor, "roi 4"], image_index: Int[Tensor, " roi"]
    ) -> CascadeOutput:
        """Return what stages 2 and 3 find of RoIs, all at once.

        The gradient reaches features, masks and the boxes' coordinates. With trained BatchNorm
        (`norm="batch"`) conv5 takes its statistics from all RoIs of the call.
        """
        features = self.warp(maps, boxes, image_index)
        masks = self.head.masks(features)
        pooled = self._pooled(features, masks)
        classes = self.head.classes(pooled)
        deltas = self.head.boxes(pooled).unflatten(1, (classes.shape[1], 4))
        return CascadeOutput(
            masks=masks,
            classes=classes,
            instances=self.head.instances(pooled),
            deltas=deltas * deltas.new_tensor(self.recipe.head.box_stds),
        )

    def _pooled(self, features: Tensor, masks: Tensor) -> Float[Tensor, "roi channel"]:
        """Return the means of conv5 over RoIs, of all their features and of those inside."""
        if len(features) == 0:  # from no RoI BatchNorm takes no statistics
            width = self.head.classes.in_features
            return features.new_zeros((0, width)).to(self.head.classes.weight.dtype)
        paths = (
            self.backbone.last_stage(features),
            self.head.backbone["layer4"](self.head.mask_pooled(features, masks)),
        )
        means = torch.cat([path.mean(dim=(2, 3)) for path in paths], dim=1)
        return means.to(self.head.classes.weight.dtype)

    def score_rois(
        self, maps: CascadeMaps, boxes: Float[Tensor, "roi 4"], image_index: Int[Tensor, " roi"]
    ) -> RoIScores:
        """Return class logits and the box deltas of the best category of RoIs.

        Their masks, without which there is no score, are kept in `maps.seen`.
        """
        outputs = [
            self.cascade(maps, boxes[part], image_index[part])
            for part in torch.arange(len(boxes), device=boxes.device).split(_AT_ONCE)
        ]
        masks = torch.cat([o.masks for o in outputs])
        maps.seen.append(SeenMasks(boxes=boxes, image_index=image_index, logits=masks))
        return RoIScores(
            class_logits=torch.cat([o.instances for o in outputs]),
            box_deltas=torch.cat([o.best_deltas() for o in outputs]),
        )

    def mask_rois(
        self,
        maps: CascadeMaps,
        boxes: Float[Tensor, "roi 4"],
        image_index: Int[Tensor, " roi"],
        classes: Int[Tensor, " roi"],
    ) -> RoIMasks:
        """Return the scores of RoIs, 0 outside; they are the same for all categories.

        RoIs that were scored on these maps before are not computed again.
        """
        logits, known = _recall(maps, boxes, image_index, self.mask_size)
        missing = (~known).nonzero()[:, 0]
        for part in missing.split(_AT_ONCE) if len(missing) else ():
            found = self.head.masks(self.warp(maps, boxes[part], image_index[part]))
            logits = logits.index_copy(0, part, found.to(logits.dtype))
        return roi_masks(logits, boxes)


def roi_masks(logits: Float[Tensor, "roi row column"], boxes: Float[Tensor, "roi 4"]) -> RoIMasks:
    """Return mask logits of RoIs as pairs of an outside score of 0 and an inside score."""
    inside = logits.flatten()
    shape = torch.tensor(logits.shape[1:], device=logits.device)
    return RoIMasks(
        values=torch.stack([torch.zeros_like(inside), inside], dim=1),
        shapes=shape.expand(len(logits), 2),
        extents=boxes,
    )


def _recall(
    maps: CascadeMaps, boxes: Tensor, image_index: Tensor, side: int
) -> tuple[Float[Tensor, "roi row column"], Bool[Tensor, " roi"]]:
    """Return the masks of RoIs that were scored before, and which those are."""
    unknown = torch.zeros_like(image_index, dtype=torch.bool)
    if not maps.seen:
        return maps.c4.new_zeros((len(boxes), side, side)), unknown
    logits = torch.cat([s.logits for s in maps.seen])
    if len(logits) == 0:
        return logits.new_zeros((len(boxes), side, side)), unknown
    same = image_index[:, None] == torch.cat([s.image_index for s in maps.seen])
    earlier = torch.cat([s.boxes for s in maps.seen])
    for coordinate in range(4):
        same &= boxes[:, coordinate, None] == earlier[:, coordinate]
    return logits[same.int().argmax(dim=1)], same.any(dim=1)
