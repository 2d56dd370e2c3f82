from dataclasses import replace

import pytest

from fcis.recipe.baselines import (
    TABLE1,
    fcis_k1,
    fcis_separate,
    instfcn_rfcn,
    mnc,
    mnc_3stage,
    naive_mnc,
)
from fcis.recipe.conventions import RELEASE, conventions_of, with_conventions
from fcis.recipe.named import named_recipe

BASES = {"": "voc-resnet101", "coco-": "coco-resnet101", "scenes-": "scenes"}


@pytest.mark.parametrize("prefix", BASES)
@pytest.mark.parametrize("name", TABLE1)
def test_the_rest_is_as_in_the_recipe_of_fcis(prefix, name):
    """Table 1: the same network below, the same budget, and no hard examples."""
    base, made = named_recipe(BASES[prefix]), named_recipe(f"{prefix}{name}")
    assert made.name == f"{prefix}{name}" and made.description != base.description
    for part in ("backbone", "rpn", "preprocessing"):
        assert getattr(made.model, part) == getattr(base.model, part)
    assert made.model.head.reduction == base.model.head.reduction
    assert not made.training.targets.ohem
    targets = replace(base.training.targets, ohem=False)
    optimiser = replace(made.training.optimiser, fc_lr=1.0)
    same = replace(made.training, targets=base.training.targets, optimiser=optimiser)
    assert made.training.targets == targets and same == base.training


def test_what_each_system_is():
    """Reference 10.1, 10.3 to 10.5."""
    base = named_recipe("voc-resnet101")
    k1 = fcis_k1(base).model
    assert (k1.system, k1.head.k, k1.head.out_size) == ("fcis", 1, 21)
    assert fcis_separate(base).model == replace(base.model, system="fcis-separate")
    naive = naive_mnc(base).model
    assert (naive.naive_mnc.pooled_size, naive.naive_mnc.mask_grid) == (14, 28)
    pair = instfcn_rfcn(base).model
    assert (pair.head.out_size, pair.head.k) == (7, 7)
    assert (pair.detection.passes, pair.detection.merge_iou) == (1, 1.0)
    assert (pair.instfcn.windows, pair.instfcn.proposal_nms) == (256, 0.8)
    targets = instfcn_rfcn(base).training.targets
    assert (targets.rois, targets.positive_fraction) == (128, 0.25)
    assert targets.negative_low == 0.1


def test_from_scratch():
    base = named_recipe("scenes")
    assert naive_mnc(base).model.naive_mnc.pooled_size == 7
    own = instfcn_rfcn(base).model.instfcn
    window = own.window_cells * base.model.backbone.stride * own.window_fill
    # objects of the scenes have 16 to 128 px; each suits a window of some scale
    assert min(own.pyramid) * 128 == pytest.approx(window, rel=0.05)
    assert max(own.pyramid) * 16 == pytest.approx(window, rel=0.1)
    assert naive_mnc(base).training.optimiser.fc_lr < 1


def test_mnc_on_coco():
    """Reference 10.2; all else as FCIS has it (Paper: 4.2)."""
    base, five = named_recipe("coco-resnet101"), named_recipe("mnc")
    three = named_recipe("mnc-3stage")
    assert replace(mnc(base), name="mnc") == five and mnc_3stage(base) == three
    assert (five.model.system, five.model.detection.passes) == ("mnc", 2)
    assert three.model == replace(five.model, detection=replace(five.model.detection, passes=1))
    assert five.model.head.box_stds == (0.1, 0.1, 0.2, 0.2)
    grids = five.model.mnc
    assert (grids.feature_grid, grids.mask_grid, grids.mask_hidden) == (14, 28, 256)
    rows = {"sampling": "align", "pad_proposals": False, "negative_low": 0.1}
    assert conventions_of(five) == {**RELEASE, **rows, "mask_loss_weight": 2.0}
    targets = five.training.targets
    assert (targets.rois, targets.positive_fraction, targets.ohem) == (64, 0.3, False)
    same = with_conventions(five, RELEASE)
    assert replace(same.training, targets=base.training.targets) == base.training
    for part in ("backbone", "rpn", "detection", "preprocessing"):
        assert getattr(same.model, part) == getattr(base.model, part)


def test_mnc_on_scenes():
    scenes, made = named_recipe("scenes"), named_recipe("scenes-mnc")
    assert made.model.mnc.feature_grid == 8 and made.model.mnc.mask_grid == 28
    assert made.model.backbone == scenes.model.backbone
    assert (made.training.steps, made.training.batch) == (2500, 4)
