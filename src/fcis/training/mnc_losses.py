"""The losses of MNC: those of a mask, a category and a box a RoI, in one pass or in two.

The second pass sees the boxes that the first one found, and its gradient moves them (Paper: 4.2;
reference: 10.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from fcis.core.boxes import box_area, clip_boxes, decode_boxes
from fcis.model.baselines.mnc import MNC, CascadeMaps, CascadeOutput, roi_masks
from fcis.ops.roi_warping import bounded_gradient
from fcis.recipe.types import Recipe
from fcis.structures import Proposals, RoIScores
from fcis.training.batch import TrainingBatch
from fcis.training.losses import (
    Losses,
    full,
    generators_of,
    rpn_terms,
    sampled_rois,
    score_losses,
)
from fcis.training.mask_targets import mask_targets
from fcis.training.targets import RoITargets

_PASSES = ("", "_2")  # what the names of a pass's terms end with
_MASK_OVERLAP = 0.5  # IoU of masks from which a box with its mask holds the object


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeLosses:
    """The loss terms of each RoI before weighting and normalising; masks and boxes of positives."""

    classes: Float[Tensor, " roi"]
    instances: Float[Tensor, " roi"]
    masks: Float[Tensor, " roi"]
    boxes: Float[Tensor, " roi"]

    def total(self, mask_weight: float) -> Float[Tensor, " roi"]:
        """Return the weighted sum of each RoI's terms."""
        return self.classes + self.instances + mask_weight * self.masks + self.boxes


def mnc_losses(model: MNC, batch: TrainingBatch, recipe: Recipe) -> Losses:
    """Return the losses of one batch.

    Classes and boxes are divided by the number of an image's RoIs, masks by that of its positive
    ones. The gradient of a RoI's coordinates goes on to what the box came from, bounded there.
    With OHEM the RoIs with the highest losses of the first pass make up both passes; those losses
    come from a forward pass of their own, which leaves nothing behind for the backward one.

    Official (MNC): models/VGG16/mnc_5stage/train.prototxt; there the sampled negatives are split
    by IoU, 85 % from 0.1 on; here the convention `negative_low` says which come first.
    """
    generators = generators_of(batch, recipe)
    output, maps = model(batch.images)
    terms = rpn_terms(output, batch, recipe, generators)
    traced = replace(output, deltas=bounded_gradient(output.deltas, delta_bound(batch, recipe)))
    rois = sampled_rois(model.rpn_proposals(traced, batch.images), batch, recipe, generators)
    if recipe.training.targets.ohem:
        rois = hardest_rois(model, maps, rois, batch, recipe)
    found: CascadeOutput | None = None
    for suffix in _PASSES[: recipe.model.detection.passes]:
        if found is not None:
            rois = refined_rois(rois, found, batch, recipe)
        rois = replace(rois, deltas=rois.deltas.detach())
        found = model.cascade(maps, rois.boxes, rois.image_index)
        losses = cascade_losses(found, rois, batch, recipe)
        for name, term in image_terms(losses, rois, recipe, len(batch.truths)).items():
            terms[name + suffix] = term
    return Losses(terms=terms)


def delta_bound(batch: TrainingBatch, recipe: Recipe) -> float:
    """Return the bound of the gradient in a delta, of losses that are means over a step's images.

    Each image has a share of them, and as large a share of the bound.
    """
    images = len(batch.truths) * recipe.training.accumulate
    return recipe.model.mnc.delta_bound / images


def refined_rois(
    rois: RoITargets, found: CascadeOutput, batch: TrainingBatch, recipe: Recipe
) -> RoITargets:
    """Return the boxes that a pass found as RoIs of the next one, all of them, and the objects'.

    They carry the gradient of boxes and deltas, that of the deltas bounded.

    Official (MNC): lib/pylayer/stage_bridge_layer.py:131-205.
    """
    bound = delta_bound(batch, recipe)
    boxes = clip_boxes(
        decode_boxes(rois.boxes, bounded_gradient(full(found.best_deltas()), bound)),
        batch.images.sizes.to(rois.boxes)[rois.image_index],
        keep_pixel=recipe.model.detection.box_clip == "last-pixel",
    )
    targets = replace(recipe.training.targets, ohem=True, truth_as_rois=True, fill_negatives=True)
    everything = replace(recipe, training=replace(recipe.training, targets=targets))
    proposals = Proposals(
        boxes=boxes, image_index=rois.image_index, objectness=torch.ones_like(boxes[:, 0])
    )
    # nothing is drawn, where all are taken
    unused = [torch.Generator() for _ in batch.truths]
    return sampled_rois(proposals, batch, everything, unused)


