"""The five losses of joint training, image by image (Paper: 2.3, Training; reference: 3.5, 6.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from fcis.model.detector import Detector, Maps
from fcis.recipe.types import Recipe
from fcis.structures import INSIDE, OUTSIDE, Proposals, RoIScores, RPNOutput
from fcis.training.batch import TrainingBatch
from fcis.training.mask_targets import mask_targets
from fcis.training.samples import target_generator
from fcis.training.targets import (
    IGNORED,
    AnchorTargets,
    RoITargets,
    anchor_targets,
    roi_targets,
)

_RPN_BETA = 1 / 9  # sigma 3: quadratic below 1 / sigma^2
_HEAD_BETA = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The loss terms of each image, weighted as they are added up.

    Attributes:
        terms: by name; `metrics.LOSSES` lists the names of all systems.
    """

    terms: dict[str, Float[Tensor, " image"]]

    def total(self) -> Float[Tensor, ""]:
        """Return the mean over images of the sum of the terms."""
        return torch.stack(list(self.terms.values())).sum(dim=0).mean()

    def means(self) -> dict[str, float]:
        """Return each term's mean over the images."""
        return {name: term.detach().mean().item() for name, term in self.terms.items()}

    def first_bad(self, names: Sequence[str]) -> tuple[str, str] | None:
        """Return image and term of the first loss that is not finite."""
        for term, values in self.terms.items():
            bad = (~values.detach().isfinite()).nonzero()
            if len(bad):
                return names[int(bad[0])], term
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoILosses:
    """The loss terms of each RoI before weighting and normalising."""

    classes: Float[Tensor, " roi"]
    masks: Float[Tensor, " roi"]
    boxes: Float[Tensor, " roi"]


def compute_losses(model: Detector[Maps], batch: TrainingBatch, recipe: Recipe) -> Losses:
    """Return the losses of one batch, of a system that reads class, mask and box from a RoI.

    All chance comes from the samples' numbers, so that an image's targets do not depend on what
    it is batched with.
    """
    generators = generators_of(batch, recipe)
    output, maps = model(batch.images)
    terms = rpn_terms(output, batch, recipe, generators)
    rois = sampled_rois(model.rpn_proposals(output, batch.images), batch, recipe, generators)
    classes, masks, boxes = image_losses(
        roi_losses(model, maps, rois, batch, recipe), rois, recipe, len(batch.truths)
    )
    return Losses(terms=terms | {"roi_class": classes, "roi_mask": masks, "roi_box": boxes})


def generators_of(batch: TrainingBatch, recipe: Recipe) -> list[torch.Generator]:
    """Return the source of chance of each image; targets draw from it in a fixed order."""
    return [target_generator(recipe.training.seed, number) for number in batch.numbers]


def rpn_terms(
    output: RPNOutput,
    batch: TrainingBatch,
    recipe: Recipe,
    generators: Sequence[torch.Generator],
) -> dict[str, Float[Tensor, " image"]]:
    """Return the loss terms of the RPN, image by image."""
    settings, sizes = recipe.training.targets, batch.images.sizes.to(output.anchors)
    losses = []
    for i, (truth, generator) in enumerate(zip(batch.truths, generators, strict=True)):
        targets = anchor_targets(output, i, sizes[i], truth, settings, generator)
        count = settings.anchors
        if recipe.training.losses.rpn_box_norm == "labelled":
            count = max(1, int((targets.labels != IGNORED).sum()))
        losses.append(rpn_losses(output, i, targets, count))
    return {
        "rpn_class": torch.stack([classes for classes, _ in losses]),
        "rpn_box": torch.stack([boxes for _, boxes in losses]),
    }


def sampled_rois(
    proposals: Proposals,
    batch: TrainingBatch,
    recipe: Recipe,
    generators: Sequence[torch.Generator],
) -> RoITargets:
    """Return the RoIs of a batch that the losses look at, with their targets."""
    return roi_targets(
        proposals,
        batch.truths,
        recipe.training.targets,
        recipe.model.head.box_stds,
        generators,
    )


