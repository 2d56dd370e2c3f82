"""How many floating-point operations an image costs a method, to stand beside its time (Table 2).

Counted are convolutions and matrix products, without computing any: a network without numbers
(torch's `meta` device) is run once. What has no weights, such as FCIS's work on RoIs, the warping
of features and voting, consists of other operations and counts as none here.
"""

import torch

from fcis.lab.benchmark.products import count_operations
from fcis.model.baselines.mnc import MNC
from fcis.model.build import build_model
from fcis.recipe.types import ModelRecipe
from fcis.structures import ImageBatch


def system_operations(recipe: ModelRecipe, sides: tuple[int, int], *, rois: int) -> int:
    """Return the operations of a network on one image; a multiply-add counts two.

    Args:
        recipe: with its categories; FCIS or MNC.
        sides: (height, width) after resizing.
        rois: proposals.

    Raises:
        InputError: a value of the recipe makes no sense.
        ValueError: there are no proposals, or the recipe is of another system.
    """
    if rois < 1:
        raise ValueError(f"rois: expected at least 1, got {rois}")
    if recipe.system not in ("fcis", "mnc"):
        raise ValueError(f"recipe: expected the system fcis or mnc, got {recipe.system}")
    with torch.device("meta"):
        model = build_model(recipe).eval()
    size = torch.tensor([sides])
    batch = ImageBatch(
        pixels=torch.zeros((1, recipe.backbone.in_channels, *sides), device="meta"),
        sizes=size,
        scales=torch.ones(1, 2),
        original_sizes=size,
    )
    image = count_operations(lambda: model(batch))
    if not isinstance(model, MNC):
        return image
    with torch.no_grad():
        _, maps = model(batch)
    boxes = torch.zeros((1, 4), device="meta")
    index = torch.zeros(1, dtype=torch.int64, device="meta")
    roi = count_operations(lambda: model.cascade(maps, boxes, index))
    return image + rois * recipe.detection.passes * roi
