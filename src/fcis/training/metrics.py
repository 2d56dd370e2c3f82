"""The table of a run, metrics.csv, and its picture, curves.png."""

import csv
import os
from pathlib import Path

from matplotlib.figure import Figure

from fcis.errors import InputError

METRICS = "metrics.csv"
CURVES = "curves.png"
LOSSES = ("loss", "rpn_class", "rpn_box", "roi_class", "roi_mask", "roi_box")
FIGURES = ("val_AP", "val_AP50", "val_AP75")
COLUMNS: tuple[str, ...] = ("step", *LOSSES, "lr", "images_per_second", *FIGURES)


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv; rows that are not whole are left out.

    A row has the losses since the last such row, or validation figures; the others are empty.
    """
    path = folder / METRICS
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        reader = csv.reader(line for line in file if line.endswith("\n"))
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in reader if len(row) == len(COLUMNS)]
    return [row for row in rows if row["step"].isdigit()]


def write_metrics(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write metrics.csv anew; an interrupted write leaves the previous one."""
    partial = folder / f"{METRICS}.partial"
    with partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([row[name] for name in COLUMNS] for row in rows)
    os.replace(partial, folder / METRICS)


def add_metrics(folder: Path, step: int, figures: dict[str, float]) -> None:
    """Add a row to metrics.csv.

    Raises:
        InputError: it cannot be written.
    """
    row = {"step": str(step)} | {name: f"{value:.6g}" for name, value in figures.items()}
    path = folder / METRICS
    try:
        with path.open("a", newline="") as file:
            csv.writer(file).writerow([row.get(name, "") for name in COLUMNS])
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); make room and go on with --resume"
        ) from None


def draw_curves(folder: Path) -> None:
    """Draw losses and validation figures over the steps as curves.png."""
    rows = read_metrics(folder)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in LOSSES:
        if points := _points(rows, name):
            left.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
            left.set_yscale("log")
    for name in FIGURES:
        if points := _points(rows, name):
            label = f"{name.removeprefix('val_')} (last {points[-1][1]:.3f})"
            right.plot(*zip(*points, strict=True), label=label, marker="o", markersize=3)
    left.set(xlabel="step", title="training losses")
    right.set(xlabel="step", title="validation, masks", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    partial = folder / f"{CURVES}.partial"
    figure.savefig(partial, format="png", dpi=110)
    os.replace(partial, folder / CURVES)


def _points(rows: list[dict[str, str]], name: str) -> list[tuple[int, float]]:
    return [(int(row["step"]), float(row[name])) for row in rows if row[name]]
