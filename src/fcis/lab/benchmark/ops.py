"""`fcis benchmark ops`: assembly, joint scores and masks against the materialised form.

Both forms get their maps as their own convolution writes them, so neither pays for a
permutation. Before anything is measured, they must give the same numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from fcis.lab.benchmark.materialised import Layout, Outputs, assemble_materialised
from fcis.lab.benchmark.memory import peak_bytes
from fcis.lab.benchmark.report import Point, Report
from fcis.lab.benchmark.table import Table, byte_count, milliseconds, percent, tabulate, times
from fcis.lab.benchmark.timing import Method, Spread, alternate, device_clock, ratio, spread
from fcis.lab.benchmark.workload import STRIDE, Size, Workload, workload
from fcis.model.precision import Precision
from fcis.ops.assembly import class_masks, class_scores, mean_deltas
from fcis.ops.roi_sampling import AssemblyRule, Sampling

OURS, PEER = "fcis", "materialised"
FORWARD, BOTH = "forward", "forward + backward"
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05}

Form = Callable[[], Outputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsSettings:
    """What is measured.

    Attributes:
        size: of the comparison.
        rois: numbers of RoIs between which the cost is followed.
        classes: likewise of classes, background included.
        samplings: ways to sample a RoI.
        device: of all tensors.
        method: how often.
        precision: of the maps.
    """

    size: Size = field(default_factory=Size)
    rois: tuple[int, ...] = (300, 1000, 3000)
    classes: tuple[int, ...] = (21, 81, 301, 1201)
    samplings: tuple[Sampling, ...]
    device: str
    method: Method
    precision: Precision = "float32"

    def small(self) -> "OpsSettings":
        """Return the same for small problems, to try it out."""
        size = Size(rois=20, classes=4, rows=10, columns=12, k=3, out_size=9)
        return replace(self, size=size, rois=(10, 20), classes=(2, 4))

    def problem(self, size: Size) -> Workload:
        """Return a problem of that size."""
        return workload(size, self.device, dtype=getattr(torch, self.precision))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both forms in one mode.

    Attributes:
        tensor: what the peer writes out of a RoI.
        seconds: of a call, by form.
        peer_over_ours: how many times as long the peer takes.
        bytes: most that a call allocates at once, by form; None where unknown.
        difference: the largest one between both forms' results; of gradients the norm of the
            difference over the norm, because where both sides are equal but for rounding the
            forms may give the gradient to different ones. None where the peer reads other cells.
    """

    sampling: str
    tensor: str
    work: str
    seconds: dict[str, Spread]
    peer_over_ours: Spread
    bytes: dict[str, int | None]
    difference: float | None


def run_ops(settings: OpsSettings, tell: Callable[[str], None]) -> Report:
    """Return the comparison and the scaling; `tell` hears what is being measured.

    Raises:
        ArithmeticError: the two forms differ.
    """
    problem = settings.problem(settings.size)
    comparisons = list[Comparison]()
    for sampling in settings.samplings:
        tell(f"{sampling}: against the materialised form")
        comparisons += compare(problem, sampling, settings)
    del problem
    points: list[Point] = []
    for axis, counts in (("rois", settings.rois), ("classes", settings.classes)):
        problems = {n: settings.problem(replace(settings.size, **{axis: n})) for n in counts}
        for sampling in settings.samplings:
            tell(f"{sampling}: growing number of {axis}")
            points += _scale(axis, problems, sampling, settings)
    worst = max((c.difference or 0.0 for c in comparisons), default=0.0)
    return Report(
        figures={"settings": settings, "comparisons": comparisons, "scaling": points},
        tables=(_comparison(comparisons, settings), _growth(points)),
        notes=(
            f"both forms agree within {worst:.1e} on scores, shifts, masks and gradients",
            f"ratios are medians of {settings.method.rounds} rounds, with quartiles",
        ),
        points=tuple(points),
    )


def _comparison(comparisons: list[Comparison], settings: OpsSettings) -> Table:
    n = settings.size
    return tabulate(
        f"{n.rois} RoIs, {n.classes} classes, {n.rows} x {n.columns} cells, k = {n.k}: "
        f"scores, box shifts, and the masks of one class a RoI, {settings.precision}",
        comparisons,
        {
            "sampling": lambda c: c.sampling,
            "peer's tensor": lambda c: c.tensor,
            "work": lambda c: c.work,
            OURS: lambda c: milliseconds(c.seconds[OURS].median),
            PEER: lambda c: milliseconds(c.seconds[PEER].median),
            f"{PEER} / {OURS}": lambda c: times(c.peer_over_ours),
            f"memory {OURS}": lambda c: byte_count(c.bytes[OURS]),
            f"memory {PEER}": lambda c: byte_count(c.bytes[PEER]),
        },
    )


def _growth(points: list[Point]) -> Table:
    return tabulate(
        "Cost against size, forward",
        points,
        {
            "sampling": lambda p: p.sampling,
            "axis": lambda p: p.axis,
            "count": lambda p: str(p.count),
            "time": lambda p: milliseconds(p.seconds.median),
            "of linear growth": lambda p: percent(p.of_linear.median),
        },
    )


