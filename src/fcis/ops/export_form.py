"""The operators in gathers and arithmetic alone, for export to machines that do not know them.

Each bin reads a fixed number of cells, those beyond its span with weight 0, so that nothing
depends on values for its shape. The assembled bins of all RoIs lie in memory at once: 86 MB for
300 RoIs and 81 classes. `native` has no such form, because its RoIs differ in shape.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch._ops import OpOverload

from fcis.ops.assembly import OPERATORS, Argument, keywords
from fcis.ops.bin_spans import AxisSpans, axis_spans
from fcis.ops.roi_sampling import AssemblyRule, RoIs, mask_extents
from fcis.structures import RoIMasks


def class_scores(
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    rule: AssemblyRule,
    *,
    taps: int | None = None,
) -> Float[Tensor, "roi class"]:
    """Return the mean over each RoI's positions of the greater of both sides.

    Args:
        maps: of a batch of images.
        rois: on them.
        rule: how to sample.
        taps: cells that a bin reads along an axis at most; without it what RoIs that stay within
            the canvas need. Where `pool` would read more, for a greater RoI, the rest is lost.

    Raises:
        ValueError: the rule is `native`.

    Paper: 2.2.
    """
    table = maps.to(_working_type(maps)).flatten(0, 3)
    bins = _assemble(table.flatten(1), maps.shape, rois, rule, taps)
    outside, inside = bins.unflatten(2, table.shape[1:]).unbind(dim=2)
    return torch.maximum(outside, inside).mean(dim=1).to(maps.dtype)


def mean_deltas(
    maps: Float[Tensor, "image h w cell 4"],
    rois: RoIs,
    rule: AssemblyRule,
    *,
    taps: int | None = None,
) -> Float[Tensor, "roi 4"]:
    """Return the mean of the box maps over each RoI's positions; `taps` as in `class_scores`.

    Raises:
        ValueError: the rule is `native`.

    Paper: 2.3.
    """
    table = maps.to(_working_type(maps)).flatten(0, 3)
    return _assemble(table, maps.shape, rois, rule, taps).mean(dim=1).to(maps.dtype)


def class_masks(
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
    *,
    taps: int | None = None,
) -> RoIMasks:
    """Return both sides' scores of one class a RoI; `taps` as in `class_scores`.

    Raises:
        ValueError: the rule is `native`.

    Paper: 2.2.
    """
    numbers = maps.to(_working_type(maps)).reshape(-1, 1)
    sides = [
        _assemble(numbers, maps.shape, rois, rule, taps, column=classes + side * maps.shape[5])
        for side in range(maps.shape[4])
    ]
    return RoIMasks(
        values=torch.cat(sides, dim=2).flatten(0, 1).to(maps.dtype),
        shapes=rois.image_index.new_full((rois.boxes.shape[0], 2), rule.out_size),
        extents=mask_extents(rois, rule),
    )


def decompositions(*, taps: int | None = None) -> dict[OpOverload, Callable[..., Tensor]]:
    """Return this form of each operator, as `ExportedProgram.run_decompositions` takes it."""

    def scores(*arguments: Argument) -> Tensor:
        return class_scores(**keywords(OPERATORS["class_scores"], arguments), taps=taps)

    def deltas(*arguments: Argument) -> Tensor:
        return mean_deltas(**keywords(OPERATORS["mean_deltas"], arguments), taps=taps)

    def masks(*arguments: Argument) -> Tensor:
        return class_masks(**keywords(OPERATORS["class_masks"], arguments), taps=taps).values

    forms = {"class_scores": scores, "mean_deltas": deltas, "class_masks": masks}
    return {OPERATORS[name]: form for name, form in forms.items()}


def _working_type(maps: Float[Tensor, "*shape"]) -> torch.dtype:
    return torch.promote_types(maps.dtype, torch.float32)


def _assemble(
    table: Float[Tensor, "row column"],
    size: torch.Size,
    rois: RoIs,
    rule: AssemblyRule,
    taps: int | None,
    *,
    column: Int[Tensor, " roi"] | None = None,
) -> Float[Tensor, "roi position column"]:
    """Return weighted sums of table rows; with `column`, rows are single numbers of the maps.

    Then it says where in what was a row a RoI's number lies.
    """
    if rule.sampling == "native":
        raise ValueError("sampling: expected pool or align, got 'native'")
    _, h, w, cells, *rest = size
    k = math.isqrt(cells)
    rows = axis_spans(rois, rule, 0, k=k, size=h)
    columns = axis_spans(rois, rule, 1, k=k, size=w)
    image, part = rois.image_index.long()[:, None], rows.part[..., None] * k + columns.part[:, None]
    num_rois = rois.boxes.shape[0]  # `len` would have to be a number, which tracing may not know
    total = table.new_zeros((num_rois * rule.out_size**2, table.shape[1]))
    for dy in range(_most_taps(h, rule, taps)):
        y, weight_y = _tap(rows, dy)
        for dx in range(_most_taps(w, rule, taps)):
            x, weight_x = _tap(columns, dx)
            index = ((image * h + y)[..., None] * w + x[:, None]) * cells + part
            if column is not None:
                index = index * math.prod(rest) + column.long()[:, None, None]
            weight = (weight_y[..., None] * weight_x[:, None]).to(table.dtype)
            total = total + table.index_select(0, index.flatten()) * weight.reshape(-1, 1)
    return total.reshape(num_rois, rule.out_size**2, table.shape[1])


def _most_taps(size: int, rule: AssemblyRule, taps: int | None) -> int:
    """Return how many cells along an axis any bin of a RoI within the canvas reads."""
    if rule.sampling == "align":
        return 2
    if taps is None:
        # rounding widens a RoI by up to a pixel; a span shorter than n cells touches n + 1
        widest = (size + 1 / rule.stride) / rule.out_size
        taps = math.floor(widest + 1e-3) + 2
    return min(taps, size)


def _tap(spans: AxisSpans, number: int) -> tuple[Int[Tensor, "roi bin"], Float[Tensor, "roi bin"]]:
    """Return a cell of each span and its weight, 0 where the span has no more."""
    last = (spans.count - 1).clamp(min=0)
    weight = torch.where(spans.count > number, spans.tail if number else spans.head, 0.0)
    return spans.first + last.clamp(max=number), weight
