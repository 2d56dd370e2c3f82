"""The backbones there are, by the name that a recipe has for them."""

from collections.abc import Callable

from fcis.core.errors import InputError
from fcis.model.backbone import Backbone, Conv5
from fcis.model.resnet import build_resnet
from fcis.recipe.bounds import check_record
from fcis.recipe.types import BackboneRecipe

BACKBONES: dict[str, Callable[..., Backbone]] = {"resnet": build_resnet}
"""What builds each kind; it takes what `build_backbone` takes."""


def build_backbone(
    recipe: BackboneRecipe,
    *,
    fetch: bool = True,
    conv5: Conv5 = "image",
) -> Backbone:
    """Return the backbone of a recipe, with ImageNet weights if it names any.

    Args:
        recipe: the network; every value is checked.
        fetch: get the weights that `recipe.pretrained` names; without a name, frozen norms begin
            so that features stay as large as the image. False where weights are loaded next.
        conv5: where it is to run; if it has more channels than conv4, as in every ResNet, its
            weights have the same names and shapes in both.

    Raises:
        InputError: a value of the recipe is out of range, or the ImageNet weights cannot be had
            or have other shapes.
    """
    check_record(recipe, "model.backbone")
    if recipe.network not in BACKBONES:
        raise InputError(
            f"model.backbone.network: is {recipe.network!r}, expected one of {', '.join(BACKBONES)}"
        )
    return BACKBONES[recipe.network](recipe, fetch=fetch, conv5=conv5)
