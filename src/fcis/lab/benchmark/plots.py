"""The figures of a benchmark as one picture."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fcis.lab.benchmark.inference import InferenceReport
from fcis.lab.benchmark.ops import OpsReport, Point
from fcis.lab.benchmark.stages import StageTimes
from fcis.lab.benchmark.table import milliseconds
from fcis.lab.benchmark.training import TrainingReport

_AXES = {"rois": "RoIs", "classes": "classes, background included"}


def draw(report: OpsReport | InferenceReport | TrainingReport) -> Figure:
    """Return the scaling of the operators, or the stages of a pipeline."""
    if isinstance(report, OpsReport):
        return _scaling(report)
    if isinstance(report, InferenceReport):
        return _stages({report.name: report.stages})
    return _stages({step.name: step.stages for step in report.steps})


def _scaling(report: OpsReport) -> Figure:
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 2), _AXES, strict=True):
        for sampling in report.settings.samplings:
            points = [p for p in report.points if (p.axis, p.sampling) == (axis, sampling)]
            if points:
                _draw_growth(axes, points)
        axes.set(xscale="log", yscale="log", xlabel=_AXES[axis], ylabel="ms")
        if axes.lines:
            counts = sorted({p.count for p in report.points if p.axis == axis})
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


def _stages(networks: dict[str, StageTimes]) -> Figure:
    figure = Figure(figsize=(9, 1.6 + 3 * len(networks)), layout="constrained")
    many = figure.subplots(len(networks), 1, squeeze=False)[:, 0]
    for axes, (name, times) in zip(many, networks.items(), strict=True):
        names = [s.name for s in times.stages]
        medians = [1e3 * s.seconds.median for s in times.stages]
        bars = axes.barh(names, medians)
        labels = [milliseconds(value / 1e3) for value in medians]
        axes.bar_label(bars, labels, padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set(title=f"{name}: {milliseconds(times.total.median)}", xlabel="ms")
    return figure
