"""InstFCN + R-FCN: masks from one network, their categories from another one.

The two share nothing, are trained apart, and meet at test alone: the tight boxes of InstFCN's
masks are R-FCN's RoIs, and a detection's mask is the one its box comes from (Paper: 4.1;
reference: 10.3).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fcis.core.boxes import box_iou
from fcis.model.baselines.instfcn import InstFCN, MaskProposals
from fcis.model.baselines.rfcn import RFCNHead, RFCNMaps, score_rois
from fcis.model.detector import Detector
from fcis.recipe.types import ModelRecipe
from fcis.structures import Features, ImageBatch, Proposals, RoIMasks, RoIScores, RPNOutput

_SURELY_OUTSIDE = -20.0  # score of an image's masks where it has no proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMaps:
    """R-FCN's maps of whole images, and the masks that InstFCN has found in them."""

    detection: RFCNMaps
    masks: MaskProposals


class InstFCNRFCN(Detector[PairMaps]):
    """Backbone, RPN and head are R-FCN's; its RPN proposes RoIs in training alone."""

    masks_fill_boxes = False
    head: RFCNHead

    def __init__(self, recipe: ModelRecipe, *, fetch: bool = False) -> None:
        super().__init__(recipe, fetch=fetch)
        self.head = RFCNHead(
            self.backbone.channels[1],
            len(recipe.class_names),
            recipe=recipe.head,
            box_slots=recipe.head.box_slots,
        )
        self.instfcn = InstFCN(recipe, fetch=fetch)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The two networks, which are trained apart."""
        return nn.ModuleList([self.backbone, self.rpn, self.head]), self.instfcn

    @property
    def mask_size(self) -> int:
        """Samples along a side of a mask, and of its window."""
        return self.recipe.instfcn.window_cells

    def forward(self, batch: ImageBatch) -> tuple[RPNOutput, PairMaps]:
        """Return all that is computed on whole images, mask proposals included."""
        output, detection = self.detection(batch)
        # how many windows there are depends on values, which compiled code cannot follow
        find = torch.compiler.disable(self.instfcn.propose_masks)
        propose = cast(Callable[[ImageBatch], MaskProposals], find)
        return output, PairMaps(detection=detection, masks=propose(batch))

    def detection(self, batch: ImageBatch) -> tuple[RPNOutput, RFCNMaps]:
        """Return what R-FCN computes on whole images."""
        features = self.backbone(batch)
        maps, _ = self.head(features)
        return self.rpn(features), maps

    def maps(self, features: Features) -> PairMaps:
        """Refuse: masks come from images, not from R-FCN's features.

        Raises:
            TypeError: always.
        """
        raise TypeError("maps: InstFCN + R-FCN computes them from images; call the model")

    def find_rois(self, output: RPNOutput, maps: PairMaps, batch: ImageBatch) -> Proposals:
        """Return the tight boxes of the mask proposals."""
        masks = maps.masks
        return Proposals(
            boxes=masks.boxes, image_index=masks.image_index, objectness=masks.objectness
        )

    def score_rois(
        self, maps: PairMaps, boxes: Float[Tensor, "roi 4"], image_index: Int[Tensor, " roi"]
    ) -> RoIScores:
        """Return class logits and box deltas of RoIs, which are in pixels of the resized images."""
        return score_rois(maps.detection, boxes, image_index, self.recipe)

    def mask_rois(
        self,
        maps: PairMaps,
        boxes: Float[Tensor, "roi 4"],
        image_index: Int[Tensor, " roi"],
        classes: Int[Tensor, " roi"],
    ) -> RoIMasks:
        """Return the scores of the mask whose box each RoI is, or whose box is most like it.

        They are the same for every category; outside scores are zero.
        """
        masks, side = maps.masks, self.mask_size
        logits = masks.logits.new_full((len(boxes), side, side), _SURELY_OUTSIDE)
        extents = boxes.to(masks.windows)
        if len(boxes) and len(masks.boxes):
            overlap = box_iou(boxes.to(masks.boxes), masks.boxes)
            same = image_index[:, None] == masks.image_index
            overlap, chosen = overlap.masked_fill(~same, -1.0).max(dim=1)
            found = (overlap >= 0)[:, None]
            logits = torch.where(found[:, :, None], masks.logits[chosen], logits)
            extents = torch.where(found, masks.windows[chosen], extents)
        inside = logits.flatten()
        return RoIMasks(
            values=torch.stack([torch.zeros_like(inside), inside], dim=1),
            shapes=image_index.new_full((len(boxes), 2), side),
            extents=extents,
        )
