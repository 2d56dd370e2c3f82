"""Small networks of random weights that find much, and batches of images for them."""

from dataclasses import replace

import numpy as np

from fcis.inference.preprocess import collate, prepare
from fcis.model.build import build_model
from fcis.recipe.conventions import conventions_of, with_conventions
from fcis.recipe.named import named_recipe

from .noise import draw_weights

SAMPLINGS = ("pool", "align", "native")
SIZES = [(90, 120), (104, 72), (90, 120), (60, 133)]


def tiny(num_classes=3, rows=None, **changes):
    """The recipe `tiny`; new records in it have its rows of the conventions, but for `rows`."""
    recipe = replace(
        named_recipe("tiny").model,
        class_names=tuple(f"class {i}" for i in range(num_classes)),
        category_ids=tuple(range(11, 11 + num_classes)),
    )
    rows = {**conventions_of(recipe), **(rows or {})}
    return with_conventions(replace(recipe, **changes), rows)


def lively(recipe, seed=0):
    """A network of random weights whose proposals, scores and masks are all different."""
    model = build_model(recipe, seed=seed).eval()
    layers = (
        (model.rpn.conv, 0.1),
        (model.rpn.scores, 0.3),
        (model.rpn.deltas, 0.05),
        (model.head.reduction, 0.3),
        (model.head.classes, 0.6),
        (model.head.boxes, 0.1),
    )
    return draw_weights(model, layers, seed)


def batch_of(sizes, recipe, seed=0):
    rng = np.random.default_rng(seed)
    images = []
    for height, width in sizes:
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        image = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        noise = rng.integers(-20, 20, image.shape)
        images.append(np.clip(image + noise, 0, 255).astype(np.uint8))
    inputs = [prepare(i, recipe.preprocessing) for i in images]
    return collate(inputs, list(sizes)), [
        collate([i], [s]) for i, s in zip(inputs, sizes, strict=True)
    ]


def assert_same(one, two):
    """The same detections; scores to float32 rounding."""
    assert one.size == two.size
    assert one.labels.tolist() == two.labels.tolist()
    np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)
    for a, b in zip(one.crops, two.crops, strict=True):
        assert (a.top, a.left) == (b.top, b.left)
        assert np.array_equal(a.bits, b.bits)
