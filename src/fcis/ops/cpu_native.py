"""The cells that RoIs cover, as rows of a table: what `native` sampling reads in torch operations.

The table has a row for each (image, y, x, part), in this order. A row of a RoI's cells is a
`line`; what an index has of its line and of its column is computed once for each of these and
added up for each cell, because whole-number divisions of every cell would take most of the time.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from fcis.ops.roi_sampling import AssemblyRule, RoIs, native_range
from fcis.structures import INSIDE, OUTSIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """The lines of all RoIs, RoI after RoI from top to bottom.

    Attributes:
        roi: of each line.
        row: of all images' rows one behind another, image * h + y.
        base: what the line contributes to the table rows of its cells.
        widths: cells of each line.
        starts: where the columns of its RoI begin.
        columns: what each column of each RoI contributes.
        counts: cells that each RoI covers, at least 1.
    """

    roi: Int[Tensor, " line"]
    row: Int[Tensor, " line"]
    base: Int[Tensor, " line"]
    widths: Int[Tensor, " line"]
    starts: Int[Tensor, " line"]
    columns: Int[Tensor, " column"]
    counts: Int[Tensor, " roi"]

    def cells(self) -> tuple[Int[Tensor, " position"], Int[Tensor, " position"]]:
        """Return table row and RoI of each cell, line after line."""
        line = torch.repeat_interleave(self.widths)
        shift = self.starts - (self.widths.cumsum(0) - self.widths)
        column = torch.arange(len(line), device=line.device) + shift[line]
        return self.base[line] + self.columns[column], self.roi[line]

    def within(self, start: int, stop: int) -> "Lines":
        """Return the lines of some of the images' rows."""
        here = ((self.row >= start) & (self.row < stop)).nonzero().squeeze(1)
        return replace(
            self,
            roi=self.roi[here],
            row=self.row[here],
            base=self.base[here],
            widths=self.widths[here],
            starts=self.starts[here],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Consecutive table rows, and the covered cells among them, RoI after RoI.

    Attributes:
        start: first row of the table.
        stop: the one after the last.
        index: row of each covered cell, counted from `start`.
        roi: the RoI that covers it.
    """

    start: int
    stop: int
    index: Int[Tensor, " position"]
    roi: Int[Tensor, " position"]

    def sums(
        self,
        table: Float[Tensor, "row side class"],
        buffer: Float[Tensor, "most class"],
        rois: int,
    ) -> Float[Tensor, "{rois} class"]:
        """Return each RoI's sum of the greater of both sides, which the buffer holds meanwhile."""
        rows, greater = table[self.start : self.stop], buffer[: self.stop - self.start]
        torch.maximum(rows[:, OUTSIDE], rows[:, INSIDE], out=greater)
        counts = self.roi.bincount(minlength=rois)
        return F.embedding_bag(self.index, greater, counts.cumsum(0) - counts, mode="sum")

    def transposed_sums(
        self, values: Float[Tensor, "roi class"]
    ) -> tuple[Int[Tensor, " touched"], Float[Tensor, "touched class"]]:
        """Return the table rows that are covered, and the sum over the RoIs that cover each."""
        rows, offsets, order = by_row(self.index)
        return rows + self.start, F.embedding_bag(self.roi[order], values, offsets, mode="sum")


def native_lines(size: Sequence[int], rois: RoIs, rule: AssemblyRule) -> Lines:
    """Return what RoIs read of maps of a size (image, h, w, cell, ...).

    Cell i of the n that a RoI covers along an axis belongs to part floor((i + 0.5) k / n).

    Paper: 2.2.
    """
    _, h, w, parts, *_ = size
    k = math.isqrt(parts)
    (top, rows), (left, columns) = (native_range(rois, rule, axis) for axis in (0, 1))
    roi, line = _numbered(rows)
    column_roi, column = _numbered(columns)
    row = rois.image_index.long()[roi] * h + top[roi] + line
    return Lines(
        roi=roi,
        row=row,
        base=(row * w * k + _part(line, rows[roi], k)) * k,
        widths=columns[roi],
        starts=(columns.cumsum(0) - columns)[roi],
        columns=(left[column_roi] + column) * parts + _part(column, columns[column_roi], k),
        counts=rows * columns,
    )


def block_rows(size: Sequence[int], numbers: int) -> int:
    """Return how many of the images' rows have about so many scores of one side, at least 1."""
    _, _, w, parts, _, classes = size
    return max(1, numbers // (w * parts * classes))


def blocks(size: Sequence[int], lines: Lines, rows: int) -> Iterator[Block]:
    """Yield the table in blocks of so many of the images' rows, without those nobody covers."""
    images, h, w, parts, *_ = size
    unit = w * parts
    for start in range(0, images * h, rows):
        stop = min(start + rows, images * h)
        here = lines.within(start, stop)
        if len(here.roi):
            index, roi = here.cells()
            yield Block(start=start * unit, stop=stop * unit, index=index - start * unit, roi=roi)


def by_row(
    index: Int[Tensor, " tap"],
) -> tuple[Int[Tensor, " touched"], Int[Tensor, " touched"], Int[Tensor, " tap"]]:
    """Return the rows that taps read, each once, where its taps begin, and the taps so sorted."""
    ordered, order = index.sort(stable=True)
    rows, counts = ordered.unique_consecutive(return_counts=True)
    return rows.long(), counts.cumsum(0) - counts, order


def _numbered(counts: Int[Tensor, " roi"]) -> tuple[Int[Tensor, " item"], Int[Tensor, " item"]]:
    """Return for each of so many items a RoI its RoI and its number within it."""
    roi = torch.repeat_interleave(counts)
    return roi, torch.arange(len(roi), device=roi.device) - (counts.cumsum(0) - counts)[roi]


def _part(number: Int[Tensor, " item"], of: Int[Tensor, " item"], k: int) -> Int[Tensor, " item"]:
    """Return floor((number + 0.5) k / of) in whole numbers."""
    return torch.div((2 * number + 1) * k, 2 * of, rounding_mode="floor")
