"""From conv5 to position-sensitive inside/outside score maps and box maps.

Weights keep the release's order of channels, (class, side, row, column); the maps come out in
the order that assembly reads, (row, column, side, class) with channels last.
"""

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fcis.recipe.types import HeadRecipe
from fcis.structures import Features, ScoreMaps

_SMALL_STD = 0.01  # reference: 6.7
_HE_SCORE_STD = 0.5  # of a score, where the reduced features have a mean square of 1


class ScoreMapHead(nn.Module):
    """A 1x1 reduction of conv5, then two sibling 1x1 convolutions (Paper: 2.1, 2.3).

    `classes` has 2 k^2 (C + 1) channels; `boxes` has 4 k^2 a slot, and the last slot is used.

    Official: symbols/resnet_v1_101_fcis.py:788-797 @309f6c9.
    """

    def __init__(
        self, channels: int, num_classes: int, *, recipe: HeadRecipe, box_slots: int
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.k = recipe.k
        self.box_slots = box_slots
        self.reduction = nn.Conv2d(channels, recipe.reduction, 1)
        self.classes = nn.Conv2d(recipe.reduction, 2 * recipe.k**2 * (num_classes + 1), 1)
        self.boxes = nn.Conv2d(recipe.reduction, 4 * recipe.k**2 * box_slots, 1)
        for layer in (self.reduction, self.classes, self.boxes):
            nn.init.normal_(layer.weight, std=_SMALL_STD)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        if recipe.init == "he":
            nn.init.kaiming_normal_(self.reduction.weight, nonlinearity="relu")
            nn.init.normal_(self.classes.weight, std=_HE_SCORE_STD / math.sqrt(recipe.reduction))

    def forward(self, features: Features) -> ScoreMaps:
        """Return the maps of a batch."""
        c5 = features.c5.permute(0, 2, 3, 1)
        reduced = functional.relu(
            _pointwise(c5, self.reduction.weight.flatten(1), self.reduction.bias)
        )
        cells = self.k**2
        order = (cells, 2, self.num_classes + 1)
        weight = self.classes.weight.reshape(-1, 2, cells, reduced.shape[-1])
        bias = self.classes.bias.reshape(-1, 2, cells)  # type: ignore[union-attr]
        classes = _pointwise(
            reduced,
            weight.permute(2, 1, 0, 3).flatten(0, 2),
            bias.permute(2, 1, 0).flatten(),
        )
        box_weight = self.boxes.weight.reshape(self.box_slots, 4, cells, reduced.shape[-1])[-1]
        box_bias = self.boxes.bias.reshape(self.box_slots, 4, cells)[-1]  # type: ignore[union-attr]
        boxes = _pointwise(
            reduced, box_weight.transpose(0, 1).flatten(0, 1), box_bias.transpose(0, 1).flatten()
        )
        return ScoreMaps(
            classes=classes.unflatten(-1, order),
            boxes=boxes.unflatten(-1, (cells, 4)),
            cells=features.c5_cells,
            stride=features.c5_stride,
        )


def _pointwise(
    features: Float[Tensor, "image h w channel"],
    weight: Float[Tensor, "out channel"],
    bias: Float[Tensor, " out"] | None,
) -> Float[Tensor, "image h w out"]:
    """Return a 1x1 convolution of channels-last features."""
    return functional.linear(features, weight, bias)
