"""Small networks that see something different everywhere."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.model.build import build_model
from fcis.model.detector import Detector
from fcis.recipe.conventions import with_conventions
from fcis.recipe.named import named_recipe


@pytest.fixture(scope="session")
def lively() -> Callable[..., Detector]:
    """Makes untrained networks whose proposals, scores and masks are all different."""

    def make(seed=0, *, sampling="align", classes=("a", "b", "c"), **changes) -> Detector:
        ids = tuple(range(11, 11 + len(classes)))
        recipe = replace(
            named_recipe("tiny").model, class_names=classes, category_ids=ids, **changes
        )
        recipe = with_conventions(recipe, {"sampling": sampling})
        model = build_model(recipe, seed=seed).eval()
        generator = torch.Generator().manual_seed(seed)
        for layer, std in (
            (model.rpn.scores, 0.3),
            (model.rpn.deltas, 0.05),
            (model.head.classes, 0.3),
            (model.head.boxes, 0.1),
        ):
            layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * std)
        return model

    return make


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """An image of coarse and fine texture, 96 x 120."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 15, 3)).repeat(8, axis=0).repeat(8, axis=1)
    fine = rng.integers(-20, 20, coarse.shape)
    return np.clip(coarse + fine, 0, 255).astype(np.uint8)