def hardest_rois(
    model: MNC, maps: CascadeMaps, rois: RoITargets, batch: TrainingBatch, recipe: Recipe
) -> RoITargets:
    """Return the RoIs of each image with the highest losses, as many as the recipe says.

    Paper: 2.3, Training (OHEM); 4.2, Table 2.
    """
    with torch.no_grad():
        found = model.cascade(maps, rois.boxes.detach(), rois.image_index)
        losses = cascade_losses(found, replace(rois, deltas=rois.deltas.detach()), batch, recipe)
        total = losses.total(recipe.training.losses.mask_loss_weight)
    chosen = []
    for image in range(len(batch.truths)):
        own = (rois.image_index == image).nonzero()[:, 0]
        order = total[own].argsort(descending=True, stable=True)
        chosen.append(own[order[: recipe.training.targets.rois]])
    index = torch.cat(chosen)
    return RoITargets(
        boxes=rois.boxes[index],
        image_index=rois.image_index[index],
        labels=rois.labels[index],
        objects=rois.objects[index],
        deltas=rois.deltas[index],
    )


def cascade_losses(
    found: CascadeOutput, rois: RoITargets, batch: TrainingBatch, recipe: Recipe
) -> CascadeLosses:
    """Return the loss terms of every RoI; mask and box terms are zero for negatives."""
    row = torch.arange(len(rois.labels), device=rois.labels.device)
    scores = RoIScores(class_logits=found.classes, box_deltas=found.deltas[row, rois.labels])
    classes, boxes = score_losses(scores, rois, recipe)
    positive = (rois.labels > 0).nonzero()[:, 0]
    logits = full(found.masks[positive])
    wanted = wanted_masks(logits, rois, positive, batch, recipe).to(logits)
    masks = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    labels = instance_labels(logits.detach(), wanted, rois, positive, batch, recipe)
    return CascadeLosses(
        classes=classes,
        instances=functional.cross_entropy(full(found.instances), labels, reduction="none"),
        masks=torch.zeros_like(classes).index_add(0, positive, masks.mean(dim=(1, 2))),
        boxes=boxes,
    )


def wanted_masks(
    logits: Float[Tensor, "positive row column"],
    rois: RoITargets,
    positive: Int[Tensor, " positive"],
    batch: TrainingBatch,
    recipe: Recipe,
) -> Float[Tensor, "positive row column"]:
    """Return 1 where a sample of a positive RoI lies inside its object, else 0."""
    boxes = rois.boxes[positive].detach()
    chosen = _objects(rois, positive)
    wanted = mask_targets(
        roi_masks(logits, boxes),
        boxes,
        [batch.truths[image].masks[number] for image, number in chosen],
        torch.stack([batch.truths[image].boxes[number] for image, number in chosen])
        if chosen
        else boxes,
        recipe.model,
    )
    return wanted.reshape(logits.shape)


def instance_labels(
    logits: Float[Tensor, "positive row column"],
    wanted: Float[Tensor, "positive row column"],
    rois: RoITargets,
    positive: Int[Tensor, " positive"],
    batch: TrainingBatch,
    recipe: Recipe,
) -> Int[Tensor, " roi"]:
    """Return the category of RoIs whose box and whose mask both fit their object, else 0.

    A mask fits from an IoU of 0.5 on, with all of the object, outside the box too.

    Official (MNC): lib/pylayer/mask_layer.py:68-83.
    """
    inside = logits.sigmoid() >= recipe.model.detection.mask_threshold
    sample = box_area(rois.boxes[positive].detach()) / max(1, inside[:1].numel())
    overlap = (inside * wanted).sum(dim=(1, 2)) * sample
    area = inside.sum(dim=(1, 2)) * sample
    whole = [
        batch.truths[image].masks[number].values.sum() for image, number in _objects(rois, positive)
    ]
    union = area + (torch.stack(whole).to(area) if whole else area) - overlap
    labels = rois.labels.clone()
    labels[positive[overlap < _MASK_OVERLAP * union]] = 0
    return labels


def _objects(rois: RoITargets, positive: Tensor) -> Sequence[tuple[int, int]]:
    """Return image and number of the objects of positive RoIs."""
    pairs = zip(rois.image_index[positive].tolist(), rois.objects[positive].tolist(), strict=True)
    return list(pairs)


def image_terms(
    losses: CascadeLosses, rois: RoITargets, recipe: Recipe, images: int
) -> dict[str, Float[Tensor, " image"]]:
    """Return the loss terms of each image from those of its RoIs, weighted."""
    terms: dict[str, list[Tensor]] = {}
    for image in range(images):
        own = rois.image_index == image
        count = own.sum().clamp(min=1)
        positive = (own & (rois.labels > 0)).sum().clamp(min=1)
        weight = recipe.training.losses.mask_loss_weight
        for name, value in (
            ("roi_class", losses.classes[own].sum() / count),
            ("roi_instance", losses.instances[own].sum() / count),
            ("roi_mask", weight * losses.masks[own].sum() / positive),
            ("roi_box", losses.boxes[own].sum() / count),
        ):
            terms.setdefault(name, []).append(value)
    return {name: torch.stack(values) for name, values in terms.items()}
