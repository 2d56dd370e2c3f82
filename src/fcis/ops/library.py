"""The operators as torch knows them: names, shapes and gradients, without any arithmetic.

`fcis::class_scores`, `fcis::mean_deltas` and `fcis::class_masks` take tensors, numbers and words
alone, so that `torch.compile` and `torch.export` see one node where they could not look inside.
`assembly` implements them; `plain` has a form of each for machines that do not know it.

Each gradient is an operator too. It computes anew what it needs: which side of a bin was greater
would be hundreds of times as large as the scores.
"""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch._ops import OpOverload
from torch.autograd.function import BackwardCFunction

from fcis.ops.roi_sampling import AssemblyRule, RoIs, Sampling

_ROIS = "Tensor boxes, Tensor image_index, Tensor cells"
_RULE = "int stride, str sampling, int out_size, bool round_boxes"

SCHEMAS = {
    "class_scores": f"Tensor maps, {_ROIS}, {_RULE}",
    "class_scores_backward": f"Tensor grad, Tensor maps, {_ROIS}, {_RULE}",
    "mean_deltas": f"Tensor maps, {_ROIS}, {_RULE}",
    "mean_deltas_backward": f"Tensor grad, SymInt[] size, {_ROIS}, {_RULE}",
    "class_masks": f"Tensor maps, Tensor classes, {_ROIS}, {_RULE}",
    "class_masks_backward": f"Tensor grad, SymInt[] size, Tensor classes, {_ROIS}, {_RULE}",
}
"""What each operator takes; `size` is that of the maps. All return one tensor."""

for _name, _arguments in SCHEMAS.items():
    torch.library.define(
        f"fcis::{_name}", f"({_arguments}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
    )

class_scores: OpOverload = torch.ops.fcis.class_scores.default
class_scores_backward: OpOverload = torch.ops.fcis.class_scores_backward.default
mean_deltas: OpOverload = torch.ops.fcis.mean_deltas.default
mean_deltas_backward: OpOverload = torch.ops.fcis.mean_deltas_backward.default
class_masks: OpOverload = torch.ops.fcis.class_masks.default
class_masks_backward: OpOverload = torch.ops.fcis.class_masks_backward.default

Argument = Tensor | int | str
Inputs = Sequence[Argument | Sequence[int]]
Gradients = tuple[Tensor | None, ...]
RoIArguments = tuple[Tensor, Tensor, Tensor, int, Sampling, int, bool]


def arguments(rois: RoIs, rule: AssemblyRule) -> RoIArguments:
    """Return RoIs, cut off from the gradient, and a rule as all operators take them last."""
    tensors = (rois.boxes.detach(), rois.image_index, rois.cells)
    return *tensors, rule.stride, rule.sampling, rule.out_size, rule.round_boxes


def records(arguments: Sequence[Argument]) -> tuple[RoIs, AssemblyRule]:
    """Return the records from the last arguments of an operator."""
    boxes, image_index, cells, stride, sampling, out_size, round_boxes = cast(
        RoIArguments, arguments
    )
    rule = AssemblyRule(
        stride=stride, sampling=sampling, out_size=out_size, round_boxes=round_boxes
    )
    return RoIs(boxes=boxes, image_index=image_index, cells=cells), rule


@torch.library.register_fake(class_scores)
def _scores_shape(
    maps: Float[Tensor, "image h w cell side class"],
    boxes: Float[Tensor, "roi 4"],
    *rest: Argument,
) -> Float[Tensor, "roi class"]:
    return maps.new_empty((boxes.shape[0], maps.shape[5]))


@torch.library.register_fake(mean_deltas)
def _deltas_shape(
    maps: Float[Tensor, "image h w cell 4"],
    boxes: Float[Tensor, "roi 4"],
    *rest: Argument,
) -> Float[Tensor, "roi 4"]:
    return maps.new_empty((boxes.shape[0], 4))


