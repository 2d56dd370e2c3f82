"""The table of a run, metrics.csv, and its picture, curves.png."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from fcis.core.output_files import cannot_write, put_file
from fcis.training.folder import REMEDY

METRICS = "metrics.csv"
CURVES = "curves.png"
_MNC = ("roi_instance", "roi_class_2", "roi_instance_2", "roi_mask_2", "roi_box_2")
_WINDOWS = ("window_class", "window_mask")  # of InstFCN
LOSSES = ("loss", "rpn_class", "rpn_box", "roi_class", "roi_mask", "roi_box", *_MNC, *_WINDOWS)
VAL_LOSS = "val_loss"
FIGURES = ("val_AP", "val_AP50", "val_AP75", "val_box_AP", "val_dsb@0.50")
COLUMNS: tuple[str, ...] = ("step", *LOSSES, "lr", "images_per_second", *FIGURES, VAL_LOSS)
_MASK_AP = FIGURES[:3]  # drawn stronger than the others


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv; rows that are not whole are left out.

    A row has the losses since the last such row, or validation figures; the others are empty, and
    so are those that an older file does not have.
    """
    path = folder / METRICS
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        lines = list(csv.reader(line for line in file if line.endswith("\n")))
    columns = next((line for line in lines if line[:1] == ["step"]), COLUMNS)
    rows = [dict(zip(columns, row, strict=True)) for row in lines if len(row) == len(columns)]
    rows = [{name: row.get(name, "") for name in COLUMNS} for row in rows]
    return [row for row in rows if row["step"].isdigit()]


def write_metrics(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write metrics.csv anew; an interrupted write leaves the previous one.

    Raises:
        InputError: it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([row[name] for name in COLUMNS] for row in rows)
    put_file(folder / METRICS, lambda file: file.write(text.getvalue().encode()), remedy=REMEDY)


def add_metrics(folder: Path, step: int, figures: Mapping[str, float]) -> None:
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
        raise cannot_write(path, error, REMEDY) from None


def draw_curves(folder: Path) -> None:
    """Draw losses and validation figures over the steps as curves.png.

    Raises:
        InputError: it cannot be written.
    """
    rows = read_metrics(folder)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in LOSSES:
        if points := _points(rows, name):
            left.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
            left.set_yscale("log")
    if points := _points(rows, VAL_LOSS):
        left.plot(*zip(*points, strict=True), label="loss, validation", color="black", marker="o")
    for name in FIGURES:
        if points := _points(rows, name):
            style = {"linewidth": 1.5} if name in _MASK_AP else {"linewidth": 0.8, "alpha": 0.6}
            label = f"{name.removeprefix('val_')} (last {points[-1][1]:.3f})"
            right.plot(*zip(*points, strict=True), label=label, marker="o", markersize=3, **style)
    left.set(xlabel="step", title="losses")
    right.set(xlabel="step", title="validation", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    put_file(folder / CURVES, lambda f: figure.savefig(f, format="png", dpi=110), remedy=REMEDY)


def _points(rows: list[dict[str, str]], name: str) -> list[tuple[int, float]]:
    return [(int(row["step"]), float(row[name])) for row in rows if row[name]]
