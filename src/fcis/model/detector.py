"""What all systems of the paper share: backbone, proposals, two passes of scoring, mask voting.

A system adds its maps and says how a RoI is read from them: `score_rois` and `mask_rois`
(Paper: Figure 3, 4.1). Training composes the same stages with targets and losses; nothing here
knows of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from fcis.core.boxes import clip_boxes, decode_boxes, large_enough, to_original
from fcis.core.masks import MaskCrop
from fcis.imaging.instances import Instances
from fcis.model.backbone import Backbone, Conv5
from fcis.model.backbones import build_backbone
from fcis.model.joint import dense_grids, inside_probability
from fcis.model.rpn import RPN, find_proposals
from fcis.model.soft_suppression import soft_scores
from fcis.model.voting import select, vote, voting_pairs, whole_pixels
from fcis.recipe.types import ModelRecipe
from fcis.structures import (
    Features,
    Frame,
    ImageBatch,
    MaskGrids,
    Proposals,
    RoIMasks,
    RoIScores,
    RPNOutput,
    Selection,
)

Maps = TypeVar("Maps")


ReadGrids = Callable[[Tensor, Tensor], MaskGrids]
"""Returns the grids of RoIs of one image, given their boxes and a category each."""


class Detector(nn.Module, ABC, Generic[Maps]):
    """Whole images to proposals, proposals to instances.

    What follows conv5 is a part `head`; the learning rate of its 1x1 reduction may differ.

    Attributes:
        class_layers: what the names of the arrays begin with that belong to certain categories.
        masks_fill_boxes: a RoI's mask covers its box and nothing else.
        is_folded: convolutions have taken up norms, so that its arrays are no weights any more.
    """

    class_layers: tuple[str, ...] = ("head.classes.",)
    masks_fill_boxes: bool = True
    is_folded: bool = False

    def __init__(self, recipe: ModelRecipe, *, fetch: bool = False, conv5: Conv5 = "image") -> None:
        super().__init__()
        self.recipe = recipe
        self.backbone: Backbone = build_backbone(recipe.backbone, fetch=fetch, conv5=conv5)
        self.rpn = RPN(self.backbone.channels[0], recipe=recipe.rpn)

    @abstractmethod
    def maps(self, features: Features) -> Maps:
        """Return what is computed for RoIs on whole images."""

    @abstractmethod
    def score_rois(
        self, maps: Maps, boxes: Float[Tensor, "roi 4"], image_index: Int[Tensor, " roi"]
    ) -> RoIScores:
        """Return class logits and box deltas of RoIs, which are in pixels of the resized images."""

    @abstractmethod
    def mask_rois(
        self,
        maps: Maps,
        boxes: Float[Tensor, "roi 4"],
        image_index: Int[Tensor, " roi"],
        classes: Int[Tensor, " roi"],
    ) -> RoIMasks:
        """Return the outside and inside scores of one category a RoI."""

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The parts that are trained apart from each other: none's gradient changes another's."""
        return (self,)

    @property
    def mask_size(self) -> int:
        """Samples along a side of a mask, where all RoIs have as many."""
        return self.recipe.head.out_size

    def forward(self, batch: ImageBatch) -> tuple[RPNOutput, Maps]:
        """Return all that is computed on whole images."""
        features = self.backbone(batch)
        return self.rpn(features), self.maps(features)

    def rpn_proposals(self, output: RPNOutput, batch: ImageBatch) -> Proposals:
        """Return the regions of interest that the RPN finds; they carry no gradient."""
        sizes = batch.sizes.to(torch.float32)
        with torch.no_grad():
            return find_proposals(output, sizes, batch.scales, self.recipe.rpn)

    def find_rois(self, output: RPNOutput, maps: Maps, batch: ImageBatch) -> Proposals:
        """Return the regions of interest in which instances are looked for: the RPN's."""
        return self.rpn_proposals(output, batch)

    @torch.inference_mode()
    def detect(self, batch: ImageBatch) -> list[Instances]:
        """Return the instances of each image, in pixels of the original image, best first."""
        output, maps = self(batch)
        proposals = self.find_rois(output, maps, batch)
        boxes, image_index, probabilities = self.score(maps, proposals, batch)
        return [
            self.assemble_instances(
                boxes[image_index == i],
                probabilities[image_index == i],
                batch.frame(i),
                partial(self.mask_grids, maps, i),
            )
            for i in range(len(batch.sizes))
        ]

    def score(
        self, maps: Maps, proposals: Proposals, batch: ImageBatch
    ) -> tuple[Float[Tensor, "roi 4"], Int[Tensor, " roi"], Float[Tensor, "roi class"]]:
        """Return boxes, images and class probabilities of the proposals and of their refinements.

        The proposals keep their own boxes; with two passes the boxes refined from them follow,
        scored on the same maps (Paper: 2.3, Inference. Official: symbols/
        resnet_v1_101_fcis.py:861-892 @309f6c9).
        """
        boxes, index = proposals.boxes, proposals.image_index
        first = self.score_rois(maps, boxes, index)
        probabilities = first.class_logits.float().softmax(dim=1)
        if self.recipe.detection.passes == 1:
            return boxes, index, probabilities
        refined = self.refine(boxes, first.box_deltas.float(), batch.sizes[index])
        second = self.score_rois(maps, refined, index)
        return (
            torch.cat([boxes, refined]),
            torch.cat([index, index]),
            torch.cat([probabilities, second.class_logits.float().softmax(dim=1)]),
        )

    def refine(
        self,
        boxes: Float[Tensor, "roi 4"],
        deltas: Float[Tensor, "roi 4"],
        sizes: Int[Tensor, "roi 2"],
    ) -> Float[Tensor, "roi 4"]:
        """Return the boxes that deltas lead to, cut to images of (height, width) in `sizes`."""
        keep_pixel = self.recipe.detection.box_clip == "last-pixel"
        return clip_boxes(decode_boxes(boxes, deltas), sizes.to(boxes), keep_pixel=keep_pixel)

    def mask_grids(
        self,
        maps: Maps,
        image: int,
        boxes: Float[Tensor, "roi 4"],
        classes: Int[Tensor, " roi"],
    ) -> MaskGrids:
        """Return the masks of RoIs of one image, for one category a RoI."""
        masks = self.mask_rois(maps, boxes, torch.full_like(classes, image), classes)
        return MaskGrids(
            values=dense_grids(masks, inside_probability(masks)),
            shapes=masks.shapes,
            extents=masks.extents.to(boxes),
        )

    def assemble_instances(
        self,
        boxes: Float[Tensor, "roi 4"],
        probabilities: Float[Tensor, "roi class"],
        frame: Frame,
        read_grids: ReadGrids,
    ) -> Instances:
        """Return what RoIs of one image amount to: suppressed, their masks voted on.

        Args:
            boxes: in pixels of the resized image.
            probabilities: of all categories, background first.
            frame: of the image.
            read_grids: gives the masks that are needed.

        Paper: 2.3, Inference.
        """
        recipe = self.recipe.detection
        height, width = frame.original
        keep = large_enough(boxes, recipe.drop_size)
        boxes, probabilities = boxes[keep], probabilities[keep]
        original = to_original(
            boxes,
            frame.scale,
            (height, width),
            last_pixel=recipe.box_end == "last-pixel",
            keep_pixel=recipe.box_clip == "last-pixel",
        )
        selection = select(original, probabilities, recipe)
        rois, classes, grid_of = voting_pairs(selection, probabilities, recipe)
        found = read_grids(boxes[rois], classes)
        windows = whole_pixels(original[rois], by_edges=recipe.box_rounding == "edge")
        # a sliver at the edge may round to the pixel behind it
        windows = windows.minimum(windows.new_tensor([width, height] * 2))
        if self.recipe.head.sampling == "pool" and self.masks_fill_boxes:
            extents = windows.to(boxes)
        else:
            extents = found.extents / frame.scale.flip(0).repeat(2)
        grids = replace(found, extents=extents)
        crops, certainty = vote(
            selection, grids, windows, grid_of, recipe, grid_size=self.mask_size
        )
        return self._collect(selection, crops, certainty, (height, width))

    def _collect(
        self,
        selection: Selection,
        crops: Sequence[MaskCrop | None],
        certainty: Float32[np.ndarray, " detection"] | None,
        size: tuple[int, int],
    ) -> Instances:
        """Return the detections whose mask is not empty, best first."""
        recipe = self.recipe.detection
        scores = selection.scores.cpu().numpy().astype("float32")
        if certainty is not None:
            scores = scores * certainty
        found = [i for i, crop in enumerate(crops) if crop is not None]
        instances = Instances(
            size=size,
            scores=scores[found],
            labels=selection.labels.cpu().numpy().astype("int64")[found],
            crops=tuple(crop for crop in crops if crop is not None),
            class_names=("background", *self.recipe.class_names),
            category_ids=(0, *self.recipe.category_ids),
        )
        if recipe.mask_suppression == "none" and not recipe.mask_score:
            return instances
        scores = instances.scores
        if recipe.mask_suppression == "soft":
            scores = soft_scores(scores, instances.labels, instances.crops)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= recipe.min_score][: recipe.max_detections]
        return replace(instances, scores=scores).select(order)
