"""Naive MNC: features pooled from conv5, and one fully connected layer for each task.

All convolutions see the whole image; what depends on the place in a RoI is learnt by the
weights of the layers behind the pooling (Paper: 1, 4.1; reference: 10.1).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from fcis.model.baselines.pooling import pool_rois
from fcis.model.baselines.rfcn import initialise
from fcis.model.detector import Detector
from fcis.recipe.types import HeadRecipe, ModelRecipe, NaiveMNCRecipe
from fcis.structures import Features, RoIMasks, RoIScores

_SMALL_STD = 0.001  # of layers behind a pooling, which have many inputs (reference: 10.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReducedFeatures:
    """Features of conv5 with fewer channels, and (rows, columns) that belong to each image."""

    values: Float[Tensor, "image channel h w"]
    cells: Int[Tensor, "image 2"]


class NaiveMNCHead(nn.Module):
    """A 1x1 reduction on the image, single layers on what is pooled from it.

    The layer for masks knows no category: it has an output for each sample.
    """

    def __init__(
        self, channels: int, num_classes: int, *, recipe: HeadRecipe, own: NaiveMNCRecipe
    ) -> None:
        super().__init__()
        inputs = recipe.reduction * own.pooled_size**2
        self.reduction = nn.Conv2d(channels, recipe.reduction, 1)
        self.classes = nn.Linear(inputs, num_classes + 1)
        self.masks = nn.Linear(inputs, own.mask_grid**2)
        self.boxes = nn.Linear(inputs, 4)
        initialise(self.reduction, recipe, hidden=True)
        for layer in (self.classes, self.masks, self.boxes):
            initialise(layer, recipe, hidden=False)
            if recipe.init == "small" or layer is self.boxes:
                nn.init.normal_(layer.weight, std=_SMALL_STD)

    def forward(self, features: Features) -> ReducedFeatures:
        """Return the reduced features of a batch."""
        return ReducedFeatures(
            values=functional.relu(self.reduction(features.c5)), cells=features.cells
        )


class NaiveMNC(Detector[ReducedFeatures]):
    """The almost fully convolutional relative of MNC."""

    head: NaiveMNCHead

    def __init__(self, recipe: ModelRecipe, *, fetch: bool = False) -> None:
        super().__init__(recipe, fetch=fetch)
        self.head = NaiveMNCHead(
            self.backbone.channels[1],
            len(recipe.class_names),
            recipe=recipe.head,
            own=recipe.naive_mnc,
        )

    @property
    def mask_size(self) -> int:
        """Samples along a side of a mask."""
        return self.recipe.naive_mnc.mask_grid

    def maps(self, features: Features) -> ReducedFeatures:
        """Return what RoIs are pooled from."""
        return self.head(features)

    def score_rois(
        self,
        maps: ReducedFeatures,
        boxes: Float[Tensor, "roi 4"],
        image_index: Int[Tensor, " roi"],
    ) -> RoIScores:
        """Return class logits and box deltas of RoIs, which are in pixels of the resized images."""
        pooled = self._pooled(maps, boxes, image_index)
        deltas = self.head.boxes(pooled)
        return RoIScores(
            class_logits=self.head.classes(pooled),
            box_deltas=deltas * deltas.new_tensor(self.recipe.head.box_stds),
        )

    def mask_rois(
        self,
        maps: ReducedFeatures,
        boxes: Float[Tensor, "roi 4"],
        image_index: Int[Tensor, " roi"],
        classes: Int[Tensor, " roi"],
    ) -> RoIMasks:
        """Return the mask scores of RoIs, the same for every category; outside ones are zero."""
        inside = self.head.masks(self._pooled(maps, boxes, image_index)).flatten()
        return RoIMasks(
            values=torch.stack([torch.zeros_like(inside), inside], dim=1),
            shapes=image_index.new_full((len(boxes), 2), self.mask_size),
            extents=boxes,
        )

    def _pooled(
        self,
        maps: ReducedFeatures,
        boxes: Float[Tensor, "roi 4"],
        image_index: Int[Tensor, " roi"],
    ) -> Float[Tensor, "roi input"]:
        sampling = self.recipe.head.sampling
        assert sampling != "native"  # the rules of a recipe see to it
        pooled = pool_rois(
            maps.values,
            maps.cells,
            boxes,
            image_index,
            size=self.recipe.naive_mnc.pooled_size,
            stride=self.recipe.backbone.stride,
            sampling=sampling,
        )
        return pooled.flatten(1).to(self.head.classes.weight)
