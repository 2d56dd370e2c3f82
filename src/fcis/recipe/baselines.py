"""The recipes of the systems that the paper compares FCIS with, each made from one of FCIS.

Everything that is not named here is as in the recipe it is made from: the same backbone, RPN,
budget and targets, as in the paper's Table 1. Hard examples are not mined there (Paper: 4.1).
"""

from collections.abc import Callable
from dataclasses import replace

from fcis.recipe.conventions import with_conventions
from fcis.recipe.types import (
    DetectionRecipe,
    InstFCNRecipe,
    MNCRecipe,
    ModelRecipe,
    NaiveMNCRecipe,
    Recipe,
)

_SCRATCH_FC_LR = 0.02  # a layer with thousands of inputs, under Adam's steps of equal size
_SCRATCH_CASCADE_FC_LR = 0.25  # one layer of MNC has thousands of inputs, the others few


def fcis_k1(base: Recipe) -> Recipe:
    """Return FCIS that does not depend on the place in a RoI: k is 1 (Paper: 4.1)."""
    head = replace(base.model.head, k=1)
    return _derived(base, "fcis-k1", "FCIS with k = 1", replace(base.model, head=head))


def fcis_separate(base: Recipe) -> Recipe:
    """Return FCIS with a set of score maps for each task (Paper: 4.1; reference: 10.5)."""
    model = replace(base.model, system="fcis-separate")
    return _derived(base, "fcis-separate", "FCIS with separate score maps", model)


def naive_mnc(base: Recipe) -> Recipe:
    """Return naive MNC; from scratch with half the pooled size (Paper: 4.1; reference: 10.1)."""
    model = replace(base.model, system="naive-mnc")
    if _is_scratch(base):
        model = replace(model, naive_mnc=NaiveMNCRecipe(pooled_size=7))
    return _derived(base, "naive-mnc", "naive MNC: pooled conv5, one layer a task", model)


def instfcn_rfcn(base: Recipe) -> Recipe:
    """Return InstFCN + R-FCN; from scratch with smaller windows (Paper: 4.1; reference: 10.3).

    R-FCN's samples are 7 x 7. A detection has the mask of its own proposal: no voting.
    """
    detection: DetectionRecipe = replace(
        base.model.detection, passes=1, merge_iou=1.0, store_grid=False
    )
    model = replace(
        base.model,
        system="instfcn-rfcn",
        head=replace(base.model.head, out_size=base.model.head.k),
        detection=detection,
    )
    if _is_scratch(base):
        model = replace(
            model,
            instfcn=InstFCNRecipe(
                window_cells=8,
                window_parts=4,
                window_channels=model.rpn.channels,
                pyramid=(0.4, 0.6, 0.9, 1.35, 2.0, 3.0),
            ),
        )
    return _derived(base, "instfcn-rfcn", "InstFCN's masks, classified by R-FCN", model)


def mnc(base: Recipe) -> Recipe:
    """Return MNC with five stages (Paper: 4.2; reference: 10.2).

    From scratch the features of a RoI are fewer. With pretrained weights 64 RoIs an image are
    drawn, as in MNC's release.
    """
    head = replace(base.model.head, box_stds=(0.1, 0.1, 0.2, 0.2))
    model = replace(base.model, system="mnc", head=head)
    about = "MNC, five stages: a cascade of ten layers a RoI"
    if _is_scratch(base):
        made = _derived(base, "mnc", about, replace(model, mnc=MNCRecipe(feature_grid=8)))
        optimiser = replace(made.training.optimiser, fc_lr=_SCRATCH_CASCADE_FC_LR)
        return replace(made, training=replace(made.training, optimiser=optimiser))
    rows = {
        "sampling": "align",
        "pad_proposals": False,
        "mask_loss_weight": 2.0,
        "negative_low": 0.1,
    }
    made = with_conventions(_derived(base, "mnc", about, model), rows)
    targets = replace(made.training.targets, rois=64, positive_fraction=0.3)
    return replace(made, training=replace(made.training, targets=targets))


def mnc_3stage(base: Recipe) -> Recipe:
    """Return MNC without its second pass."""
    made = mnc(base)
    return replace(
        made,
        name="mnc-3stage",
        description="MNC, three stages: a single pass",
        model=replace(made.model, detection=replace(made.model.detection, passes=1)),
    )


TABLE1: dict[str, Callable[[Recipe], Recipe]] = {
    "fcis-k1": fcis_k1,
    "fcis-separate": fcis_separate,
    "naive-mnc": naive_mnc,
    "instfcn-rfcn": instfcn_rfcn,
}
"""The systems of Table 1 besides FCIS, by name."""


def _is_scratch(base: Recipe) -> bool:
    return base.model.head.init == "he"


def _derived(base: Recipe, name: str, about: str, model: ModelRecipe) -> Recipe:
    """Return a recipe with another model and name."""
    optimiser = base.training.optimiser
    if _is_scratch(base):
        optimiser = replace(optimiser, fc_lr=_SCRATCH_FC_LR)
    targets = replace(base.training.targets, ohem=False)
    return replace(
        base,
        name=name,
        description=f"{about}; otherwise {base.name} without hard examples",
        model=model,
        training=replace(base.training, optimiser=optimiser, targets=targets),
    )
