"""A network without its norms computes the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fcis.model.build import build_model
from fcis.model.folding import fold_norms
from fcis.model.norms import FrozenBatchNorm, NarrowGroupNorm
from fcis.recipe.named import named_recipe
from fcis.structures import ImageBatch

NORMS = (FrozenBatchNorm, nn.BatchNorm2d)


def network(**backbone):
    """A small network with statistics, scales and shifts of all kinds."""
    base = named_recipe("tiny").model
    recipe = replace(
        base,
        class_names=("a", "b"),
        category_ids=(1, 2),
        backbone=replace(base.backbone, stem_eps=0.1, **backbone),
    )
    model = build_model(recipe, seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, NORMS):
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.1, 4, generator=generator)
            module.weight.data.uniform_(-1.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.5, generator=generator)
    return model


def batch(height=70, width=90, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ImageBatch(
        pixels=torch.randn(1, 3, height, width, generator=generator),
        sizes=torch.tensor([[height, width]]),
        scales=torch.ones(1, 2),
        original_sizes=torch.tensor([[height, width]]),
    )


def count(model, kinds=NORMS):
    return sum(isinstance(module, kinds) for module in model.modules())


@pytest.mark.parametrize("norm", ["frozen", "batch"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("variant", ["v1", "modern"])
def test_the_same_features_and_detections(norm, block, variant):
    model = network(norm=norm, block=block, variant=variant, depths=(2, 1, 2, 1), frozen_stages=1)
    with torch.inference_mode():
        before, found = model.backbone(batch()), model.detect(batch())[0]
        norms = count(model)
        assert norms >= 13
        assert fold_norms(model) is model
        assert count(model) == 0
        after, again = model.backbone(batch()), model.detect(batch())[0]
    for one, two in ((before.c4, after.c4), (before.c5, after.c5)):
        # seen: 4e-7
        assert (one - two).norm() < 1e-4 * one.norm() and one.std() > 0
        assert (one - two).abs().max() < 1e-4 * one.abs().max()
    assert len(found) == len(again) > 3
    np.testing.assert_allclose(found.scores, again.scores, atol=1e-5)


def test_by_hand():
    model = network(norm="frozen")
    stem = model.backbone
    conv, norm = stem.conv1.weight.clone(), stem.bn1
    scale = norm.weight / (norm.running_var + 0.1).sqrt()
    shift = norm.bias - norm.running_mean * scale
    fold_norms(model)
    torch.testing.assert_close(stem.conv1.weight, conv * scale[:, None, None, None])
    torch.testing.assert_close(stem.conv1.bias, shift)
    assert not stem.conv1.weight.requires_grad and not stem.conv1.bias.requires_grad


def test_a_convolution_may_have_a_bias():
    model = network(norm="batch")
    model.backbone.conv1.bias = nn.Parameter(
        torch.linspace(-2, 2, model.backbone.conv1.out_channels)
    )
    with torch.inference_mode():
        before = model.backbone(batch()).c5
        after = fold_norms(model).backbone(batch()).c5
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_group_norm_is_left_alone():
    model = network(norm="group", frozen_stages=0)
    norms = count(model, NarrowGroupNorm)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fold_norms(model)
    assert count(model, NarrowGroupNorm) == norms > 5
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_folding_twice_changes_nothing():
    model = fold_norms(network(norm="frozen"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    after = fold_norms(model).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_what_cannot_be_folded():
    with pytest.raises(ValueError, match=r"model: expected eval\(\), got a model in training"):
        fold_norms(network().train())
    model = network(norm="batch")
    model.backbone.layer1[0].add_module("late", nn.BatchNorm2d(5))
    with pytest.raises(ValueError, match="late: expected a convolution of its size before it"):
        fold_norms(model)
    model = network(norm="batch")
    model.backbone.bn1 = nn.BatchNorm2d(
        model.backbone.conv1.out_channels, track_running_stats=False
    )
    with pytest.raises(ValueError, match="norm: expected stored statistics, got none"):
        fold_norms(model)
