"""Votes on masks -> the weighted mean of each detection's voters, pixel by pixel.

Votes are counted in two ways with the same result. On a CPU each voter's mask is enlarged once,
in its own window, and added to each detection that it votes on, which keeps all in the cache; the
masks of similar size are enlarged together. Elsewhere few and large operations count: detections
of similar size go through together, and every vote is enlarged in its detection's window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from fcis.model.pasting import enlarge, foreground
from fcis.recipe.types import DetectionRecipe
from fcis.structures import MaskGrids, Selection

_CHUNK = 1 << 24  # values of enlarged masks held at once, all detections together
_CACHED = 1 << 18  # values of masks that are enlarged together on a CPU: about what a cache holds
_SMALL = 32  # px; smaller windows are not told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """All that a count of votes needs.

    Attributes:
        selection: detections and votes.
        grids: masks of the voters.
        windows: the box of whole pixels to which each grid is cut; it may be empty.
        grid_of: the grid that each vote uses.
        recipe: `mask_threshold`, `vote`, `foreground_at_equal`.
    """

    selection: Selection
    grids: MaskGrids
    windows: Int[Tensor, "grid 4"]
    grid_of: Int[Tensor, " vote"]
    recipe: DetectionRecipe

    def brought(
        self, grid: Int[Tensor, " n"], corner: Int[Tensor, "n 2"], size: tuple[int, int]
    ) -> Shaped[Tensor, "n h w"]:
        """Return what grids bring to a vote: masks in windows of a size, or their foreground."""
        masks = enlarge(self.grids, self.windows, grid, corner, size)
        if self.recipe.vote != "binary":
            return masks
        return foreground(masks, self.recipe, at_equal=self.recipe.foreground_at_equal)


Count = tuple[list[int], list[list[int]], Float[Tensor, "n h w"]]
"""Detections, the corner (left, top) of each, and the weighted means of their voters' masks."""


def union_windows(ballot: Ballot) -> Int[Tensor, "detection 4"]:
    """Return for each detection the pixels that any of its voters covers."""
    count = len(ballot.selection.rois)
    index = ballot.selection.voter_of[:, None].expand(-1, 2)
    boxes = ballot.windows[ballot.grid_of]
    start = boxes.new_zeros((count, 2)).scatter_reduce_(
        0, index, boxes[:, :2], "amin", include_self=False
    )
    end = boxes.new_zeros((count, 2)).scatter_reduce_(
        0, index, boxes[:, 2:], "amax", include_self=False
    )
    return torch.cat([start, end], dim=1)


def _chunks(selection: Selection, windows: Tensor) -> Iterator[Tensor]:
    """Split detections, smallest first, so that their padded votes stay below the bound."""
    votes = torch.bincount(selection.voter_of, minlength=len(windows)).tolist()
    sides = (windows[:, 2:] - windows[:, :2]).tolist()
    for chunk in _similar(sides, votes, _CHUNK):
        yield torch.tensor(chunk, device=windows.device)


def _similar(
    sides: Sequence[Sequence[int]], counts: Sequence[int], bound: int
) -> Iterator[list[int]]:
    """Split windows by size, so that those of a part, padded to one size, are few values.

    Args:
        sides: (width, height) of each window.
        counts: how many masks of its size each window needs.
        bound: the most values of the masks of a part; one window may have more.
    """
    pairs = np.asarray(sides, dtype=np.int64).reshape(-1, 2)
    steps = np.ceil(2 * np.log2(np.maximum(pairs, _SMALL))).astype(np.int64)
    sizes = (steps << np.array([8, 0])).sum(axis=1)  # one number for both
    levels = sizes.tolist()
    chunk: list[int] = []
    rows = columns = total = 0
    for i in sizes.argsort(kind="stable").tolist():
        new_rows, new_columns = max(rows, sides[i][1]), max(columns, sides[i][0])
        padded = new_rows * new_columns * (total + counts[i])
        if chunk and (padded > bound or levels[i] != levels[chunk[0]]):
            yield chunk
            chunk, total = [], 0
            new_rows, new_columns = sides[i][1], sides[i][0]
        chunk.append(i)
        total += counts[i]
        rows, columns = new_rows, new_columns
    if chunk:
        yield chunk


def count_together(ballot: Ballot) -> Iterator[Count]:
    """Yield detections of similar size, in their windows and zero beyond."""
    unions = union_windows(ballot)
    for chunk in _chunks(ballot.selection, unions):
        sides = (unions[chunk, 2:] - unions[chunk, :2]).amax(dim=0)
        # voters without a pixel leave none
        height, width = sides.clamp(min=1).flip(0).tolist()
        mean = _mean_of_votes(ballot, unions, chunk, (height, width))
        yield chunk.tolist(), unions[chunk, :2].tolist(), mean


