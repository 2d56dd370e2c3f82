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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fcis.lab.benchmark.workload import STRIDE, Size, Workload, workload
from fcis.ops import assembly, definition, triton_masks, triton_scores
from fcis.ops.roi_sampling import AssemblyRule
from fcis.structures import RoIMasks

SMALL = Size(rois=3, classes=3, rows=4, columns=5, k=2, out_size=4)
DTYPES = (torch.float32, torch.bfloat16)
RULES = (
    AssemblyRule(stride=STRIDE, sampling="native"),
    AssemblyRule(stride=STRIDE, sampling="align"),
    AssemblyRule(stride=STRIDE, sampling="pool"),
)
_GAP = 1.0  # between both sides of a part and a class, many times a rounding

Form = Callable[[Tensor], Tensor]
Row = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator in its forms.

    Attributes:
        maps: what it takes, in float32 and on the CPU.
        exact: in float64.
        peer: PyTorch's own.
        kernel: on the device.
        backward: the gradient of the kernel, from that of its result and the maps.
    """

    name: str
    maps: Tensor
    exact: Form
    peer: Form
    kernel: Form
    backward: Callable[[Tensor, Tensor], Tensor]


def operators(
    problem: Workload, rule: AssemblyRule, device: str, *, small: bool
) -> tuple[Operator, ...]:
    """Return the three operators on a problem."""
    rois, chosen = problem.rois, problem.chosen
    moved = problem.to(device)
    there, classes = moved.rois, moved.chosen
    reference = definition if small else assembly

    def masks(form: Callable[..., RoIMasks], maps: Tensor) -> Tensor:
        return form(maps, rois, chosen, rule).values

    return (
        Operator(
            name="class_scores",
            maps=problem.classes,
            exact=lambda maps: reference.class_scores(maps, rois, rule),
            peer=lambda maps: assembly.class_scores(maps, rois, rule),
            kernel=lambda maps: triton_scores.class_scores(maps, there, rule),
            backward=lambda grad, maps: triton_scores.class_scores_backward(
                grad, maps, there, rule
            ),
        ),
        Operator(
            name="mean_deltas",
            maps=problem.boxes,
            exact=lambda maps: reference.mean_deltas(maps, rois, rule),
            peer=lambda maps: assembly.mean_deltas(maps, rois, rule),
            kernel=lambda maps: triton_scores.mean_deltas(maps, there, rule),
            backward=lambda grad, maps: triton_scores.mean_deltas_backward(
                grad, maps.shape, there, rule
            ),
        ),
        Operator(
            name="class_masks",
            maps=problem.classes,
            exact=lambda maps: masks(reference.class_masks, maps),
            peer=lambda maps: masks(assembly.class_masks, maps),
            kernel=lambda maps: triton_masks.class_masks(maps, there, classes, rule),
            backward=lambda grad, maps: triton_masks.class_masks_backward(
                grad, maps.shape, there, classes, rule
            ),
        ),
    )


def compare(operator: Operator, dtype: torch.dtype, device: str) -> Iterator[Row]:
    """Yield the errors of one operator's result and of its gradient."""
    maps = operator.maps.to(dtype)
    exact_maps, peer_maps = maps.double().requires_grad_(), maps.clone().requires_grad_()
    exact, peer = operator.exact(exact_maps), operator.peer(peer_maps)
    found = operator.kernel(maps.to(device))
    generator = torch.Generator().manual_seed(1)
    grad = torch.randn(exact.shape, generator=generator).to(dtype)
    (exact_grad,) = torch.autograd.grad(exact, exact_maps, grad.double())
    (peer_grad,) = torch.autograd.grad(peer, peer_maps, grad)
    found_grad = operator.backward(grad.to(device), maps.to(device))
    for direction, values in (
        ("forward", (found, peer, exact)),
        ("backward", (found_grad, peer_grad, exact_grad)),
    ):
        error, own = (_error(value, values[2]) for value in values[:2])
        allowed = 2 * max(own, torch.finfo(dtype).eps / 2)
        yield {
            "operator": operator.name,
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
        for base in RULES:
            rule = replace(base, out_size=size.out_size)
            for operator in operators(problem, rule, device, small=size is SMALL):
                for dtype in DTYPES:
                    facts = {"rois": size.rois, "classes": size.classes, "sampling": rule.sampling}
                    rows += [facts | row for row in compare(operator, dtype, device)]
    return rows


def apart(problem: Workload) -> Workload:
    """Return the problem with sides that lie apart, which one is the greater by part and class."""
    generator = torch.Generator().manual_seed(2)
    maps = problem.classes.clamp(-_GAP, _GAP)
    signs = torch.randint(0, 2, maps.shape[3:4] + maps.shape[5:], generator=generator) * 2 - 1
    inside = maps[..., 0, :] + signs * (_GAP / 2 + maps[..., 1, :].abs())
    classes = torch.stack((maps[..., 0, :], inside), dim=4)
    return replace(problem, classes=classes)


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
