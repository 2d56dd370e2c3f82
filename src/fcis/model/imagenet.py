"""ImageNet weights of timm -> a backbone that begins with them."""

import timm
from timm.models import adapt_input_conv

from fcis.core.errors import InputError
from fcis.model.backbone import Backbone
from fcis.recipe.types import BackboneRecipe


def load_imagenet(backbone: Backbone, recipe: BackboneRecipe) -> None:
    """Load the ImageNet weights that a recipe names; all arrays but the classifier's must fit.

    Args:
        backbone: of the recipe, changed in place.
        recipe: names the weights in `pretrained`.

    Raises:
        InputError: the weights cannot be had, or have other shapes.
    """
    name = recipe.pretrained
    try:
        state = timm.create_model(name, pretrained=True).state_dict()
    # timm: RuntimeError for names it does not know; downloads: kinds of OSError
    except (RuntimeError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"backbone.pretrained: cannot get the ImageNet weights {name!r} ({reason}); "
            "check the connection and the name (timm.list_pretrained('resnet*')), or set it to ''"
        ) from error
    left_out = (*backbone.classifier, *backbone.added)
    given, wanted = (
        {key: value for key, value in arrays.items() if _is_used(key, left_out)}
        for arrays in (state, backbone.state_dict())
    )
    stem = f"{backbone.stem}.weight"
    if stem in given:
        given[stem] = adapt_input_conv(recipe.in_channels, given[stem])
    differing = sorted(
        key
        for key in given.keys() | wanted.keys()
        if key not in given or key not in wanted or given[key].shape != wanted[key].shape
    )
    if differing:
        raise InputError(
            f"backbone.pretrained: {name!r} does not fit the recipe: {len(differing)} arrays "
            f"differ, {differing[0]} is one; name weights of the same depths, widths and norm"
        )
    backbone.load_state_dict(given, strict=False)  # complete, but for counters of batches


def _is_used(key: str, left_out: tuple[str, ...]) -> bool:
    """Is this array in both a classifier and its backbone; counters of batches are not."""
    return not key.startswith(left_out) and not key.endswith("num_batches_tracked")
