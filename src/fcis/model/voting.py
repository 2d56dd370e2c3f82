"""From scored RoIs to instances: suppression, mask voting, pasting. Everything in one image.

The RoIs that overlap a kept box vote on its mask, pixel by pixel, with the weight of their
score for its category (Paper: 2.3, Inference; reference: 5.2, 5.3). All boxes here are in
pixels of the original image.

Masks are enlarged as products of matrices: `rows @ grid @ columns.T`, where `rows` holds the
bilinear weights of a window's pixel rows. Detections of similar size go through together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fcis.boxes import box_iou
from fcis.conventions import Conventions
from fcis.masks import MaskCrop
from fcis.model.rpn import suppress
from fcis.recipe import DetectionRecipe

_CHUNK = 1 << 24  # values of enlarged masks held at once
_LEAST_SPAN = 1e-6  # px


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Kept detections and who votes on them, for one image.

    Attributes:
        rois: the RoI that each detection comes from, best score first.
        labels: 1..C.
        scores: probability of that category.
        voter_of: for each vote, which detection it is for.
        voters: for each vote, the RoI that votes.
        weights: of the votes; those for one detection sum to 1.
    """

    rois: Int[Tensor, " detection"]
    labels: Int[Tensor, " detection"]
    scores: Float[Tensor, " detection"]
    voter_of: Int[Tensor, " vote"]
    voters: Int[Tensor, " vote"]
    weights: Float[Tensor, " vote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskGrids:
    """Inside probabilities of voters, one grid each.

    Attributes:
        values: zero beyond a grid's own shape.
        shapes: (rows, columns) of each grid.
        extents: the box that a grid covers evenly.
        windows: the box of whole pixels to which it is cut; it may be empty.
    """

    values: Float[Tensor, "grid row column"]
    shapes: Int[Tensor, "grid 2"]
    extents: Float[Tensor, "grid 4"]
    windows: Int[Tensor, "grid 4"]


def select(
    boxes: Float[Tensor, "roi 4"],
    probabilities: Float[Tensor, "roi class"],
    recipe: DetectionRecipe,
    conventions: Conventions,
) -> Selection:
    """Return the detections of one image and the votes on their masks.

    Args:
        boxes: in pixels of the original image.
        probabilities: of all categories, background first.
        recipe: `nms`, `min_score`, `max_detections`, `merge_iou`.
        conventions: `assignment`, `nms_at_equal`, `merge_at_equal`.

    Official: lib/mask/mask_transform.py:140-160, 177-180 @309f6c9, which keeps more than
    `max_detections` where the last ones' scores are equal.
    """
    if conventions.assignment == "best-category":
        rois, labels = _best_category(boxes, probabilities, recipe, conventions)
    else:
        rois, labels = _each_category(boxes, probabilities, recipe, conventions)
    scores, order = probabilities[rois, labels].sort(descending=True, stable=True)
    order = order[: recipe.max_detections]
    rois, labels, scores = rois[order], labels[order], scores[: recipe.max_detections]
    overlap = box_iou(boxes[rois], boxes)
    limit = recipe.merge_iou
    supports = overlap >= limit if conventions.merge_at_equal else overlap > limit
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
    boxes: Tensor, probabilities: Tensor, recipe: DetectionRecipe, conventions: Conventions
) -> tuple[Tensor, Tensor]:
    """Suppress within each category; RoIs below the least score cannot suppress a better one."""
    rois, labels = [], []
    candidates = probabilities >= recipe.min_score
    for label in (candidates[:, 1:].any(dim=0).nonzero()[:, 0] + 1).tolist():
        index = candidates[:, label].nonzero()[:, 0]
        at_equal = conventions.nms_at_equal
        kept = suppress(boxes[index], probabilities[index, label], recipe.nms, at_equal=at_equal)
        rois.append(index[kept])
        labels.append(torch.full_like(kept, label))
    empty = torch.zeros(0, dtype=torch.int64, device=boxes.device)
    return torch.cat([empty, *rois]), torch.cat([empty, *labels])


def _best_category(
    boxes: Tensor, probabilities: Tensor, recipe: DetectionRecipe, conventions: Conventions
) -> tuple[Tensor, Tensor]:
    """Suppress over all categories, then give each RoI that remains its best category."""
    scores, labels = probabilities[:, 1:].max(dim=1)
    index = (scores >= recipe.min_score).nonzero()[:, 0]
    at_equal = conventions.nms_at_equal
    kept = index[suppress(boxes[index], scores[index], recipe.nms, at_equal=at_equal)]
    return kept, labels[kept] + 1


