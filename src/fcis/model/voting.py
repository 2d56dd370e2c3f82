"""From scored RoIs to instances: suppression, mask voting, pasting. Everything in one image.

The RoIs that overlap a kept box vote on its mask, pixel by pixel, with the weight of their
score for its category (Paper: 2.3, Inference; reference: 5.2, 5.3). All boxes here are in
pixels of the original image.
"""

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from fcis.core.boxes import box_iou
from fcis.core.masks import MaskCrop
from fcis.model.pasting import foreground, through_grid, tight_crop
from fcis.model.rpn import suppress
from fcis.model.vote_counting import Ballot, count_in_turn, count_together
from fcis.recipe.types import DetectionRecipe
from fcis.structures import MaskGrids, Selection

_CANDIDATES = 2  # times `max_detections` that are voted on where masks decide which of them stay


def select(
    boxes: Float[Tensor, "roi 4"],
    probabilities: Float[Tensor, "roi class"],
    recipe: DetectionRecipe,
) -> Selection:
    """Return the detections of one image and the votes on their masks.

    Args:
        boxes: in pixels of the original image.
        probabilities: of all categories, background first.
        recipe: `nms`, `min_score`, `max_detections`, `merge_iou`, `mask_suppression`,
            `assignment`, `nms_at_equal`, `merge_at_equal`.

    Official: lib/mask/mask_transform.py:140-160, 177-180 @309f6c9, which keeps more than
    `max_detections` where the last ones' scores are equal.
    """
    if recipe.assignment == "best-category":
        rois, labels = _best_category(boxes, probabilities, recipe)
    else:
        rois, labels = _each_category(boxes, probabilities, recipe)
    scores, order = probabilities[rois, labels].sort(descending=True, stable=True)
    most = recipe.max_detections * (1 if recipe.mask_suppression == "none" else _CANDIDATES)
    order = order[:most]
    rois, labels, scores = rois[order], labels[order], scores[:most]
    overlap = box_iou(boxes[rois], boxes)
    limit = recipe.merge_iou
    supports = overlap >= limit if recipe.merge_at_equal else overlap > limit
    supports[torch.arange(len(rois), device=boxes.device), rois] = True
    voter_of, voters = supports.nonzero(as_tuple=True)
    weights = probabilities[voters, labels[voter_of]]
    total = torch.zeros_like(scores).index_add_(0, voter_of, weights)
    return Selection(
        rois=rois,
        labels=labels,
        scores=scores,
        voter_of=voter_of,
        voters=voters,
        weights=weights / total[voter_of],
    )


def _each_category(
    boxes: Tensor, probabilities: Tensor, recipe: DetectionRecipe
) -> tuple[Tensor, Tensor]:
    """Suppress within each category; RoIs below the least score cannot suppress a better one."""
    candidates = probabilities[:, 1:] >= recipe.min_score
    labels, rois = candidates.T.nonzero(as_tuple=True)
    labels = labels + 1
    candidate_boxes, scores = boxes[rois], probabilities[rois, labels]
    kept, start = [rois[:0]], 0
    for count in candidates.sum(dim=0).tolist():
        if count:
            own = slice(start, start + count)
            at_equal = recipe.nms_at_equal
            best = suppress(candidate_boxes[own], scores[own], recipe.nms, at_equal=at_equal)
            kept.append(best + start)
            start += count
    order = torch.cat(kept)
    return rois[order], labels[order]


def _best_category(
    boxes: Tensor, probabilities: Tensor, recipe: DetectionRecipe
) -> tuple[Tensor, Tensor]:
    """Suppress over all categories, then give each RoI that remains its best category."""
    scores, labels = probabilities[:, 1:].max(dim=1)
    index = (scores >= recipe.min_score).nonzero()[:, 0]
    at_equal = recipe.nms_at_equal
    kept = index[suppress(boxes[index], scores[index], recipe.nms, at_equal=at_equal)]
    return kept, labels[kept] + 1


