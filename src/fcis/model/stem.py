"""Let a backbone that was trained on other input take ours, by changing its first layer.

timm's weights expect (level / 255 - mean) / std; a recipe may feed levels less their mean, as the
2017 release does. Both are linear, so conv1 and its normalisation can take up the difference.
"""

import torch

from fcis.model.backbone import Backbone
from fcis.model.norms import FrozenBatchNorm
from fcis.recipe.types import Preprocessing


@torch.no_grad()
def adapt_stem(
    backbone: Backbone,
    preprocessing: Preprocessing,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    """Change the first layer so that input of the recipe does what the trained input did.

    Where the numbers of channels differ, weights have been spread over the recipe's channels
    before, each of which then has the mean of the trained means.

    Exact but for the image's border, where padding is zero in both; a normalisation with
    statistics of its own takes up the shift by itself.

    Args:
        backbone: with the trained weights, changed in place.
        preprocessing: what the recipe feeds.
        mean: what the weights were trained with, for levels 0..1, per channel.
        std: likewise.
    """
    count = len(preprocessing.mean)
    if len(mean) != count:
        mean, std = ((sum(values) / len(values),) * count for values in (mean, std))
    weight = backbone.get_parameter(f"{backbone.stem}.weight")
    own_mean, own_std = weight.new_tensor(preprocessing.mean), weight.new_tensor(preprocessing.std)
    scale = 255 * weight.new_tensor(std)
    shift = (own_mean - 255 * weight.new_tensor(mean)) / scale
    moved = torch.einsum("oikl,i->o", weight, shift)
    weight.mul_((own_std / scale)[None, :, None, None])
    norm = backbone.get_submodule(backbone.stem_norm) if backbone.stem_norm else None
    if isinstance(norm, FrozenBatchNorm | torch.nn.BatchNorm2d) and norm.running_mean is not None:
        norm.running_mean.sub_(moved)
