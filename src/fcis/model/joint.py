"""From assembled score maps to what each RoI is: category, mask and a better box, jointly.

Both tasks read the same two scores of a pixel (Paper: 2.2): the larger one says how much the
pixel belongs to the box of a category, their softmax whether it is inside the object.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.ops.assembly import class_masks, class_scores, mean_deltas
from fcis.ops.roi_sampling import AssemblyRule, RoIs
from fcis.recipe.types import ModelRecipe
from fcis.structures import INSIDE, OUTSIDE, RoIMasks, RoIScores, ScoreMaps


def assembly_rule(recipe: ModelRecipe) -> AssemblyRule:
    """Return how the RoIs of this model read its maps."""
    return AssemblyRule(
        stride=recipe.backbone.map_stride,
        sampling=recipe.head.sampling,
        out_size=recipe.head.out_size,
        round_boxes=recipe.head.round_rois,
    )


def score_rois(
    maps: ScoreMaps,
    boxes: Float[Tensor, "roi 4"],
    image_index: Int[Tensor, " roi"],
    recipe: ModelRecipe,
) -> RoIScores:
    """Return class logits and box deltas of RoIs.

    Args:
        maps: of a batch of images.
        boxes: in pixels of the resized images.
        image_index: the image of each box.
        recipe: of the model.

    Paper: 2.2; there are no parameters here. Official: symbols/resnet_v1_101_fcis.py:799-828
    @309f6c9.
    """
    rois = RoIs(boxes=boxes, image_index=image_index, cells=maps.cells)
    rule = assembly_rule(recipe)
    stds = maps.boxes.new_tensor(recipe.head.box_stds)
    return RoIScores(
        class_logits=class_scores(maps.classes, rois, rule),
        box_deltas=mean_deltas(maps.boxes, rois, rule) * stds,
    )


def mask_rois(
    maps: ScoreMaps,
    boxes: Float[Tensor, "roi 4"],
    image_index: Int[Tensor, " roi"],
    classes: Int[Tensor, " roi"],
    recipe: ModelRecipe,
) -> RoIMasks:
    """Return the outside and inside scores of one category a RoI.

    Args:
        maps: of a batch of images.
        boxes: in pixels of the resized images.
        image_index: the image of each box.
        classes: the category of each box; 0 is background, which has its own pair of maps.
        recipe: of the model.

    Paper: 2.2. Official: symbols/resnet_v1_101_fcis.py:809-824 @309f6c9.
    """
    rois = RoIs(boxes=boxes, image_index=image_index, cells=maps.cells)
    return class_masks(maps.classes, rois, classes, assembly_rule(recipe))


def inside_probability(masks: RoIMasks) -> Float[Tensor, " pixel"]:
    """Return the probability that each sample lies inside the object (Paper: 2.2)."""
    # of two scores the softmax is the sigmoid of their difference, in a fraction of the time
    values = masks.values.float()
    return (values[:, INSIDE] - values[:, OUTSIDE]).sigmoid()


def dense_grids(
    masks: RoIMasks, values: Float[Tensor, " pixel"]
) -> Float[Tensor, "roi row column"]:
    """Return flat per-sample values as one grid a RoI, zero beyond a RoI's own shape.

    Without RoIs the result is empty; its grids have one sample.
    """
    if len(masks.shapes) == 0:
        return values.new_zeros((0, 1, 1))
    rows, columns = (int(n) for n in masks.shapes.amax(dim=0))
    if len(values) == len(masks.shapes) * rows * columns:
        return values.reshape(-1, rows, columns)
    row = torch.arange(rows, device=values.device)[None, :, None]
    column = torch.arange(columns, device=values.device)[None, None, :]
    height, width = masks.shapes[:, 0, None, None], masks.shapes[:, 1, None, None]
    inside = (row < height) & (column < width)
    index = masks.offsets[:, None, None] + row * width + column
    return torch.where(inside, values[torch.where(inside, index, 0)], values.new_zeros(()))