def voting_pairs(
    selection: Selection, probabilities: Float[Tensor, "roi class"], recipe: DetectionRecipe
) -> tuple[Int[Tensor, " grid"], Int[Tensor, " grid"], Int[Tensor, " vote"]]:
    """Return the RoIs and categories whose masks are needed, and which of them each vote uses.

    No pair comes twice. `mask_category` says whose mask a voter brings.

    Official: symbols/resnet_v1_101_fcis.py:823-824 @309f6c9 (`best-foreground`).
    """
    if recipe.mask_category == "voted":
        category = selection.labels[selection.voter_of]
    else:
        first = 0 if recipe.mask_category == "best-any" else 1
        category = (probabilities[:, first:].argmax(dim=1) + first)[selection.voters]
    classes = probabilities.shape[1]
    pairs, grid_of = torch.unique(selection.voters * classes + category, return_inverse=True)
    return pairs // classes, pairs % classes, grid_of


def whole_pixels(boxes: Float[Tensor, "n 4"], *, by_edges: bool = False) -> Int[Tensor, "n 4"]:
    """Return boxes of whole pixels, halves rounded to even.

    Args:
        boxes: any frame.
        by_edges: round both edges, as ChainerCV does, so that a thin box may have no pixel left;
            without, round first and last covered pixel, as the release does.

    Official: lib/mask/mask_transform.py:107-112 @309f6c9. ChainerCV: experimental/links/model/
    fcis/utils/mask_voting.py:19 @7159616.
    """
    if by_edges:
        return boxes.round().long()
    start = boxes[:, :2].round()
    end = torch.maximum((boxes[:, 2:] - 1).round(), start) + 1
    return torch.cat([start, end], dim=1).long()


def vote(
    selection: Selection,
    grids: MaskGrids,
    windows: Int[Tensor, "grid 4"],
    grid_of: Int[Tensor, " vote"],
    recipe: DetectionRecipe,
    *,
    grid_size: int,
    together: bool | None = None,
) -> tuple[list[MaskCrop | None], Float32[np.ndarray, " detection"] | None]:
    """Return the mask of each detection, and how certain its pixels are.

    A mask is None where no pixel reaches the threshold. The certainty is the mean inside
    probability of the pixels that do, 0 where none does; None unless `mask_score` asks for it.

    Args:
        selection: detections and votes.
        grids: masks of the voters, extents in pixels of the original image.
        windows: the box of whole pixels to which each grid is cut.
        grid_of: the grid that each vote uses.
        recipe: `mask_threshold`, `mask_score`, `vote`, `store_grid`, `foreground_at_equal`,
            `stored_at_equal`.
        grid_size: samples a side of a stored mask.
        together: count the votes of many detections at once; None: where grids are not on a CPU.

    Official: lib/mask/mask_transform.py:107-126, 162-187 @309f6c9, the CPU path; when a mask is
    stored, samples near the edge of its tight box repeat the edge, where the GPU path reads on.
    Where nothing reaches the threshold the paths differ; here the detection is dropped, as on
    the GPU, which drops masks one pixel wide or high besides.
    """
    ballot = Ballot(
        selection=selection,
        grids=grids,
        windows=windows,
        grid_of=grid_of,
        recipe=recipe,
    )
    if together is None:
        together = grids.values.device.type != "cpu"
    counted = count_together(ballot) if together else count_in_turn(ballot)
    masks: list[MaskCrop | None] = [None] * len(selection.rois)
    certainty = np.zeros(len(masks), dtype=np.float32) if recipe.mask_score else None
    for detections, corners, mean in counted:
        bits = foreground(mean, recipe, at_equal=recipe.foreground_at_equal)
        if certainty is not None:
            sure = (mean * bits).sum(dim=(1, 2)) / bits.sum(dim=(1, 2)).clamp(min=1)
            certainty[list(detections)] = sure.float().cpu().numpy()
        if recipe.store_grid:
            bits = through_grid(mean, bits, grid_size, recipe)
        pixels = bits.cpu().numpy()
        for detection, (left, top), mask in zip(detections, corners, pixels, strict=True):
            masks[detection] = tight_crop(mask, left=left, top=top)
    return masks, certainty