def voting_pairs(
    selection: Selection, probabilities: Float[Tensor, "roi class"], conventions: Conventions
) -> tuple[Int[Tensor, " grid"], Int[Tensor, " grid"], Int[Tensor, " vote"]]:
    """Return the RoIs and categories whose masks are needed, and which of them each vote uses.

    No pair comes twice. `mask_category` says whose mask a voter brings.

    Official: symbols/resnet_v1_101_fcis.py:823-824 @309f6c9 (`best-foreground`).
    """
    if conventions.mask_category == "voted":
        category = selection.labels[selection.voter_of]
    else:
        first = 0 if conventions.mask_category == "best-any" else 1
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
    grid_of: Int[Tensor, " vote"],
    recipe: DetectionRecipe,
    conventions: Conventions,
    *,
    grid_size: int,
) -> list[MaskCrop | None]:
    """Return the mask of each detection, or None where no pixel reaches the threshold.

    Args:
        selection: detections and votes.
        grids: masks of the voters.
        grid_of: the grid that each vote uses.
        recipe: `mask_threshold`.
        conventions: `vote`, `store_grid`, `foreground_at_equal`, `stored_at_equal`.
        grid_size: samples a side of a stored mask.

    Official: lib/mask/mask_transform.py:107-126, 162-187 @309f6c9, the CPU path; when a mask is
    stored, samples near the edge of its tight box repeat the edge, where the GPU path reads on.
    Where nothing reaches the threshold the paths differ; here the detection is dropped, as on
    the GPU, which drops masks one pixel wide or high besides.
    """
    masks: list[MaskCrop | None] = [None] * len(selection.rois)
    windows = _union_windows(selection, grids, grid_of)
    for chunk in _chunks(selection, windows):
        sides = (windows[chunk, 2:] - windows[chunk, :2]).amax(dim=0)
        # voters without a pixel leave none
        height, width = sides.clamp(min=1).flip(0).tolist()
        mean = _mean_of_votes(
            selection, grids, grid_of, windows, chunk, (height, width), recipe, conventions
        )
        bits = _foreground(mean, recipe, at_equal=conventions.foreground_at_equal)
        if conventions.store_grid:
            bits = _through_grid(mean, bits, grid_size, recipe, conventions)
        corners, pixels = windows[chunk, :2].tolist(), bits.cpu().numpy()
        for detection, (left, top), mask in zip(chunk.tolist(), corners, pixels, strict=True):
            masks[detection] = _crop(mask, left=left, top=top)
    return masks


def _union_windows(selection: Selection, grids: MaskGrids, grid_of: Tensor) -> Tensor:
    """Return for each detection the pixels that any of its voters covers."""
    count = len(selection.rois)
    index = selection.voter_of[:, None].expand(-1, 2)
    boxes = grids.windows[grid_of]
    start = boxes.new_zeros((count, 2)).scatter_reduce_(
        0, index, boxes[:, :2], "amin", include_self=False
    )
    end = boxes.new_zeros((count, 2)).scatter_reduce_(
        0, index, boxes[:, 2:], "amax", include_self=False
    )
    return torch.cat([start, end], dim=1)


def _chunks(selection: Selection, windows: Tensor) -> Iterator[Tensor]:
    """Split detections, smallest first, so that their padded votes stay below the bound."""
    if len(windows) == 0:
        return
    votes = torch.bincount(selection.voter_of, minlength=len(windows)).tolist()
    sides = (windows[:, 2:] - windows[:, :2]).tolist()
    order = sorted(range(len(sides)), key=lambda i: (max(sides[i]), i))
    chunk: list[int] = []
    rows = columns = total = 0
    for i in order:
        new_rows, new_columns = max(rows, sides[i][1]), max(columns, sides[i][0])
        padded = new_rows * new_columns * (total + votes[i])
        wasteful = chunk and new_rows * new_columns > 2 * max(64, *sides[chunk[0]]) ** 2
        if chunk and (padded > _CHUNK or wasteful):
            yield torch.tensor(chunk, device=windows.device)
            chunk, total = [], 0
            new_rows, new_columns = sides[i][1], sides[i][0]
        chunk.append(i)
        total += votes[i]
        rows, columns = new_rows, new_columns
    yield torch.tensor(chunk, device=windows.device)