@torch.library.register_fake(class_masks)
def _masks_shape(
    maps: Float[Tensor, "image h w cell side class"],
    classes: Int[Tensor, " roi"],
    boxes: Float[Tensor, "roi 4"],
    image_index: Int[Tensor, " roi"],
    cells: Int[Tensor, "image 2"],
    stride: int,
    sampling: str,
    out_size: int,
    round_boxes: bool,
) -> Float[Tensor, "pixel side"]:
    if sampling == "native":
        # as many as the boxes cover, which shapes do not tell
        return maps.new_empty((torch.library.get_ctx().new_dynamic_size(), 2))
    return maps.new_empty((boxes.shape[0] * out_size**2, 2))


@torch.library.register_fake(class_scores_backward)
def _scores_gradient_shape(
    grad: Float[Tensor, "roi class"],
    maps: Float[Tensor, "image h w cell side class"],
    *rest: Argument,
) -> Float[Tensor, "image h w cell side class"]:
    return maps.new_empty(maps.shape)


@torch.library.register_fake(mean_deltas_backward)
@torch.library.register_fake(class_masks_backward)
def _gradient_shape(
    grad: Float[Tensor, "item column"], size: Sequence[int | torch.SymInt], *rest: Argument
) -> Float[Tensor, "image h w *rest"]:
    return grad.new_empty(size)


def _keep_maps(ctx: BackwardCFunction, inputs: Inputs, output: Tensor) -> None:
    """Keep all inputs: which side is greater is read off the maps again."""
    ctx.save_for_backward(*(x for x in inputs if isinstance(x, Tensor)))
    ctx.rule = inputs[-4:]  # pyright: ignore[reportAttributeAccessIssue]


def _keep_size(ctx: BackwardCFunction, inputs: Inputs, output: Tensor) -> None:
    """Keep all inputs but the maps, of which the size is enough."""
    maps, *others = (x for x in inputs if isinstance(x, Tensor))
    ctx.save_for_backward(*others)
    ctx.size = maps.shape  # pyright: ignore[reportAttributeAccessIssue]
    ctx.rule = inputs[-4:]  # pyright: ignore[reportAttributeAccessIssue]


def _scores_gradient(ctx: BackwardCFunction, grad: Tensor) -> Gradients:
    rule = ctx.rule  # pyright: ignore[reportAttributeAccessIssue]
    total = class_scores_backward(grad, *ctx.saved_tensors, *rule)
    return total, *[None] * 7


def _deltas_gradient(ctx: BackwardCFunction, grad: Tensor) -> Gradients:
    size, rule = ctx.size, ctx.rule  # pyright: ignore[reportAttributeAccessIssue]
    total = mean_deltas_backward(grad, size, *ctx.saved_tensors, *rule)
    return total, *[None] * 7


def _masks_gradient(ctx: BackwardCFunction, grad: Tensor) -> Gradients:
    size, rule = ctx.size, ctx.rule  # pyright: ignore[reportAttributeAccessIssue]
    total = class_masks_backward(grad, size, *ctx.saved_tensors, *rule)
    return total, *[None] * 8


def _no_second_gradient(ctx: BackwardCFunction, grad: Tensor) -> Gradients:
    raise NotImplementedError("gradients of the assembly cannot be differentiated again")


def _keep_nothing(ctx: BackwardCFunction, inputs: Inputs, output: Tensor) -> None:
    """Keep nothing, since nothing follows."""


for _operator, _gradient, _keep in (
    (class_scores, _scores_gradient, _keep_maps),
    (mean_deltas, _deltas_gradient, _keep_size),
    (class_masks, _masks_gradient, _keep_size),
    (class_scores_backward, _no_second_gradient, _keep_nothing),
    (mean_deltas_backward, _no_second_gradient, _keep_nothing),
    (class_masks_backward, _no_second_gradient, _keep_nothing),
):
    torch.library.register_autograd(_operator, _gradient, setup_context=_keep)
