"""The five losses of joint training, image by image (Paper: 2.3, Training; reference: 3.5, 6.4)."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from fcis.model.fcis import FCIS
from fcis.model.joint import mask_rois, score_rois
from fcis.recipe import Recipe
from fcis.structures import INSIDE, RPNOutput, ScoreMaps
from fcis.training.samples import TrainingBatch
from fcis.training.targets import (
    IGNORED,
    AnchorTargets,
    RoITargets,
    anchor_targets,
    mask_targets,
    roi_targets,
)

_RPN_BETA = 1 / 9  # sigma 3: quadratic below 1 / sigma^2
_HEAD_BETA = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The loss terms of each image, weighted as they are added up."""

    rpn_class: Float[Tensor, " image"]
    rpn_box: Float[Tensor, " image"]
    roi_class: Float[Tensor, " image"]
    roi_mask: Float[Tensor, " image"]
    roi_box: Float[Tensor, " image"]

    def total(self) -> Float[Tensor, ""]:
        """Return the mean over images of the sum of the terms."""
        return torch.stack([getattr(self, f.name) for f in fields(self)]).sum(dim=0).mean()

    def means(self) -> dict[str, float]:
        """Return each term's mean over the images."""
        return {f.name: getattr(self, f.name).detach().mean().item() for f in fields(self)}

    def first_bad(self, names: tuple[str, ...]) -> tuple[str, str] | None:
        """Return image and term of the first loss that is not finite."""
        for f in fields(self):
            bad = (~getattr(self, f.name).detach().isfinite()).nonzero()
            if len(bad):
                return names[int(bad[0])], f.name
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoILosses:
    """The loss terms of each RoI before weighting and normalising."""

    classes: Float[Tensor, " roi"]
    masks: Float[Tensor, " roi"]
    boxes: Float[Tensor, " roi"]


def compute_losses(
    model: FCIS, batch: TrainingBatch, recipe: Recipe, generator: torch.Generator
) -> Losses:
    """Return the losses of one batch; chance comes from the generator alone."""
    output, maps = model(batch.images)
    rpn = [_rpn_losses(output, i, batch, recipe, generator) for i in range(len(batch.truths))]
    proposals = model.propose(output, batch.images)
    targets = roi_targets(
        proposals,
        batch.truths,
        recipe.training.targets,
        recipe.model.conventions,
        recipe.model.head.box_stds,
        generator,
    )
    per_roi = roi_losses(maps, targets, batch, recipe)
    classes, masks, boxes = _normalise(per_roi, targets, recipe, len(batch.truths))
    return Losses(
        rpn_class=torch.stack([r[0] for r in rpn]),
        rpn_box=torch.stack([r[1] for r in rpn]),
        roi_class=classes,
        roi_mask=masks,
        roi_box=boxes,
    )


