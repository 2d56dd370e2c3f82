"""The backbones there are, by the name that a recipe has for them."""

from collections.abc import Callable

from fcis.core.errors import InputError
from fcis.model.backbone import Backbone, Conv5
from fcis.model.norms import BATCH_NORM_EPS
from fcis.model.resnet import build_resnet
from fcis.recipe.types import BackboneRecipe

BACKBONES: dict[str, Callable[..., Backbone]] = {"resnet": build_resnet}
"""What builds each kind; it takes what `build_backbone` takes."""


def build_backbone(
    recipe: BackboneRecipe,
    *,
    fetch: bool = True,
    stem_eps: float = BATCH_NORM_EPS,
    conv5: Conv5 = "image",
) -> Backbone:
    """Return the backbone of a recipe, with ImageNet weights if it names any.

    Args:
        recipe: the network; every value is checked.
        fetch: get the weights that `recipe.pretrained` names; without a name, frozen norms begin
            so that features stay as large as the image. False where weights are loaded next.
        stem_eps: what the first normalisation adds to the variance.
        conv5: where it is to run; if it has more channels than conv4, as in every ResNet, its
            weights have the same names and shapes in both.

    Raises:
        InputError: a value of the recipe is out of range, or the ImageNet weights cannot be had
            or have other shapes.
    """
    if recipe.network not in BACKBONES:
        raise InputError(
            f"backbone.network: expected one of {', '.join(BACKBONES)}, got {recipe.network!r}"
        )
    return BACKBONES[recipe.network](recipe, fetch=fetch, stem_eps=stem_eps, conv5=conv5)