def _mean_of_votes(
    ballot: Ballot, unions: Tensor, chunk: Tensor, size: tuple[int, int]
) -> Float[Tensor, "detection height width"]:
    """Return the weighted mean of the voters' masks in each detection's window."""
    selection = ballot.selection
    position = torch.full((len(unions),), -1, device=unions.device)
    position[chunk] = torch.arange(len(chunk), device=unions.device)
    vote = (position[selection.voter_of] >= 0).nonzero()[:, 0]
    mean = ballot.grids.values.new_zeros((len(chunk), *size))
    # one detection may have more votes than fit at once
    for part in vote.split(max(1, _CHUNK // max(1, size[0] * size[1]))):
        corner = unions[selection.voter_of[part], :2]
        masks = ballot.brought(ballot.grid_of[part], corner, size)
        masks = masks * selection.weights[part, None, None].to(mean)
        mean.index_add_(0, position[selection.voter_of[part]], masks)
    return mean


def count_in_turn(ballot: Ballot) -> Iterator[Count]:
    """Yield each detection alone, cut to its foreground, unless it has none."""
    selection = ballot.selection
    order = selection.voter_of.argsort(stable=True)
    used = ballot.grid_of[order].tolist()
    weights = selection.weights[order].to(ballot.grids.values).numpy()
    boxes, unions = ballot.windows.tolist(), union_windows(ballot).tolist()
    mean, current, corner = np.zeros((0, 0), dtype=weights.dtype), -1, (0, 0)
    masks: dict[int, Shaped[np.ndarray, "h w"]] = {}
    ends = {part.start: part.stop for part in _parts(used, boxes)}
    for vote, detection in enumerate(selection.voter_of[order].tolist()):
        if vote in ends:
            masks = _enlarged(ballot, sorted(set(used[vote : ends[vote]])))
        left, top, right, bottom = unions[detection]
        if detection != current:
            yield from _reached(ballot, current, corner, mean)
            mean, current = np.zeros((bottom - top, right - left), dtype=mean.dtype), detection
            corner = (left, top)
        mask = masks.get(used[vote])
        if mask is not None:
            x0, y0, x1, y1 = boxes[used[vote]]
            window = mean[y0 - top : y1 - top, x0 - left : x1 - left]
            window += mask * weights[vote]
    yield from _reached(ballot, current, corner, mean)


def _reached(
    ballot: Ballot, detection: int, corner: Sequence[int], mean: Float[np.ndarray, "h w"]
) -> Iterator[Count]:
    """Yield one detection cut to its foreground, unless it has none."""
    bits = foreground(mean, ballot.recipe, at_equal=ballot.recipe.foreground_at_equal)
    rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    if len(rows):
        cut = mean[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        place = [corner[0] + int(columns[0]), corner[1] + int(rows[0])]
        yield [detection], [place], torch.from_numpy(np.ascontiguousarray(cut))[None]


def _parts(used: Sequence[int], boxes: Sequence[Sequence[int]]) -> Iterator[range]:
    """Split votes, in order, so that the masks of each part's grids stay below the bound."""
    start = total = 0
    held: set[int] = set()
    for vote, grid in enumerate(used):
        x0, y0, x1, y1 = boxes[grid]
        if grid in held:
            continue
        area = max(0, x1 - x0) * max(0, y1 - y0)
        if held and total + area > _CHUNK:
            yield range(start, vote)
            start, total = vote, 0
            held.clear()
        held.add(grid)
        total += area
    yield range(start, len(used))


def _enlarged(ballot: Ballot, wanted: Sequence[int]) -> dict[int, Shaped[np.ndarray, "h w"]]:
    """Return what each grid brings to a vote, in its own window; nothing for empty windows."""
    boxes = ballot.windows[list(wanted)]
    sides = (boxes[:, 2:] - boxes[:, :2]).tolist()
    seen = [n for n, (width, height) in enumerate(sides) if width > 0 and height > 0]
    masks: dict[int, Shaped[np.ndarray, "h w"]] = {}
    for part in _similar([sides[n] for n in seen], [1] * len(seen), _CACHED):
        chunk = [seen[n] for n in part]
        size = max(sides[n][1] for n in chunk), max(sides[n][0] for n in chunk)
        index = torch.tensor([wanted[n] for n in chunk])
        pixels = ballot.brought(index, boxes[chunk, :2], size).numpy()
        for n, mask in zip(chunk, pixels, strict=True):
            width, height = sides[n]
            masks[wanted[n]] = mask[:height, :width]
    return masks