def _rpn_losses(
    output: RPNOutput,
    image: int,
    batch: TrainingBatch,
    recipe: Recipe,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return the RPN's class and box loss of one image."""
    size = batch.images.sizes[image].to(output.anchors)
    truth = batch.truths[image]
    settings = recipe.training.targets
    targets = anchor_targets(output, image, size, truth, settings, generator)
    return rpn_losses(output, image, targets, settings.anchors)


def rpn_losses(
    output: RPNOutput, image: int, targets: AnchorTargets, anchors: int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return class and box loss of one image's anchors.

    The class loss is the mean over the labelled anchors, the box loss a sum over the positive
    ones divided by the constant number of anchors.

    Official: symbols/resnet_v1_101_fcis.py:728-732 @309f6c9.
    """
    logits = output.logits[image].reshape(-1, 2).float()
    deltas = output.deltas[image].reshape(-1, 4).float()
    known = (targets.labels != IGNORED).nonzero()[:, 0]
    classes = functional.cross_entropy(logits[known], targets.labels[known], reduction="sum")
    positive = (targets.labels == 1).nonzero()[:, 0]
    boxes = functional.smooth_l1_loss(
        deltas[positive], targets.deltas[positive], beta=_RPN_BETA, reduction="sum"
    )
    return classes / max(1, len(known)), boxes / anchors


def roi_losses(
    maps: ScoreMaps, targets: RoITargets, batch: TrainingBatch, recipe: Recipe
) -> RoILosses:
    """Return the loss terms of every RoI; mask and box terms are zero for negatives."""
    model = recipe.model
    scores = score_rois(maps, targets.boxes, targets.image_index, model)
    classes = functional.cross_entropy(
        scores.class_logits.float(), targets.labels, reduction="none"
    )
    positive = (targets.labels > 0).nonzero()[:, 0]
    deltas = scores.box_deltas.float() / scores.box_deltas.new_tensor(model.head.box_stds)
    boxes = functional.smooth_l1_loss(
        deltas[positive], targets.deltas[positive], beta=_HEAD_BETA, reduction="none"
    ).sum(dim=1)
    zero = torch.zeros_like(classes)
    masks = _mask_losses(maps, targets, positive, batch, recipe)
    return RoILosses(
        classes=classes,
        masks=zero.index_add(0, positive, masks),
        boxes=zero.index_add(0, positive, boxes),
    )


def _mask_losses(
    maps: ScoreMaps,
    targets: RoITargets,
    positive: Tensor,
    batch: TrainingBatch,
    recipe: Recipe,
) -> Float[Tensor, " positive"]:
    """Return each positive RoI's mean over its samples of the two-way cross entropy."""
    boxes, image_index = targets.boxes[positive], targets.image_index[positive]
    masks = mask_rois(maps, boxes, image_index, targets.labels[positive], recipe.model)
    chosen = zip(image_index.tolist(), targets.objects[positive].tolist(), strict=True)
    wanted = mask_targets(
        masks,
        boxes,
        [batch.truths[i].masks[j] for i, j in chosen],
        recipe.model.conventions,
        threshold=recipe.model.detection.mask_threshold,
        stride=maps.stride,
    )
    margin = masks.values[:, INSIDE].float() - masks.values[:, 1 - INSIDE].float()
    losses = functional.binary_cross_entropy_with_logits(margin, wanted, reduction="none")
    counts = masks.shapes.prod(dim=1)
    roi = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    sums = torch.zeros(len(counts), device=losses.device).index_add(0, roi, losses)
    return sums / counts.clamp(min=1)


def _normalise(
    losses: RoILosses, targets: RoITargets, recipe: Recipe, images: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return class, mask and box loss of each image from those of its RoIs.

    Class and mask and box terms are divided by the number of RoIs that count, a constant for
    masks and boxes. With OHEM only the RoIs of the highest loss count; the choice itself
    carries no gradient (Official: fcis/operator_py/box_annotator_ohem.py:41-74 @309f6c9).
    """
    settings, conventions = recipe.training.targets, recipe.model.conventions
    results = []
    for i in range(images):
        index = (targets.image_index == i).nonzero()[:, 0]
        classes, masks, boxes = (
            losses.classes[index],
            losses.masks[index] * conventions.mask_loss_weight,
            losses.boxes[index],
        )
        if settings.ohem and len(index) > settings.rois:
            total = (classes + masks + boxes).detach()
            hard = total.sort(descending=True, stable=True).indices[: settings.rois]
            index, classes, masks, boxes = index[hard], classes[hard], masks[hard], boxes[hard]
        positives = int((targets.labels[index] > 0).sum())
        shared = positives if conventions.mask_loss_norm == "positives" else settings.rois
        results.append(
            (
                classes.sum() / max(1, len(index)),
                masks.sum() / max(1, shared),
                boxes.sum() / settings.rois,
            )
        )
    classes, masks, boxes = (torch.stack(term) for term in zip(*results, strict=True))
    return classes, masks, boxes
