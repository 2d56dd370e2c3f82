"""Small backbones whose norms matter, and batches for them."""

import torch
from torch import nn

from fcis.model.backbones import build_backbone
from fcis.model.norms import FrozenBatchNorm
from fcis.recipe.types import BackboneRecipe
from fcis.structures import ImageBatch

SLIM = BackboneRecipe(depths=(1, 2, 2, 2), widths=(8, 8, 16, 16), stem_width=8, frozen_stages=0)


def image_batch(pixels, sizes=None):
    count, _, height, width = pixels.shape
    sizes = torch.tensor(sizes or [(height, width)] * count, dtype=torch.int64).reshape(-1, 2)
    return ImageBatch(pixels=pixels, sizes=sizes, scales=torch.ones(count, 2), original_sizes=sizes)


def randomised(recipe, seed=0):
    """A network whose norms all have statistics, scales and shifts that matter."""
    torch.manual_seed(seed)
    backbone = build_backbone(recipe)
    with torch.no_grad():
        for part in backbone.modules():
            if isinstance(part, FrozenBatchNorm | nn.BatchNorm2d | nn.GroupNorm):
                nn.init.uniform_(part.weight, 0.4, 1.2)
                nn.init.normal_(part.bias, std=0.4)
            if isinstance(part, FrozenBatchNorm | nn.BatchNorm2d):
                nn.init.normal_(part.running_mean, std=0.4)
                nn.init.uniform_(part.running_var, 0.6, 1.8)
    return backbone.eval()
