"""Small systems and batches of images of several sizes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fcis.inference.preprocess import collate, prepare
from fcis.model.build import build_model
from fcis.recipe.baselines import TABLE1
from fcis.recipe.named import named_recipe
from fcis.structures import Features

from . import mnc_cases

SIZES = ((90, 120), (104, 72), (60, 133))


def recipe_of(name, classes=3):
    """The model recipe `tiny` of a system, with made-up categories and norms that need no batch."""
    model = TABLE1[name](named_recipe("tiny")).model
    return replace(
        model,
        class_names=tuple("abcdefgh"[:classes]),
        category_ids=tuple(range(1, classes + 1)),
        backbone=replace(model.backbone, norm="group"),
        instfcn=replace(model.instfcn, pyramid=(0.7, 1.1), candidates=60),
    )


@pytest.fixture
def system():
    """A function: the named system with random weights whose scores are all different."""

    def make(name, **changes):
        model = build_model(replace(recipe_of(name), **changes), seed=1).eval()
        generator = torch.Generator().manual_seed(0)
        for layer_name, layer in model.named_modules():
            if "backbone" not in layer_name and isinstance(layer, nn.Conv2d | nn.Linear):
                noise = torch.randn(layer.bias.shape, generator=generator)
                layer.bias.data.copy_(0.2 * noise)
        model.rpn.scores.weight.data.mul_(30)
        return model

    return make


@pytest.fixture
def mnc_model():
    return mnc_cases.lively(mnc_cases.tiny())


@pytest.fixture
def mnc_maps(mnc_model):
    batch, _ = mnc_cases.batch_of(mnc_cases.SIZES[:2], mnc_model.recipe)
    with torch.no_grad():
        return mnc_model(batch)[1]


@pytest.fixture
def images():
    """A function: images of several sizes as one batch, and each as a batch of its own."""

    def make(recipe, sizes=SIZES):
        generator = torch.Generator().manual_seed(1)
        inputs = []
        for height, width in sizes:
            coarse = torch.rand((height // 8 + 1, width // 8 + 1, 3), generator=generator)
            image = coarse.repeat_interleave(8, 0).repeat_interleave(8, 1)[:height, :width]
            levels = (image * 255).byte().numpy()
            inputs.append(prepare(levels, recipe.preprocessing))
        return collate(inputs, list(sizes)), [
            collate([i], [s]) for i, s in zip(inputs, sizes, strict=True)
        ]

    return make


def features_of(channels=6, *, cells=((5, 7), (6, 4)), dtype=torch.float32):
    """Features of two images on a common grid, zero outside each."""
    generator = torch.Generator().manual_seed(2)
    h, w = max(c[0] for c in cells), max(c[1] for c in cells)
    values = torch.randn((len(cells), channels, h, w), generator=generator, dtype=dtype)
    for value, (rows, columns) in zip(values, cells, strict=True):
        value[:, rows:] = 0
        value[:, :, columns:] = 0
    return Features(c4=values, c5=values, cells=torch.tensor(cells), stride=8)
