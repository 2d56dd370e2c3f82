"""A finished table as a picture: our figures with their spread, the paper's as marks."""

from matplotlib.figure import Figure

from fcis.lab.reproduce.paper import TEST_SECONDS, TRAIN_SECONDS
from fcis.lab.reproduce.results import Entry, Results

_TIMES = {TEST_SECONDS: "test time", TRAIN_SECONDS: "training time"}


Points = list[tuple[int, float]]
"""Places of rows, and values there."""


def draw(results: Results) -> Figure:
    """Return a panel for each metric and each time; times are ratios to the reference row."""
    entries, metrics = results.entries, results.plan.metrics
    panels = {label: _of_metric(entries, metric) for metric, label in metrics.items()}
    for name, label in _TIMES.items():
        if any(name in entry.times for entry in entries):
            panels[label] = _of_time(results, name)
    height = 1.6 + 0.45 * len(entries)
    figure = Figure(figsize=(2.4 + 2.3 * len(panels), height), layout="constrained")
    every = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (label, (ours, errors, papers)) in zip(every, panels.items(), strict=True):
        places, values = [y for y, _ in ours], [value for _, value in ours]
        axes.barh(places, values, xerr=errors, color="tab:blue", label="ours")
        if papers:
            values, places = [value for _, value in papers], [y for y, _ in papers]
            axes.plot(values, places, "D", color="tab:orange", label="the paper's")
        unit = "times the reference" if label in _TIMES.values() else "%"
        axes.set(title=label, xlabel=unit, xlim=(0, None))
    every[0].set_yticks(range(len(entries)), [entry.label for entry in entries])
    every[0].invert_yaxis()
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.suptitle(results.plan.title)
    return figure


def _of_metric(entries: tuple[Entry, ...], metric: str) -> tuple[Points, list[list[float]], Points]:
    """Return our figures, how far bars reach to either side, and the paper's figures."""
    ours = [(y, e.figures[metric]) for y, e in enumerate(entries) if metric in e.figures]
    spread = [100 * (s.deviation or 0.0) for _, s in ours]
    papers = [(y, e.paper[metric]) for y, e in enumerate(entries) if metric in e.paper]
    return [(y, 100 * s.mean) for y, s in ours], [spread, spread], papers


def _of_time(results: Results, name: str) -> tuple[Points, list[list[float]], Points]:
    """Return the same of ratios, those of the paper where it has both times."""
    entries = results.entries
    ours = [(y, e.times[name].ratio) for y, e in enumerate(entries) if name in e.times]
    errors = [[r.median - r.low for _, r in ours], [r.high - r.median for _, r in ours]]
    one = next(e for e in entries if e.name == results.plan.reference).paper.get(name)
    papers = [(y, e.paper[name] / one) for y, e in enumerate(entries) if one and name in e.paper]
    return [(y, r.median) for y, r in ours], errors, papers