def _mean_of_votes(
    selection: Selection,
    grids: MaskGrids,
    grid_of: Tensor,
    windows: Tensor,
    chunk: Tensor,
    size: tuple[int, int],
    recipe: DetectionRecipe,
    conventions: Conventions,
) -> Float[Tensor, "detection height width"]:
    """Return the weighted mean of the voters' masks in each detection's window."""
    position = torch.full((len(windows),), -1, device=windows.device)
    position[chunk] = torch.arange(len(chunk), device=windows.device)
    vote = (position[selection.voter_of] >= 0).nonzero()[:, 0]
    mean = grids.values.new_zeros((len(chunk), *size))
    # one detection may have more votes than fit at once
    for part in vote.split(max(1, _CHUNK // max(1, size[0] * size[1]))):
        grid = grid_of[part]
        corner = windows[selection.voter_of[part], :2]
        enlarged = _enlarge(grids, grid, corner, size)
        if conventions.vote == "binary":
            at_equal = conventions.foreground_at_equal
            enlarged = _foreground(enlarged, recipe, at_equal=at_equal).to(enlarged)
        enlarged *= selection.weights[part, None, None]
        mean.index_add_(0, position[selection.voter_of[part]], enlarged)
    return mean


def _enlarge(
    grids: MaskGrids, grid: Tensor, corner: Tensor, size: tuple[int, int]
) -> Float[Tensor, "vote height width"]:
    """Return grids enlarged to pixels, zero outside each grid's own window."""
    axes = []
    for axis, (length, side) in enumerate(zip(size[::-1], (1, 0), strict=True)):
        pixel = corner[:, axis, None] + torch.arange(length, device=corner.device)
        extent = grids.extents[grid]
        count = grids.shapes[grid, side, None].to(extent)
        start, end = extent[:, axis, None], extent[:, axis + 2, None]
        # a box without width covers no pixel centre, but must not divide by zero
        span = (end - start).clamp(min=_LEAST_SPAN)
        place = (pixel + 0.5 - start) / span * count - 0.5
        weights = _bilinear(place, count, grids.values.shape[1 + side])
        window = grids.windows[grid]
        own = (pixel >= window[:, axis, None]) & (pixel < window[:, axis + 2, None])
        axes.append((weights * own[..., None]).to(grids.values))
    columns, rows = axes
    return rows @ grids.values[grid] @ columns.transpose(1, 2)


def _bilinear(place: Tensor, count: Tensor, length: int) -> Float[Tensor, "n sample point"]:
    """Return the weights of `length` points for samples at fractional places, edges repeated."""
    place = torch.minimum(place.clamp(min=0), count - 1)[..., None]
    return (1 - (place - torch.arange(length, device=place.device)).abs()).clamp(min=0)


def _foreground(values: Tensor, recipe: DetectionRecipe, *, at_equal: bool) -> Tensor:
    threshold = recipe.mask_threshold
    return values >= threshold if at_equal else values > threshold


def _through_grid(
    mean: Float[Tensor, "detection height width"],
    bits: Bool[Tensor, "detection height width"],
    grid_size: int,
    recipe: DetectionRecipe,
    conventions: Conventions,
) -> Bool[Tensor, "detection height width"]:
    """Store each mask with grid_size x grid_size samples of its tight box and enlarge it again."""
    shrink, grow = [], []
    for axis in (1, 2):
        length = mean.shape[axis]
        used = bits.any(dim=3 - axis)
        start = used.int().argmax(dim=1)[:, None]
        end = length - used.flip(1).int().argmax(dim=1)[:, None]
        sample = torch.arange(grid_size, device=mean.device) + 0.5
        place = start + sample * (end - start) / grid_size - 0.5
        place = torch.minimum(torch.maximum(place, start.to(place)), end.to(place) - 1)
        shrink.append(_bilinear(place, mean.new_full((1, 1), length), length))
        pixel = torch.arange(length, device=mean.device)[None]
        back = (pixel + 0.5 - start) / (end - start) * grid_size - 0.5
        own = (pixel >= start) & (pixel < end)
        grow.append(_bilinear(back, mean.new_full((1, 1), grid_size), grid_size) * own[..., None])
    stored = shrink[0] @ mean @ shrink[1].transpose(1, 2)
    enlarged = grow[0] @ stored @ grow[1].transpose(1, 2)
    at_equal = conventions.foreground_at_equal and conventions.stored_at_equal
    reached = _foreground(enlarged, recipe, at_equal=at_equal)
    return reached & bits.any(dim=(1, 2), keepdim=True)


def _crop(bits: Bool[np.ndarray, "h w"], *, left: int, top: int) -> MaskCrop | None:
    """Return a window's mask cut to its tight box, or None if it is empty."""
    rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    if len(rows) == 0:
        return None
    tight = bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return MaskCrop(top=int(top + rows[0]), left=int(left + columns[0]), bits=tight.copy())
