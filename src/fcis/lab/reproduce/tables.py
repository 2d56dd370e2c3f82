"""A finished table as Markdown, with the paper's figures beside ours, and what they rest on."""

from collections.abc import Callable
from typing import Literal

from fcis.lab.benchmark.table import Table, number
from fcis.lab.reproduce.paper import TEST_SECONDS, TRAIN_SECONDS
from fcis.lab.reproduce.results import Entry, Results
from fcis.lab.reproduce.statistics import LEAST_SEEDS, Comparison, Summary

_NOTHING = "-"
_Cell = Callable[[Entry], str]


def to_table(results: Results) -> Table:
    """Return the rows as text; columns in which no row has anything are left out."""
    plan = results.plan
    columns: dict[str, _Cell] = {}
    for metric, label in plan.metrics.items():
        columns[label] = lambda e, m=metric: _figure(e.figures.get(m))
        columns[f"{label}, paper"] = lambda e, m=metric: _shown(e.paper.get(m), ".1f")
    for metric in plan.compared:
        columns[f"{plan.metrics[metric]}, difference"] = lambda e, m=metric: _difference(
            e.comparison(m)
        )
    for name, label in ((TEST_SECONDS, "test"), (TRAIN_SECONDS, "training")):
        # three digits that count, however short it is
        columns[f"{label}, s an image"] = lambda e, n=name: _time(e, n, "seconds", ".3g")
        columns[f"{label}, ratio"] = lambda e, n=name: _time(e, n, "ratio", ".2f")
        columns[f"{label}, s, paper"] = lambda e, n=name: _shown(e.paper.get(n), ".2f")
    columns["GFLOP an image"] = lambda e: (
        _NOTHING if e.operations is None else number(e.operations / 1e9)
    )
    cells = {name: [cell(entry) for entry in results.entries] for name, cell in columns.items()}
    kept = {name: rows for name, rows in cells.items() if set(rows) != {_NOTHING}}
    labels = [entry.label for entry in results.entries]
    return Table(
        title=plan.title,
        columns=("", *kept),
        rows=tuple(zip(labels, *kept.values(), strict=True)),
    )


def notes(results: Results) -> list[str]:
    """Return what the figures rest on, a sentence or two a line."""
    plan, environment = results.plan, results.environment
    reference = next(e.label for e in results.entries if e.name == plan.reference)
    seeds = len(results.seeds)
    several = seeds >= LEAST_SEEDS
    chance = (
        f"paired t-test over {seeds} seeds"
        if several
        else f"paired bootstrap over the {results.images} validation images"
    )
    lines = [
        f"Figures are per cent of masks; trained on {results.data[0]}, evaluated on "
        f"{results.images} images of {results.data[1]}, from the recipe {plan.base.name} with "
        f"budget {results.budget}: {plan.base.training.steps} steps each, "
        + (f"mean ± standard deviation of {seeds} seeds." if seeds > 1 else "one seed."),
        f"Differences are from {reference}, with 95 % intervals and p ({chance}).",
        f"Times: medians of rounds in which all rows take turns, ratios to {reference} within a "
        f"round; {environment.device_name}, {environment.threads} threads of torch.",
    ]
    if not several:
        lines.append("Another training may differ by more than these intervals say.")
    where = "VOC 2012 val" if plan.table == "table1" else "COCO test-dev"
    lines.append(
        f"The paper's columns are of {where}, ResNet-101 unless the row says otherwise, on a K40: "
        "another task, of which the order of the rows and the ratios can be compared."
    )
    return lines


def to_markdown(results: Results) -> str:
    """Return the table and its notes, with a line break at the end."""
    return "\n\n".join([to_table(results).text(), *notes(results)]) + "\n"


def _figure(found: Summary | None) -> str:
    if found is None:
        return _NOTHING
    spread = "" if found.deviation is None else f" ± {100 * found.deviation:.1f}"
    return f"{100 * found.mean:.1f}{spread}"


def _shown(value: float | None, form: str) -> str:
    return _NOTHING if value is None else format(value, form)


def _time(entry: Entry, name: str, kind: Literal["seconds", "ratio"], form: str) -> str:
    found = entry.times.get(name)
    return _shown(None if found is None else getattr(found, kind).median, form)


def _difference(found: Comparison | None) -> str:
    if found is None:
        return _NOTHING
    low, high = 100 * found.low, 100 * found.high
    p = "p < 0.01" if found.p < 0.01 else f"p {found.p:.2f}"
    return f"{100 * found.difference:+.1f} ({low:+.1f} to {high:+.1f}), {p}"
