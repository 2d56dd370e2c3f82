"""The losses of InstFCN + R-FCN: two sums that have no weight in common (reference: 10.3).

Added up they train both networks as two runs with the same settings would, because the gradient
of neither reaches the other, chance included: each has a source of its own.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from fcis.model.baselines.instfcn import InstFCN, rescale
from fcis.model.baselines.instfcn_rfcn import InstFCNRFCN
from fcis.model.baselines.rfcn import score_rois
from fcis.model.baselines.windows import WindowMaps, all_windows, read_windows, window_boxes
from fcis.recipe.types import Recipe
from fcis.training.batch import TrainingBatch
from fcis.training.losses import (
    Losses,
    RoILosses,
    full,
    generators_of,
    image_losses,
    rpn_terms,
    sampled_rois,
    score_losses,
)
from fcis.training.window_targets import (
    WindowTargets,
    cell_shares,
    draw_factor,
    window_targets,
)


def pair_losses(model: InstFCNRFCN, batch: TrainingBatch, recipe: Recipe) -> Losses:
    """Return the losses of one batch, R-FCN's first."""
    return Losses(
        terms=rfcn_terms(model, batch, recipe) | window_terms(model.instfcn, batch, recipe)
    )


def rfcn_terms(
    model: InstFCNRFCN, batch: TrainingBatch, recipe: Recipe
) -> dict[str, Float[Tensor, " image"]]:
    """Return the losses of R-FCN, which its own RPN finds RoIs for."""
    generators = generators_of(batch, recipe)
    output, maps = model.detection(batch.images)
    terms = rpn_terms(output, batch, recipe, generators)
    rois = sampled_rois(model.rpn_proposals(output, batch.images), batch, recipe, generators)
    scores = score_rois(maps, rois.boxes, rois.image_index, recipe.model)
    classes, boxes = score_losses(scores, rois, recipe)
    losses = RoILosses(classes=classes, masks=torch.zeros_like(classes), boxes=boxes)
    roi_class, _, roi_box = image_losses(losses, rois, recipe, len(batch.truths))
    return terms | {"roi_class": roi_class, "roi_box": roi_box}


def window_terms(
    model: InstFCN, batch: TrainingBatch, recipe: Recipe
) -> dict[str, Float[Tensor, " image"]]:
    """Return the losses of InstFCN, each image at a scale that suits one of its objects.

    Where BatchNorm is trained, all images are at the scale that suits one of them: images of
    different sizes go through the network apart from each other, and statistics of a single image
    are not those that the network is tested with.

    The class term is the mean over the windows drawn, the mask term the mean over the positive
    ones of the mean over those cells that the image has.
    """
    own, stride = recipe.model.instfcn, model.backbone.stride
    generators = generators_of(batch, recipe)
    factors = [
        draw_factor(truth, own, generator, stride=stride)
        for truth, generator in zip(batch.truths, generators, strict=True)
    ]
    if recipe.model.backbone.norm == "batch":
        chosen = int(torch.randint(len(factors), (), generator=generators[0]))
        factors = [factors[chosen]] * len(factors)
    scaled = rescale(batch.images, factors, least=stride)
    maps = model(scaled)
    ratio = (scaled.sizes / batch.images.sizes).flip(1).repeat(1, 2)
    classes, masks = [], []
    for i, (truth, generator) in enumerate(zip(batch.truths, generators, strict=True)):
        targets = window_targets(
            all_windows(maps, i),
            truth,
            ratio[i],
            own,
            generator,
            stride=stride,
            ignore_crowds=recipe.training.targets.ignore_crowds,
        )
        windows = targets.windows
        logits = full(maps.objectness[windows.image, windows.row, windows.column])
        classes.append(
            functional.binary_cross_entropy_with_logits(
                logits, targets.labels.to(logits), reduction="sum"
            )
            / max(1, len(windows))
        )
        masks.append(_mask_loss(maps, targets, batch, i, ratio[i], recipe))
    return {"window_class": torch.stack(classes), "window_mask": torch.stack(masks)}


def _mask_loss(
    maps: WindowMaps,
    targets: WindowTargets,
    batch: TrainingBatch,
    image: int,
    ratio: Float[Tensor, " 4"],
    recipe: Recipe,
) -> Float[Tensor, ""]:
    """Return the mask loss of the positive windows of an image."""
    own, truth = recipe.model.instfcn, batch.truths[image]
    count = len(targets.objects)
    windows = targets.windows.at(torch.arange(count, device=targets.labels.device))
    logits, inside = read_windows(maps, windows, side=own.window_cells, k=own.window_parts)
    boxes = window_boxes(windows.row, windows.column, side=own.window_cells, stride=maps.stride)
    shares = cell_shares(
        boxes / ratio.to(boxes), targets.objects, truth.masks, side=own.window_cells
    )
    wanted = shares >= recipe.model.detection.mask_threshold
    logits = full(logits)
    losses = functional.binary_cross_entropy_with_logits(
        logits, wanted.to(logits), reduction="none"
    )
    means = (losses * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2))
    return means.sum() / max(1, count)