def compare(problem: Workload, sampling: Sampling, settings: OpsSettings) -> list[Comparison]:
    """Return both forms' cost in one mode, forward alone and with the gradient.

    Raises:
        ArithmeticError: they differ.
    """
    size = settings.size
    rule = AssemblyRule(stride=STRIDE, sampling=sampling, out_size=size.out_size)
    ours = (problem.classes.detach(), problem.boxes.detach())
    peers = problem.planes()

    def fast() -> Outputs:
        return _assemble(ours, problem, rule)

    def slow(layout: Layout = "cells") -> Outputs:
        return assemble_materialised(
            *peers, problem.rois, problem.chosen, rule, k=size.k, layout=layout
        )

    square = f"{size.out_size} x {size.out_size}"
    forms: dict[str, Form] = {square: slow}
    if sampling == "native":
        # the others read nearly the same cells, and so have other results
        near = {square: partial(slow, "grid"), f"{square}, RoI first": partial(slow, "indexed")}
        forms = {"every cell": slow, **near}
    most = TOLERANCES[settings.precision]
    with torch.no_grad():
        found = fast()
        weights = [_like(values) for values in found]
        likes = {name: [*weights[:2], _like(form()[2])] for name, form in forms.items()}
        off = _checked(found, slow(), most, (sampling, FORWARD))
        results = [
            _measure((sampling, name, FORWARD), fast, form, off if form is slow else None, settings)
            for name, form in forms.items()
        ]
    for maps in (*ours, *peers):
        maps.requires_grad_()
    own = _with_gradient(fast, ours, weights)
    works = {name: _with_gradient(form, peers, likes[name]) for name, form in forms.items()}
    classes, boxes = own()
    expected = replace(problem, classes=classes, boxes=boxes).planes()
    exact = next(iter(works.values()))
    off = _checked(expected, exact(), most, (sampling, BOTH))
    del classes, boxes, expected, found
    results += [
        _measure((sampling, name, BOTH), own, work, off if work is exact else None, settings)
        for name, work in works.items()
    ]
    return results


def _assemble(maps: Sequence[Tensor], problem: Workload, rule: AssemblyRule) -> Outputs:
    classes, boxes = maps
    return (
        class_scores(classes, problem.rois, rule),
        mean_deltas(boxes, problem.rois, rule),
        class_masks(classes, problem.rois, problem.chosen, rule).values,
    )


def _with_gradient(
    form: Form, maps: Sequence[Tensor], weights: Sequence[Tensor]
) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: torch.autograd.grad(form(), maps, weights)


def _like(values: Tensor) -> Tensor:
    """Return a gradient for an output, of numbers around 1."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(values.shape, generator=generator).to(values)


def _checked(
    ours: Sequence[Tensor], peers: Sequence[Tensor], most: float, what: tuple[str, str]
) -> float:
    """Return the largest difference of two forms' results, of gradients as a share of the norm."""
    pairs = [(a.float(), b.float()) for a, b in zip(ours, peers, strict=True) if a.numel()]
    if what[1] == BOTH:
        differences = [(a - b).norm() / b.norm() for a, b in pairs]
    else:
        differences = [(a - b).abs().max() for a, b in pairs]
    difference = float(torch.stack(differences).max())
    # not a number is no agreement either
    if not difference <= most:
        raise ArithmeticError(
            f"{', '.join(what)}: {OURS} and {PEER} differ by {difference:.1e}, more than {most:.0e}"
        )
    return difference


def _measure(
    what: tuple[str, str, str],
    ours: Callable[[], object],
    peer: Callable[[], object],
    difference: float | None,
    settings: OpsSettings,
) -> Comparison:
    """Return the cost of both, as sampling, tensor and work name them."""
    works = {OURS: ours, PEER: peer}
    seconds = alternate(works, settings.method, device_clock(settings.device))
    sampling, tensor, work = what
    return Comparison(
        sampling=sampling,
        tensor=tensor,
        work=work,
        seconds={name: spread(values) for name, values in seconds.items()},
        peer_over_ours=ratio(seconds[PEER], seconds[OURS]),
        bytes={name: peak_bytes(call, settings.device) for name, call in works.items()},
        difference=difference,
    )


@torch.no_grad()
def _scale(
    axis: str, problems: dict[int, Workload], sampling: Sampling, settings: OpsSettings
) -> list[Point]:
    """Return the cost of our forward pass for each count, measured in turn."""
    rule = AssemblyRule(stride=STRIDE, sampling=sampling, out_size=settings.size.out_size)
    works = {
        count: partial(_assemble, (problem.classes, problem.boxes), problem, rule)
        for count, problem in problems.items()
    }
    seconds = alternate(works, settings.method, device_clock(settings.device))
    least = min(problems)
    return [
        Point(
            sampling=sampling,
            axis=axis,
            count=count,
            seconds=spread(seconds[count]),
            of_linear=ratio(seconds[count], [value * count / least for value in seconds[least]]),
        )
        for count in problems
    ]
