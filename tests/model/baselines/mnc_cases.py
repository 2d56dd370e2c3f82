"""A small cascade of random weights that finds much, images of noise and RoIs."""

from dataclasses import replace

import numpy as np
import torch
from tests.model.noise import draw_weights

from fcis.inference.preprocess import collate, prepare
from fcis.model.build import build_model
from fcis.recipe.named import named_recipe
from fcis.recipe.types import MNCRecipe

SIZES = [(90, 120), (104, 72), (60, 133)]
BOXES = torch.tensor(
    [
        [9.0, 11.0, 60.0, 70.0],
        [0.0, 0.0, 30.0, 25.0],
        [40.0, 3.0, 47.0, 88.0],
        [9.0, 11.0, 60.0, 70],
    ]
)
IMAGES = torch.tensor([0, 1, 0, 1])
CLASSES = torch.tensor([1, 2, 3, 1])


def tiny(**changes):
    recipe = replace(
        named_recipe("tiny").model,
        system="mnc",
        mnc=MNCRecipe(feature_grid=4, mask_grid=8, mask_hidden=16),
        class_names=("a", "b", "c"),
        category_ids=(11, 12, 13),
    )
    return replace(recipe, **changes)


def lively(recipe, seed=0):
    """A network of random weights whose proposals, scores and masks are all different."""
    model = build_model(recipe, seed=seed).eval()
    layers = (
        (model.rpn.conv, 0.1),
        (model.rpn.scores, 0.3),
        (model.rpn.deltas, 0.05),
        (model.head.mask_hidden, 0.1),
        (model.head.mask, 0.5),
        (model.head.classes, 0.3),
        (model.head.instances, 0.3),
        (model.head.boxes, 0.2),
    )
    return draw_weights(model, layers, seed)


def batch_of(sizes, recipe, seed=0):
    """Images of noise in one batch, and each alone."""
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    inputs = [prepare(i, recipe.preprocessing) for i in images]
    return collate(inputs, list(sizes)), [
        collate([i], [s]) for i, s in zip(inputs, sizes, strict=True)
    ]
