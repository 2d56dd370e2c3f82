"""Errors of the Triton kernels against the definition, beside those of PyTorch's own operations.

An error is the norm of the difference from the result in float64 over that result's norm. A kernel
may have twice the error of PyTorch's form on a CPU with maps of the same type, or one rounding.
Small problems are compared with the definition, those of use (300 RoIs, 81 classes) with the CPU's
form in float64, which the tests hold against the definition. The two sides of every bin differ
widely there: where they are equal but for rounding, either may get the gradient.

    python gpu/kernels.py --device cuda --json errors.json
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from fcis.lab.benchmark.workload import STRIDE, Size, Workload, workload
from fcis.ops import assembly, definition, triton_masks, triton_scores
from fcis.ops.roi_sampling import AssemblyRule, RoIs, Sampling
from fcis.structures import RoIMasks

SMALL = Size(rois=3, classes=3, rows=4, columns=5, k=2, out_size=4)
DTYPES = (torch.float32, torch.bfloat16)
SAMPLINGS: tuple[Sampling, ...] = ("native", "align", "pool")
_GAP = 1.0  # between both sides of a part and a class, many times a rounding

KERNELS = {
    "class_scores": triton_scores,
    "mean_deltas": triton_scores,
    "class_masks": triton_masks,
}
"""The operators, and the modules of their kernels."""

Row = dict[str, object]


def call(
    module: ModuleType, name: str, maps: Tensor, problem: Workload, rule: AssemblyRule
) -> Tensor:
    """Return an operator's result for maps and a problem's RoIs, in one of its forms."""
    found = getattr(module, name)(maps, *_others(name, problem), rule)
    return found.values if isinstance(found, RoIMasks) else found


def compare(
    name: str,
    whole: Workload,
    rule: AssemblyRule,
    dtype: torch.dtype,
    device: str,
    exact: ModuleType,
) -> Iterator[Row]:
    """Yield the errors of one operator's result and of its gradient.

    Args:
        name: of the operator.
        whole: the problem, in float32 and on the CPU.
        rule: how to sample.
        dtype: of the maps.
        device: of the kernel.
        exact: the form that is taken for the truth, in float64.
    """
    here, there = whole.to("cpu", dtype), whole.to(device, dtype)
    maps, moved = (w.boxes if name == "mean_deltas" else w.classes for w in (here, there))
    exact_maps, peer_maps = maps.double().requires_grad_(), maps.clone().requires_grad_()
    truth = call(exact, name, exact_maps, here, rule)
    peer = call(assembly, name, peer_maps, here, rule)
    found = call(KERNELS[name], name, moved, there, rule)
    generator = torch.Generator().manual_seed(1)
    grad = torch.randn(truth.shape, generator=generator).to(dtype)
    (exact_grad,) = torch.autograd.grad(truth, exact_maps, grad.double())
    (peer_grad,) = torch.autograd.grad(peer, peer_maps, grad)
    # which side was greater is computed anew; elsewhere the size of the maps is enough
    given = moved if name == "class_scores" else moved.shape
    backward = getattr(KERNELS[name], f"{name}_backward")
    found_grad = backward(grad.to(device), given, *_others(name, there), rule)
    for direction, values in (
        ("forward", (found, peer, truth)),
        ("backward", (found_grad, peer_grad, exact_grad)),
    ):
        error, own = (_error(value, values[2]) for value in values[:2])
        allowed = 2 * max(own, torch.finfo(dtype).eps / 2)
        yield {
            "operator": name,
            "direction": direction,
            "dtype": str(dtype).removeprefix("torch."),
            "error": error,
            "error_of_torch": own,
            "over_limit": error / allowed,
        }


def compare_all(device: str, *, small: bool) -> list[Row]:
    """Return the errors of all operators, types and ways to sample."""
    rows: list[Row] = []
    sizes = (SMALL,) if small else (SMALL, Size())
    for size in sizes:
        problem = apart(workload(size, "cpu"))
        exact = definition if size is SMALL else assembly
        for sampling, name, dtype in product(SAMPLINGS, KERNELS, DTYPES):
            rule = AssemblyRule(stride=STRIDE, sampling=sampling, out_size=size.out_size)
            facts = {"rois": size.rois, "classes": size.classes, "sampling": sampling}
            found = compare(name, problem, rule, dtype, device, exact)
            rows += [facts | row for row in found]
    return rows


def apart(problem: Workload) -> Workload:
    """Return the problem with sides that lie apart, which one is the greater by part and class."""
    generator = torch.Generator().manual_seed(2)
    maps = problem.classes.clamp(-_GAP, _GAP)
    signs = torch.randint(0, 2, maps.shape[3:4] + maps.shape[5:], generator=generator) * 2 - 1
    inside = maps[..., 0, :] + signs * (_GAP / 2 + maps[..., 1, :].abs())
    classes = torch.stack((maps[..., 0, :], inside), dim=4)
    return replace(problem, classes=classes)


def _others(name: str, problem: Workload) -> tuple[RoIs | Tensor, ...]:
    """Return what an operator takes besides maps and rule."""
    return (problem.rois, problem.chosen) if name == "class_masks" else (problem.rois,)


def _error(found: Tensor, exact: Tensor) -> float:
    exact = exact.detach()
    return float((found.detach().cpu().double() - exact).norm() / exact.norm())


def main() -> int:
    """Write the errors, and say which is the worst."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    rows = compare_all(options.device, small=options.small)
    options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(" ".join(f"{v:.2e}" if isinstance(v, float) else str(v) for v in row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
