"""A small cascade, images with an object, RoIs and what the network says of them."""

from dataclasses import replace

import torch

from fcis.model.baselines.mnc import CascadeOutput
from fcis.recipe.named import named_recipe
from fcis.recipe.types import MNCRecipe
from fcis.structures import ImageBatch
from fcis.training.batch import ObjectMask, TrainingBatch, Truth
from fcis.training.targets import RoITargets

SIZE = (64, 80)
FIRST = ("roi_class", "roi_instance", "roi_mask", "roi_box")
OBJECT = (8.0, 12.0, 40.0, 44.0)


def recipe_of(*, passes=2, norm="group", **targets):
    base = named_recipe("tiny")
    backbone = replace(base.model.backbone, norm=norm)
    model = replace(
        base.model,
        system="mnc",
        mnc=MNCRecipe(feature_grid=4, mask_grid=8, mask_hidden=8),
        backbone=backbone,
        rpn=replace(base.model.rpn, channels=8, post_nms=12),
        detection=replace(base.model.detection, passes=passes),
        class_names=("a", "b"),
        category_ids=(1, 2),
    )
    settings = replace(base.training.targets, **({"rois": 8} | targets))
    return replace(base, model=model, training=replace(base.training, targets=settings))


def object_mask(box, rows=slice(None), columns=slice(None)):
    """A mask that fills some rows and columns of its box."""
    x0, y0, x1, y1 = (int(n) for n in box)
    values = torch.zeros(y1 - y0, x1 - x0)
    values[rows, columns] = 1
    return ObjectMask(top=y0, left=x0, values=values)


def truth_of(boxes=(OBJECT,), labels=(1,), masks=None):
    masks = tuple(object_mask(box) for box in boxes) if masks is None else masks
    return Truth(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        masks=masks,
        crowds=torch.zeros(0, 4),
    )


def batch_of(*truths, seed=0):
    count = len(truths)
    pixels = torch.randn((count, 3, *SIZE), generator=torch.Generator().manual_seed(seed))
    return TrainingBatch(
        images=ImageBatch(
            pixels=pixels,
            sizes=torch.tensor([SIZE] * count),
            scales=torch.ones(count, 2),
            original_sizes=torch.tensor([SIZE] * count),
        ),
        truths=truths,
        numbers=tuple(range(count)),
        names=tuple(f"{i}.png" for i in range(count)),
    )


def rois_of(boxes, labels, image_index=None, deltas=0.0):
    labels = torch.tensor(labels, dtype=torch.int64)
    zero = torch.zeros_like(labels)
    return RoITargets(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        image_index=zero if image_index is None else torch.tensor(image_index),
        labels=labels,
        objects=zero,
        deltas=torch.full((len(labels), 4), deltas) * (labels > 0)[:, None],
    )


def output_of(count, *, classes=3, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    return CascadeOutput(
        masks=draw(count, side, side),
        classes=draw(count, classes),
        instances=draw(count, classes),
        deltas=draw(count, classes, 4) * 0.1,
    )
