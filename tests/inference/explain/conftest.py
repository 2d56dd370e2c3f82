"""Small networks whose score maps differ everywhere, and an image for them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.inference.predictor import Predictor
from fcis.model.build import build_model
from fcis.recipe.conventions import with_conventions
from fcis.recipe.named import named_recipe
from fcis.weights.weights_file import WeightsInfo


@pytest.fixture(scope="session")
def make_predictor():
    """Makes predictors of untrained networks with strong score maps."""

    def make(*, sampling="align", k=3, system="fcis", classes=("a", "b"), **conventions):
        base = named_recipe("tiny").model
        recipe = replace(
            base,
            system=system,
            class_names=classes,
            category_ids=tuple(range(1, 1 + len(classes))),
            head=replace(base.head, k=k, out_size=7 if sampling == "align" else 9),
        )
        recipe = with_conventions(recipe, {"sampling": sampling, **conventions})
        if system == "instfcn-rfcn":
            recipe = replace(recipe, detection=replace(recipe.detection, passes=1))
        model = build_model(recipe)
        if system == "fcis":
            generator = torch.Generator().manual_seed(0)
            weight = model.head.classes.weight
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
        info = WeightsInfo(model=recipe, thresholds=(0.0,) * len(classes))
        return Predictor(model, info)

    return make


@pytest.fixture(scope="session")
def picture():
    """An image of coarse and fine texture, 93 x 126: the last cells are partly covered."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 236, (12, 16, 3)).repeat(8, axis=0).repeat(8, axis=1)[:93, :126]
    return (coarse + rng.integers(-20, 20, coarse.shape)).astype(np.uint8)
