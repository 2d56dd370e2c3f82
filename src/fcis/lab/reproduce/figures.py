"""A finished table as a picture: our figures with their spread, the paper's as marks."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fcis.lab.reproduce.paper import TEST_SECONDS, TRAIN_SECONDS
from fcis.lab.reproduce.results import Entry, Results

_OURS, _PAPERS = "tab:blue", "tab:orange"
_TIMES = {TEST_SECONDS: "test time", TRAIN_SECONDS: "training time"}


def draw(results: Results) -> Figure:
    """Return a panel for each metric and each time; times are ratios to the reference row."""
    metrics = results.plan.metrics
    times = [name for name in _TIMES if any(name in e.times for e in results.entries)]
    panels = len(metrics) + len(times)
    height = 1.6 + 0.45 * len(results.entries)
    figure = Figure(figsize=(2.4 + 2.3 * panels, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
    for place, (metric, label) in enumerate(metrics.items()):
        _draw_metric(axes[place], results.entries, metric)
        axes[place].set_title(label)
    for place, name in enumerate(times, start=len(metrics)):
        _draw_time(axes[place], results, name)
        axes[place].set_title(_TIMES[name])
    axes[0].set_yticks(range(len(results.entries)), [e.label for e in results.entries])
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.suptitle(results.plan.title)
    return figure


def _draw_metric(axes: Axes, entries: tuple[Entry, ...], metric: str) -> None:
    ours = [(y, e.figures[metric]) for y, e in enumerate(entries) if metric in e.figures]
    spread = [100 * (s.deviation or 0.0) for _, s in ours]
    _bars(axes, [(y, 100 * s.mean) for y, s in ours], [spread, spread], "%")
    _mark(axes, [(y, e.paper[metric]) for y, e in enumerate(entries) if metric in e.paper])


def _draw_time(axes: Axes, results: Results, name: str) -> None:
    """Draw the ratios, and those of the paper where it has both times."""
    entries = results.entries
    ours = [(y, e.times[name].ratio) for y, e in enumerate(entries) if name in e.times]
    errors = [[r.median - r.low for _, r in ours], [r.high - r.median for _, r in ours]]
    _bars(axes, [(y, r.median) for y, r in ours], errors, "times the reference")
    one = next(e for e in entries if e.name == results.plan.reference).paper.get(name)
    if one:
        _mark(axes, [(y, e.paper[name] / one) for y, e in enumerate(entries) if name in e.paper])


def _bars(
    axes: Axes, points: list[tuple[int, float]], errors: list[list[float]], unit: str
) -> None:
    places, values = [y for y, _ in points], [value for _, value in points]
    axes.barh(places, values, xerr=errors, color=_OURS, label="ours")
    axes.set_xlabel(unit)
    axes.set_xlim(left=0)


def _mark(axes: Axes, points: list[tuple[int, float]]) -> None:
    if points:
        axes.plot(
            [value for _, value in points],
            [y for y, _ in points],
            linestyle="none",
            marker="D",
            color=_PAPERS,
            label="the paper's",
        )