def rpn_losses(
    output: RPNOutput, image: int, targets: AnchorTargets, anchors: int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return class and box loss of one image's anchors.

    The class loss is the mean over the labelled anchors, the box loss a sum over the positive
    ones divided by `anchors`: in the release the number there should be, in ChainerCV that of
    labelled ones.

    Official: symbols/resnet_v1_101_fcis.py:728-732 @309f6c9.
    """
    logits = full(output.logits[image].reshape(-1, 2))
    deltas = full(output.deltas[image].reshape(-1, 4))
    known = (targets.labels != IGNORED).nonzero()[:, 0]
    classes = functional.cross_entropy(logits[known], targets.labels[known], reduction="sum")
    positive = (targets.labels == 1).nonzero()[:, 0]
    boxes = functional.smooth_l1_loss(
        deltas[positive], targets.deltas[positive].to(deltas), beta=_RPN_BETA, reduction="sum"
    )
    return classes / max(1, len(known)), boxes / anchors


def roi_losses(
    model: Detector[Maps],
    maps: Maps,
    targets: RoITargets,
    batch: TrainingBatch,
    recipe: Recipe,
) -> RoILosses:
    """Return the loss terms of every RoI; mask and box terms are zero for negatives."""
    scores = model.score_rois(maps, targets.boxes, targets.image_index)
    classes, boxes = score_losses(scores, targets, recipe)
    positive = (targets.labels > 0).nonzero()[:, 0]
    masks = _mask_losses(model, maps, targets, positive, batch, recipe)
    return RoILosses(
        classes=classes,
        masks=torch.zeros_like(classes).index_add(0, positive, masks),
        boxes=boxes,
    )


def score_losses(
    scores: RoIScores, targets: RoITargets, recipe: Recipe
) -> tuple[Float[Tensor, " roi"], Float[Tensor, " roi"]]:
    """Return class and box loss of every RoI; the latter is zero for negatives."""
    classes = functional.cross_entropy(full(scores.class_logits), targets.labels, reduction="none")
    positive = (targets.labels > 0).nonzero()[:, 0]
    deltas = full(scores.box_deltas)
    deltas = deltas / deltas.new_tensor(recipe.model.head.box_stds)
    boxes = functional.smooth_l1_loss(
        deltas[positive], targets.deltas[positive].to(deltas), beta=_HEAD_BETA, reduction="none"
    ).sum(dim=1)
    return classes, torch.zeros_like(classes).index_add(0, positive, boxes)


def _mask_losses(
    model: Detector[Maps],
    maps: Maps,
    targets: RoITargets,
    positive: Int[Tensor, " positive"],
    batch: TrainingBatch,
    recipe: Recipe,
) -> Float[Tensor, " positive"]:
    """Return each positive RoI's mean over its samples of the two-way cross entropy."""
    boxes, image_index = targets.boxes[positive], targets.image_index[positive]
    masks = model.mask_rois(maps, boxes, image_index, targets.labels[positive])
    pairs = zip(image_index.tolist(), targets.objects[positive].tolist(), strict=True)
    chosen = [(batch.truths[i], j) for i, j in pairs]
    wanted = mask_targets(
        masks,
        boxes,
        [truth.masks[j] for truth, j in chosen],
        torch.stack([truth.boxes[j] for truth, j in chosen]) if chosen else boxes,
        recipe.model,
    )
    values = full(masks.values)
    margin = values[:, INSIDE] - values[:, OUTSIDE]
    wanted = wanted.to(margin)
    losses = functional.binary_cross_entropy_with_logits(margin, wanted, reduction="none")
    counts = masks.shapes.prod(dim=1)
    roi = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    sums = losses.new_zeros(len(counts)).index_add(0, roi, losses)
    return sums / counts.clamp(min=1)


def full(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return half-precision outputs as float32; float64 stays, for checks of gradients."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def image_losses(
    losses: RoILosses, targets: RoITargets, recipe: Recipe, images: int
) -> tuple[Float[Tensor, " image"], Float[Tensor, " image"], Float[Tensor, " image"]]:
    """Return class, mask and box loss of each image from those of its RoIs, weighted.

    The class term is divided by the number of RoIs that count, mask and box terms by the number
    there should be, even if there are fewer, or as `loss_rois` and `mask_loss_norm`
    say. With OHEM only the RoIs of the highest weighted sum count; the choice
    itself carries no gradient.

    Official: symbols/resnet_v1_101_fcis.py:833-851, fcis/operator_py/box_annotator_ohem.py:41-74
    @309f6c9.
    """
    settings, rules = recipe.training.targets, recipe.training.losses
    weighted = losses.masks * rules.mask_loss_weight
    results = []
    for i in range(images):
        index = (targets.image_index == i).nonzero()[:, 0]
        if settings.ohem and len(index) > settings.rois:
            total = (losses.classes[index] + weighted[index] + losses.boxes[index]).detach()
            index = index[total.sort(descending=True, stable=True).indices[: settings.rois]]
        count = settings.rois if rules.loss_rois == "planned" else max(1, len(index))
        mask_count = count
        if rules.mask_loss_norm == "positives":
            mask_count = max(1, int((targets.labels[index] > 0).sum()))
        results.append(
            (
                losses.classes[index].sum() / max(1, len(index)),
                weighted[index].sum() / mask_count,
                losses.boxes[index].sum() / count,
            )
        )
    classes, masks, boxes = (torch.stack(term) for term in zip(*results, strict=True))
    return classes, masks, boxes
