"""Position-sensitive assembly: from maps to scores, deltas and masks of RoIs.

torch knows `class_scores`, `mean_deltas` and `class_masks`, and the gradient of each, as operators
of tensors, numbers and words alone, so that `torch.compile` and `torch.export` see one node where
they could not look inside. The functions of these names turn records into such arguments, and
`keywords` turns them back. Who computes is found out in between: Triton kernels where maps are on
a GPU and of a type for them, `cpu` everywhere else. The kernels look at no values, which would
wait for the GPU: what is out of range is cut there and raises elsewhere. `export_form` has a form
of each operator for machines that do not know it.

A gradient computes anew what it needs: which side of a bin was greater would be hundreds of times
as large as the scores.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch._ops import OpOverload
from torch.autograd.function import BackwardCFunction

from fcis.ops import cpu
from fcis.ops.roi_sampling import AssemblyRule, RoIs, mask_extents, native_range
from fcis.structures import RoIMasks

KERNEL_TYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What the kernels take; they sum in float32."""

Argument = Tensor | Sequence[int] | int | str
Gradients = tuple[Tensor | None, ...]


def class_scores(
    maps: Float[Tensor, "image h w cell side class"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi class"]:
    """Return the mean over each RoI's positions of the greater of both sides.

    The gradient goes to the maps only; where both sides are equal, to the outside score.
    Without RoIs the result has no rows.

    Raises:
        ValueError: the maps do not have k * k cells, or the RoIs' valid cells are not theirs.

    Paper: 2.2. Official: operator_cxx/channel_operator.cu:45-56 @309f6c9 (the same tie).
    """
    return OPERATORS["class_scores"](maps, *_arguments(rois, rule))


def mean_deltas(
    maps: Float[Tensor, "image h w cell 4"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi 4"]:
    """Return the mean of the box maps over each RoI's positions.

    The gradient goes to the maps only. Without RoIs the result has no rows.

    Raises:
        ValueError: the maps do not have k * k cells, or the RoIs' valid cells are not theirs.

    Paper: 2.3.
    """
    return OPERATORS["mean_deltas"](maps, *_arguments(rois, rule))


def class_masks(
    maps: Float[Tensor, "image h w cell side class"],
    rois: RoIs,
    classes: Int[Tensor, " roi"],
    rule: AssemblyRule,
) -> RoIMasks:
    """Return both sides' scores of one class a RoI at each of its positions.

    The gradient goes to the maps only. Without RoIs the result is empty.

    Raises:
        ValueError: the maps do not have k * k cells, the RoIs' valid cells are not theirs, or a
            class is not in them.

    Paper: 2.2.
    """
    return RoIMasks(
        values=OPERATORS["class_masks"](maps, classes, *_arguments(rois, rule)),
        shapes=_mask_shapes(rois, rule),
        extents=mask_extents(rois, rule),
    )


def keywords(operator: OpOverload, arguments: Sequence[Argument]) -> dict[str, Any]:
    """Return what an operator was called with, by name, its last arguments as `rois` and `rule`."""
    names = [argument.name for argument in operator._schema.arguments]
    named: dict[str, Any] = dict(zip(names, arguments, strict=True))
    rois = {name: named.pop(name) for name in ("boxes", "image_index", "cells")}
    rule = {name: named.pop(name) for name in ("stride", "sampling", "out_size", "round_boxes")}
    return {**named, "rois": RoIs(**rois), "rule": AssemblyRule(**rule)}


def _arguments(rois: RoIs, rule: AssemblyRule) -> tuple[Tensor | int | str, ...]:
    """Return RoIs, cut off from the gradient, and a rule as all operators take them last."""
    tensors = (rois.boxes.detach(), rois.image_index, rois.cells)
    return *tensors, rule.stride, rule.sampling, rule.out_size, rule.round_boxes


def _mask_shapes(rois: RoIs, rule: AssemblyRule) -> Int[Tensor, "roi 2"]:
    """Return (rows, columns) of each RoI's samples."""
    if rule.sampling == "native":
        counts = [native_range(rois, rule, axis)[1] for axis in (0, 1)]
        return torch.stack(counts, dim=1)
    # `len` would have to be a number, which tracing may not know
    return rois.image_index.new_full((rois.boxes.shape[0], 2), rule.out_size)


def _kernels(name: str, tensor: Float[Tensor, "*shape"]) -> ModuleType | None:
    """Return a module of kernels if they can work on a tensor; Triton exists on Linux alone."""
    if tensor.is_cuda and tensor.dtype in KERNEL_TYPES and find_spec("triton"):
        return import_module(f"fcis.ops.{name}")
    return None


def _operator(name: str, takes: str, kernels: str) -> OpOverload:
    """Register an operator of this name, computed by the functions of this name.

    Args:
        name: of the operator, and of the functions in `cpu` and in the kernels.
        takes: what it takes before RoIs and rule; a `size` is that of the maps.
        kernels: the module that has it for GPUs.
    """
    rois = "Tensor boxes, Tensor image_index, Tensor cells"
    rule = "int stride, str sampling, int out_size, bool round_boxes"
    schema = f"({takes}, {rois}, {rule}) -> Tensor"
    torch.library.define(f"fcis::{name}", schema, tags=(torch.Tag.pt2_compliant_tag,))
    operator: OpOverload = getattr(torch.ops.fcis, name).default

    def compute(tensor: Tensor, *rest: Argument) -> Tensor:
        form = _kernels(kernels, tensor) or cpu
        return getattr(form, name)(**keywords(operator, (tensor, *rest)))

    torch.library.register_kernel(operator, None, compute)
    return operator


_MAPS, _GRAD = "Tensor maps", "Tensor grad"
_TAKES = {
    "class_scores": (_MAPS, "triton_scores"),
    "class_scores_backward": (f"{_GRAD}, {_MAPS}", "triton_scores"),
    "mean_deltas": (_MAPS, "triton_scores"),
    "mean_deltas_backward": (f"{_GRAD}, SymInt[] size", "triton_scores"),
    "class_masks": (f"{_MAPS}, Tensor classes", "triton_masks"),
    "class_masks_backward": (f"{_GRAD}, SymInt[] size, Tensor classes", "triton_masks"),
}

OPERATORS = {name: _operator(name, *takes) for name, takes in _TAKES.items()}
"""The operators by name; all return one tensor."""


@torch.library.register_fake(OPERATORS["class_scores"])
def _scores_shape(
    maps: Float[Tensor, "image h w cell side class"],
    boxes: Float[Tensor, "roi 4"],
    *rest: Argument,
) -> Float[Tensor, "roi class"]:
    return maps.new_empty((boxes.shape[0], maps.shape[5]))


@torch.library.register_fake(OPERATORS["mean_deltas"])
def _deltas_shape(
    maps: Float[Tensor, "image h w cell 4"],
    boxes: Float[Tensor, "roi 4"],
    *rest: Argument,
) -> Float[Tensor, "roi 4"]:
    return maps.new_empty((boxes.shape[0], 4))


@torch.library.register_fake(OPERATORS["class_masks"])
def _masks_shape(
    maps: Float[Tensor, "image h w cell side class"],
    classes: Int[Tensor, " roi"],
    boxes: Float[Tensor, "roi 4"],
    *rest: Argument,
) -> Float[Tensor, "pixel side"]:
    *_, sampling, out_size, _ = rest
    if sampling == "native":
        # as many as the boxes cover, which shapes do not tell
        return maps.new_empty((torch.library.get_ctx().new_dynamic_size(), 2))
    return maps.new_empty((boxes.shape[0] * out_size**2, 2))  # pyright: ignore


@torch.library.register_fake(OPERATORS["class_scores_backward"])
def _scores_gradient_shape(
    grad: Float[Tensor, "roi class"],
    maps: Float[Tensor, "image h w cell side class"],
    *rest: Argument,
) -> Float[Tensor, "image h w cell side class"]:
    return maps.new_empty(maps.shape)


@torch.library.register_fake(OPERATORS["mean_deltas_backward"])
@torch.library.register_fake(OPERATORS["class_masks_backward"])
def _gradient_shape(
    grad: Float[Tensor, "item column"], size: Sequence[int | torch.SymInt], *rest: Argument
) -> Float[Tensor, "image h w *rest"]:
    return grad.new_empty(size)


def _differentiate(name: str, *, from_maps: bool) -> None:
    """Let `NAME_backward` be the gradient of an operator, from its maps or from their size."""
    operator, gradient = OPERATORS[name], OPERATORS[f"{name}_backward"]

    def keep(ctx: BackwardCFunction, inputs: Sequence[Argument], output: Tensor) -> None:
        maps, *others = (x for x in inputs if isinstance(x, Tensor))
        ctx.save_for_backward(*([maps] if from_maps else []), *others)
        size = [] if from_maps else [maps.shape]
        ctx.given = size, inputs[-4:]  # pyright: ignore[reportAttributeAccessIssue]

    def backward(ctx: BackwardCFunction, grad: Tensor) -> Gradients:
        size, rule = ctx.given  # pyright: ignore[reportAttributeAccessIssue]
        total = gradient(grad, *size, *ctx.saved_tensors, *rule)
        return total, *[None] * (len(operator._schema.arguments) - 1)

    torch.library.register_autograd(operator, backward, setup_context=keep)
    torch.library.register_autograd(gradient, _no_second_gradient, setup_context=_keep_nothing)


def _no_second_gradient(ctx: BackwardCFunction, grad: Tensor) -> Gradients:
    raise NotImplementedError("gradients of the assembly cannot be differentiated again")


def _keep_nothing(ctx: BackwardCFunction, inputs: Sequence[Argument], output: Tensor) -> None:
    """Keep nothing, since nothing follows."""


_differentiate("class_scores", from_maps=True)
_differentiate("mean_deltas", from_maps=False)
_differentiate("class_masks", from_maps=False)
