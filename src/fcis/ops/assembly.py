"""Position-sensitive assembly: from maps to scores, deltas and masks of RoIs.

The public functions take the records and call the registered operators (`library`); those are
implemented here too, which means that they find out who computes: Triton kernels where maps are
on a GPU and of a type for them, bag-sums of torch (`bags`) everywhere else. The kernels look at
no values, which would wait for the GPU: what is out of range is cut there and raises elsewhere.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.ops import cpu as bags
from fcis.ops import library
from fcis.ops.roi_sampling import AssemblyRule, RoIs, mask_extents, native_range
from fcis.structures import RoIMasks

CHUNK_NUMBERS = 2**21
"""Sums, indices and weights in work at a time: 8 MB, about what a cache holds."""

KERNEL_TYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What the kernels take; they sum in float32."""


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
    return library.class_scores(maps, *library.arguments(rois, rule))


def mean_deltas(
    maps: Float[Tensor, "image h w cell 4"], rois: RoIs, rule: AssemblyRule
) -> Float[Tensor, "roi 4"]:
    """Return the mean of the box maps over each RoI's positions.

    The gradient goes to the maps only. Without RoIs the result has no rows.

    Raises:
        ValueError: the maps do not have k * k cells, or the RoIs' valid cells are not theirs.

    Paper: 2.3.
    """
    return library.mean_deltas(maps, *library.arguments(rois, rule))


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
        values=library.class_masks(maps, classes, *library.arguments(rois, rule)),
        shapes=_mask_shapes(rois, rule),
        extents=mask_extents(rois, rule),
    )


def _scores(
    maps: Float[Tensor, "image h w cell side class"], *arguments: library.Argument
) -> Float[Tensor, "roi class"]:
    rois, rule = library.records(arguments)
    if kernels := _kernels("triton_scores", maps):
        return kernels.class_scores(maps, rois, rule)
    return bags.class_scores(maps, rois, rule, _limits(maps))


def _scores_backward(
    grad: Float[Tensor, "roi class"],
    maps: Float[Tensor, "image h w cell side class"],
    *arguments: library.Argument,
) -> Float[Tensor, "image h w cell side class"]:
    rois, rule = library.records(arguments)
    if kernels := _kernels("triton_scores", maps):
        return kernels.class_scores_backward(grad, maps, rois, rule)
    return bags.class_scores_backward(grad, maps, rois, rule, _limits(maps))


def _deltas(
    maps: Float[Tensor, "image h w cell 4"], *arguments: library.Argument
) -> Float[Tensor, "roi 4"]:
    rois, rule = library.records(arguments)
    if kernels := _kernels("triton_scores", maps):
        return kernels.mean_deltas(maps, rois, rule)
    return bags.mean_deltas(maps, rois, rule)


def _deltas_backward(
    grad: Float[Tensor, "roi 4"], size: Sequence[int], *arguments: library.Argument
) -> Float[Tensor, "image h w cell 4"]:
    rois, rule = library.records(arguments)
    if kernels := _kernels("triton_scores", grad):
        return kernels.mean_deltas_backward(grad, size, rois, rule)
    return bags.mean_deltas_backward(grad, size, rois, rule)


def _masks(
    maps: Float[Tensor, "image h w cell side class"],
    classes: Int[Tensor, " roi"],
    *arguments: library.Argument,
) -> Float[Tensor, "pixel side"]:
    rois, rule = library.records(arguments)
    if kernels := _kernels("triton_masks", maps):
        return kernels.class_masks(maps, rois, classes, rule)
    return bags.class_masks(maps, rois, classes, rule, _limits(maps))


def _masks_backward(
    grad: Float[Tensor, "pixel side"],
    size: Sequence[int],
    classes: Int[Tensor, " roi"],
    *arguments: library.Argument,
) -> Float[Tensor, "image h w cell side class"]:
    rois, rule = library.records(arguments)
    if kernels := _kernels("triton_masks", grad):
        return kernels.class_masks_backward(grad, size, rois, classes, rule)
    limits = _limits(grad.new_zeros(()).expand(tuple(size)))
    return bags.class_masks_backward(grad, size, rois, classes, rule, limits)


def _kernels(name: str, tensor: Float[Tensor, "*shape"]) -> ModuleType | None:
    """Return a module of kernels if they can work on a tensor; Triton exists on Linux alone."""
    if tensor.is_cuda and tensor.dtype in KERNEL_TYPES and find_spec("triton"):
        return import_module(f"fcis.ops.{name}")
    return None


def _limits(maps: Float[Tensor, "*shape"]) -> bags.Limits:
    return bags.Limits(numbers=CHUNK_NUMBERS, index_type=_index_type(maps))


def _index_type(maps: Float[Tensor, "*shape"]) -> torch.dtype:
    """Return the narrowest type that can index every number of the maps."""
    return torch.int32 if maps.numel() < 2**31 else torch.int64


def _mask_shapes(rois: RoIs, rule: AssemblyRule) -> Int[Tensor, "roi 2"]:
    """Return (rows, columns) of each RoI's samples."""
    if rule.sampling == "native":
        counts = [native_range(rois, rule, axis)[1] for axis in (0, 1)]
        return torch.stack(counts, dim=1)
    # `len` would have to be a number, which tracing may not know
    return rois.image_index.new_full((rois.boxes.shape[0], 2), rule.out_size)


for _operator, _function in (
    (library.class_scores, _scores),
    (library.class_scores_backward, _scores_backward),
    (library.mean_deltas, _deltas),
    (library.mean_deltas_backward, _deltas_backward),
    (library.class_masks, _masks),
    (library.class_masks_backward, _masks_backward),
):
    torch.library.register_kernel(_operator, None, _function)
