"""R-FCN: position-sensitive maps that say of a RoI which category it is, and nothing of masks.

A RoI's score for a category is the mean over its positions of one set of maps, where FCIS has
two sets and takes the greater (Paper: 3, 4.1; reference: 10.3, 10.5).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from fcis.model.joint import assembly_rule
from fcis.ops.assembly import mean_deltas
from fcis.ops.roi_sampling import AssemblyRule, RoIs, axis_weights
from fcis.recipe.types import HeadRecipe, ModelRecipe
from fcis.structures import Features, RoIScores

_SMALL_STD = 0.01
_HE_SCORE_STD = 0.5  # of a score, where the reduced features have a mean square of 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RFCNMaps:
    """Position-sensitive maps of categories and boxes, channels last.

    Attributes:
        classes: one score a category.
        boxes: (dx, dy, dw, dh) in units of the box stds.
        cells: (rows, columns) of the grid that belong to each image.
    """

    classes: Float[Tensor, "image h w cell class"]
    boxes: Float[Tensor, "image h w cell 4"]
    cells: Int[Tensor, "image 2"]


class RFCNHead(nn.Module):
    """A 1x1 reduction of conv5, then sibling 1x1 convolutions for categories and boxes.

    The channels of a layer are (output, row, column) in order, as those of FCIS are; of the box
    slots the last one is used.
    """

    def __init__(
        self, channels: int, num_classes: int, *, recipe: HeadRecipe, box_slots: int
    ) -> None:
        super().__init__()
        self.cells = recipe.k**2
        self.reduction = nn.Conv2d(channels, recipe.reduction, 1)
        self.classes = nn.Conv2d(recipe.reduction, self.cells * (num_classes + 1), 1)
        self.boxes = nn.Conv2d(recipe.reduction, 4 * self.cells * box_slots, 1)
        initialise(self.reduction, recipe, hidden=True)
        initialise(self.classes, recipe, hidden=False)
        initialise(self.boxes, recipe, hidden=None)

    def forward(self, features: Features) -> tuple[RFCNMaps, Float[Tensor, "image h w channel"]]:
        """Return the maps of a batch, and the reduced features for other layers to read."""
        c5 = features.c5.permute(0, 2, 3, 1)
        reduced = functional.relu(
            functional.linear(c5, self.reduction.weight.flatten(1), self.reduction.bias)
        )
        maps = RFCNMaps(
            classes=sensitive_maps(reduced, self.classes, self.cells),
            boxes=sensitive_maps(reduced, self.boxes, self.cells)[..., -4:],
            cells=features.cells,
        )
        return maps, reduced


def initialise(layer: nn.Conv2d | nn.Linear, recipe: HeadRecipe, *, hidden: bool | None) -> None:
    """Set a layer's weights as `HeadRecipe.init` says, and its bias to zero.

    Args:
        layer: changed in place.
        recipe: `init`.
        hidden: a ReLU follows; False: it outputs scores; None: shifts, which always begin small.
    """
    inputs = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=_SMALL_STD)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    if recipe.init == "he" and hidden:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    elif recipe.init == "he" and hidden is False:
        nn.init.normal_(layer.weight, std=_HE_SCORE_STD / math.sqrt(inputs))


def sensitive_maps(
    features: Float[Tensor, "image h w channel"], layer: nn.Conv2d, cells: int
) -> Float[Tensor, "image h w cell output"]:
    """Return the maps of a 1x1 convolution, a set of them for each part of a RoI."""
    weight = layer.weight.flatten(1).unflatten(0, (-1, cells)).transpose(0, 1).flatten(0, 1)
    bias = None if layer.bias is None else layer.bias.unflatten(0, (-1, cells)).T.flatten()
    return functional.linear(features, weight, bias).unflatten(-1, (cells, -1))


def score_rois(
    maps: RFCNMaps,
    boxes: Float[Tensor, "roi 4"],
    image_index: Int[Tensor, " roi"],
    recipe: ModelRecipe,
) -> RoIScores:
    """Return class logits and box deltas of RoIs, which are in pixels of the resized images."""
    rois = RoIs(boxes=boxes, image_index=image_index, cells=maps.cells)
    rule = assembly_rule(recipe)
    return RoIScores(
        class_logits=position_means(maps.classes, rois, rule),
        box_deltas=mean_deltas(maps.boxes, rois, rule)
        * maps.boxes.new_tensor(recipe.head.box_stds),
    )


def position_means(
    maps: Float[Tensor, "image h w cell output"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi output"]:
    """Return the mean over each RoI's positions of the maps of its parts.

    The gradient goes to the maps only. Without RoIs the result has no rows.

    Positions are rows times columns of a RoI, so the mean is a product of matrices: what of each
    part each row of cells adds to it, times the same for columns.
    """
    _, h, w, cells, outputs = maps.shape
    k = math.isqrt(cells)
    # half precision would round the sums, and so would autocast the products
    working = maps.to(torch.promote_types(maps.dtype, torch.float32))
    rows = axis_weights(rois, rule, 0, k=k, size=h).to(working)
    columns = axis_weights(rois, rule, 1, k=k, size=w).to(working)
    means = working.new_zeros((len(rois), outputs))
    with torch.autocast(maps.device.type, enabled=False):
        for image, values in enumerate(working.unflatten(3, (k, k))):
            mine = (rois.image_index == image).nonzero()[:, 0]
            # (y, x, row part, column part, output) -> (row part, y) by (column part, x, output)
            matrix = values.permute(2, 0, 3, 1, 4).reshape(k * h, k * w * outputs)
            partial = (rows[mine].flatten(1) @ matrix).unflatten(1, (k * w, outputs))
            own = torch.einsum("rp,rpc->rc", columns[mine].flatten(1), partial)
            means = means.index_add(0, mine, own)
    return means.to(maps.dtype)
