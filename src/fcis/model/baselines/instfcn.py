"""InstFCN: images to mask proposals of no category (Paper: 2.1, 4.1; reference: 10.3).

Position-sensitive maps say of each pixel whether it is inside an object, given its place in a
square window of one size; a second branch says which windows hold an object. Objects of other
sizes are found on resized images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from fcis.core.boxes import clip_boxes, large_enough
from fcis.model.backbones import build_backbone
from fcis.model.baselines.rfcn import initialise
from fcis.model.baselines.windows import WindowMaps, best_windows, read_windows, window_boxes
from fcis.model.rpn import suppress
from fcis.recipe.types import ModelRecipe
from fcis.structures import Features, ImageBatch

_FINER = 4  # samples per cell along an axis where the box of a mask is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskProposals:
    """Masks that may be instances, best first in each image.

    Attributes:
        boxes: tight boxes of the masks, in pixels of the resized images.
        image_index: the image of each.
        objectness: probability that its window holds an object.
        logits: inside scores on the cells of the window.
        windows: the boxes of the windows, in pixels of the resized images.
    """

    boxes: Float[Tensor, "roi 4"]
    image_index: Int[Tensor, " roi"]
    objectness: Float[Tensor, " roi"]
    logits: Float[Tensor, "roi m m"]
    windows: Float[Tensor, "roi 4"]


class InstFCN(nn.Module):
    """A backbone of its own, a branch for masks and one for objectness."""

    def __init__(self, recipe: ModelRecipe, *, fetch: bool = False) -> None:
        super().__init__()
        own = recipe.instfcn
        self.recipe = recipe
        self.backbone = build_backbone(recipe.backbone, fetch=fetch)
        channels, hidden = self.backbone.channels[1], own.window_channels
        self.mask_hidden = nn.Conv2d(channels, hidden, 1)
        self.mask_parts = nn.Conv2d(hidden, own.window_parts**2, 3, padding=1)
        self.object_hidden = nn.Conv2d(channels, hidden, 3, padding=1)
        self.object_score = nn.Conv2d(hidden, 1, 1)
        for layer in (self.mask_hidden, self.object_hidden):
            initialise(layer, recipe.head, hidden=True)
        for layer in (self.mask_parts, self.object_score):
            initialise(layer, recipe.head, hidden=False)

    def forward(self, batch: ImageBatch) -> WindowMaps:
        """Return scores of the windows of every cell, at the scale of the batch."""
        features = self.backbone(batch)
        hidden = functional.relu(self.mask_hidden(features.c5)) * _own_cells(features)
        score = self.object_score(functional.relu(self.object_hidden(features.c5)))
        return WindowMaps(
            parts=self.mask_parts(hidden).permute(0, 2, 3, 1),
            objectness=score[:, 0],
            cells=features.cells,
            stride=features.stride,
        )

    @torch.no_grad()
    def propose_masks(self, batch: ImageBatch) -> MaskProposals:
        """Return the best masks of all windows of all scales of the pyramid.

        Masks whose boxes overlap more than `proposal_nms` with a better one are dropped, and
        those that are nowhere above the mask threshold.
        """
        images, own = range(len(batch.sizes)), self.recipe.instfcn
        levels: list[list[MaskProposals]] = [[] for _ in images]
        for factor in own.pyramid:
            scaled = rescale(batch, [factor] * len(images), least=self.backbone.stride)
            maps = self(scaled)
            ratio = (batch.sizes / scaled.sizes).flip(1).repeat(1, 2)
            for image in images:
                levels[image].append(self._candidates(maps, image, ratio[image]))
        found = [self._chosen(joined_proposals(levels[image]), batch, image) for image in images]
        return joined_proposals(found)

    def _candidates(
        self, maps: WindowMaps, image: int, ratio: Float[Tensor, " 4"]
    ) -> MaskProposals:
        """Return the best windows of one scale as proposals without a box."""
        own = self.recipe.instfcn
        best = best_windows(maps, image, own.candidates)
        logits, _ = read_windows(maps, best, side=own.window_cells, k=own.window_parts)
        boxes = window_boxes(best.row, best.column, side=own.window_cells, stride=maps.stride)
        score = maps.objectness[image, best.row, best.column].float().sigmoid()
        return MaskProposals(
            boxes=torch.zeros_like(boxes),
            image_index=best.image,
            objectness=score,
            logits=logits.float(),
            windows=boxes * ratio.to(boxes),
        )

    def _chosen(self, found: MaskProposals, batch: ImageBatch, image: int) -> MaskProposals:
        """Return the best proposals of an image, of all its scales, with their boxes."""
        recipe, own = self.recipe, self.recipe.instfcn
        order = found.objectness.argsort(descending=True, stable=True)[: own.candidates]
        found = pick_proposals(found, order)
        boxes = tight_boxes(found, recipe.detection.mask_threshold)
        boxes = clip_boxes(
            boxes, batch.sizes[image].to(boxes).expand(len(boxes), 2), keep_pixel=False
        )
        keep = large_enough(boxes, recipe.rpn.min_size).nonzero()[:, 0]
        found = pick_proposals(replace(found, boxes=boxes), keep)
        at_equal = recipe.detection.nms_at_equal
        kept = suppress(found.boxes, found.objectness, own.proposal_nms, at_equal=at_equal)
        return pick_proposals(found, kept[: recipe.rpn.post_nms])


def rescale(batch: ImageBatch, factors: Sequence[float], *, least: int) -> ImageBatch:
    """Return the images resized again, each by its own factor.

    Args:
        batch: images in the top left corner of a canvas.
        factors: new over present size.
        least: pixels that a side has at least.
    """
    resized = []
    for i, (height, width) in enumerate(batch.sizes.tolist()):
        size = tuple(max(least, round(side * factors[i])) for side in (height, width))
        own = batch.pixels[i : i + 1, :, :height, :width]
        if size != (height, width):
            # half precision would round places as well as values
            full = own.to(torch.promote_types(own.dtype, torch.float32))
            own = functional.interpolate(
                full, size=size, mode="bilinear", align_corners=False, antialias=factors[i] < 1
            ).to(batch.pixels.dtype)
        resized.append(own[0])
    sizes = [(int(r.shape[1]), int(r.shape[2])) for r in resized]
    canvas = tuple(max((s[axis] for s in sizes), default=least) for axis in (0, 1))
    pixels = batch.pixels.new_zeros((len(resized), batch.pixels.shape[1], *canvas))
    for place, (height, width), image in zip(pixels, sizes, resized, strict=True):
        place[:, :height, :width] = image
    new = batch.sizes.new_tensor(sizes).reshape(-1, 2)
    return replace(
        batch, pixels=pixels, sizes=new, scales=batch.scales * (new / batch.sizes.to(batch.scales))
    )


def tight_boxes(found: MaskProposals, threshold: float) -> Float[Tensor, "roi 4"]:
    """Return the boxes of the masks within their windows, to a quarter of a cell.

    A mask that is nowhere at the threshold has the empty box (0, 0, 0, 0).
    """
    side = found.logits.shape[-1]
    place = (torch.arange(side * _FINER, device=found.logits.device) + 0.5) / _FINER - 0.5
    place = place.clamp(min=0, max=side - 1)[:, None]
    weights = (1 - (place - torch.arange(side, device=place.device)).abs()).clamp(min=0)
    inside = weights @ found.logits.sigmoid() @ weights.T >= threshold
    bounds = []
    for axis in (1, 2):  # columns are what is left when rows are gone
        used = inside.any(dim=axis)
        first = used.int().argmax(dim=1)
        last = side * _FINER - used.flip(1).int().argmax(dim=1)
        bounds.append((first, last))
    (left, right), (top, bottom) = bounds
    share = torch.stack([left, top, right, bottom], dim=1) / (side * _FINER)
    corner = found.windows[:, :2].repeat(1, 2)
    sides = (found.windows[:, 2:] - found.windows[:, :2]).repeat(1, 2)
    boxes = corner + share.to(sides) * sides
    return boxes * inside.flatten(1).any(dim=1, keepdim=True)


def pick_proposals(found: MaskProposals, index: Int[Tensor, " kept"]) -> MaskProposals:
    """Return the proposals of an index, in its order."""
    return MaskProposals(
        boxes=found.boxes[index],
        image_index=found.image_index[index],
        objectness=found.objectness[index],
        logits=found.logits[index],
        windows=found.windows[index],
    )


def joined_proposals(parts: Sequence[MaskProposals]) -> MaskProposals:
    """Return the proposals of several records, at least one, as one."""
    return MaskProposals(
        boxes=torch.cat([p.boxes for p in parts]),
        image_index=torch.cat([p.image_index for p in parts]),
        objectness=torch.cat([p.objectness for p in parts]),
        logits=torch.cat([p.logits for p in parts]),
        windows=torch.cat([p.windows for p in parts]),
    )


def _own_cells(features: Features) -> Float[Tensor, "image 1 h w"]:
    """Return 1 for the cells that belong to each image: a bias would fill the others."""
    h, w = features.c5.shape[2:]
    row = torch.arange(h, device=features.cells.device)[:, None]
    column = torch.arange(w, device=features.cells.device)
    limits = features.cells[:, :, None, None]
    return ((row < limits[:, 0]) & (column < limits[:, 1]))[:, None].to(features.c5)
