"""FCIS itself: position-sensitive score maps, read jointly for category and mask (Paper: 2)."""

from jaxtyping import Float, Int
from torch import Tensor

from fcis.model.detector import Detector
from fcis.model.joint import mask_rois, score_rois
from fcis.model.score_maps import ScoreMapHead
from fcis.recipe.types import ModelRecipe
from fcis.structures import Features, RoIMasks, RoIScores, ScoreMaps


class FCIS(Detector[ScoreMaps]):
    """Fully convolutional instance-aware semantic segmentation (Paper: 2)."""

    def __init__(self, recipe: ModelRecipe, *, fetch: bool = False) -> None:
        super().__init__(recipe, fetch=fetch)
        self.head = ScoreMapHead(
            self.backbone.channels[1],
            len(recipe.class_names),
            recipe=recipe.head,
            box_slots=recipe.head.box_slots,
        )

    def maps(self, features: Features) -> ScoreMaps:
        """Return the score maps of conv5 (Paper: 2.3)."""
        return self.head(features)

    def score_rois(
        self, maps: ScoreMaps, boxes: Float[Tensor, "roi 4"], image_index: Int[Tensor, " roi"]
    ) -> RoIScores:
        """Return class logits and box deltas of RoIs, which are in pixels of the resized images.

        Paper: 2.2.
        """
        return score_rois(maps, boxes, image_index, self.recipe)

    def mask_rois(
        self,
        maps: ScoreMaps,
        boxes: Float[Tensor, "roi 4"],
        image_index: Int[Tensor, " roi"],
        classes: Int[Tensor, " roi"],
    ) -> RoIMasks:
        """Return the outside and inside scores of one category a RoI (Paper: 2.2)."""
        return mask_rois(maps, boxes, image_index, classes, self.recipe)
