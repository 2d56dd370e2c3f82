"""The figures of a benchmark as one picture."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fcis.lab.benchmark.report import Point, Report, StageTimes
from fcis.lab.benchmark.table import milliseconds

_AXES = {"rois": "RoIs", "classes": "classes, background included"}


def draw(report: Report) -> Figure:
    """Return the scaling of the operators, or the stages of a pipeline."""
    return _stages(report.stages) if report.stages else _scaling(report.points)


def _scaling(every: Sequence[Point]) -> Figure:
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 2), _AXES, strict=True):
        here = [p for p in every if p.axis == axis]
        for sampling in dict.fromkeys(p.sampling for p in here):
            _draw_growth(axes, [p for p in here if p.sampling == sampling])
        axes.set(xscale="log", yscale="log", xlabel=_AXES[axis], ylabel="ms")
        if here:
            counts = sorted({p.count for p in here})
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.minorticks_off()
            axes.legend()
    figure.suptitle("Assembly, scores and masks, forward; dashed: in proportion to the size")
    return figure


def _draw_growth(axes: Axes, points: list[Point]) -> None:
    """Draw times with their quartiles, and what they would be if the cost were linear."""
    counts = [p.count for p in points]
    medians = [1e3 * p.seconds.median for p in points]
    (line,) = axes.plot(counts, medians, marker="o", label=points[0].sampling)
    axes.fill_between(
        counts,
        [1e3 * p.seconds.low for p in points],
        [1e3 * p.seconds.high for p in points],
        color=line.get_color(),
        alpha=0.2,
    )
    linear = [medians[0] * count / counts[0] for count in counts]
    axes.plot(counts, linear, linestyle="--", linewidth=0.8, color=line.get_color())


def _stages(networks: Sequence[tuple[str, StageTimes]]) -> Figure:
    figure = Figure(figsize=(9, 1.6 + 3 * len(networks)), layout="constrained")
    many = figure.subplots(len(networks), 1, squeeze=False)[:, 0]
    for axes, (name, times) in zip(many, networks, strict=True):
        seconds = {stage: found.median for stage, found in times.seconds.items()}
        bars = axes.barh(list(seconds), [1e3 * value for value in seconds.values()])
        axes.bar_label(bars, [milliseconds(value) for value in seconds.values()], padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set(title=f"{name}: {milliseconds(times.total.median)}", xlabel="ms")
    return figure
