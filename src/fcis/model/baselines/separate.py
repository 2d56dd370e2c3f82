"""FCIS with separate score maps: one set says which category a RoI is, another one its mask.

What the joint formulation is compared with. Each set has k^2 maps a category, so that both
together are as many as the inside and outside maps of FCIS (Paper: 2.2, 4.1; reference: 10.5).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fcis.model.baselines.rfcn import RFCNHead, RFCNMaps, initialise, score_rois, sensitive_maps
from fcis.model.detector import Detector
from fcis.model.joint import assembly_rule
from fcis.ops.assembly import class_masks
from fcis.ops.roi_sampling import RoIs
from fcis.recipe.types import ModelRecipe
from fcis.structures import Features, RoIMasks, RoIScores


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparateMaps:
    """The two sets of score maps, and the box maps.

    Attributes:
        detection: for categories and boxes, read as R-FCN reads them.
        masks: inside scores of every category; the outside scores are zero, so that the softmax
            of both is the sigmoid of the one.
    """

    detection: RFCNMaps
    masks: Float[Tensor, "image h w cell side class"]


class SeparateFCIS(Detector[SeparateMaps]):
    """Two 1x1 convolutions on shared features, each of which learns from one task alone."""

    class_layers = ("head.classes.", "mask_maps.")

    def __init__(self, recipe: ModelRecipe, *, fetch: bool = False) -> None:
        super().__init__(recipe, fetch=fetch)
        head, classes = recipe.head, len(recipe.class_names)
        slots = recipe.head.box_slots
        self.head = RFCNHead(self.backbone.channels[1], classes, recipe=head, box_slots=slots)
        self.mask_maps = nn.Conv2d(head.reduction, head.k**2 * (classes + 1), 1)
        initialise(self.mask_maps, head, hidden=False)

    def maps(self, features: Features) -> SeparateMaps:
        """Return both sets of maps of conv5."""
        detection, reduced = self.head(features)
        inside = sensitive_maps(reduced, self.mask_maps, self.head.cells)
        return SeparateMaps(
            detection=detection,
            masks=torch.stack([torch.zeros_like(inside), inside], dim=-2),
        )

    def score_rois(
        self, maps: SeparateMaps, boxes: Float[Tensor, "roi 4"], image_index: Int[Tensor, " roi"]
    ) -> RoIScores:
        """Return class logits and box deltas of RoIs, which are in pixels of the resized images."""
        return score_rois(maps.detection, boxes, image_index, self.recipe)

    def mask_rois(
        self,
        maps: SeparateMaps,
        boxes: Float[Tensor, "roi 4"],
        image_index: Int[Tensor, " roi"],
        classes: Int[Tensor, " roi"],
    ) -> RoIMasks:
        """Return the scores of one category a RoI; those of the outside are zero."""
        rois = RoIs(boxes=boxes, image_index=image_index, cells=maps.detection.cells)
        return class_masks(maps.masks, rois, classes, assembly_rule(self.recipe))
