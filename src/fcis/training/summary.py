"""What a run has come to -> lines for people."""

from collections.abc import Mapping

from fcis.training.folder import BEST
from fcis.training.metrics import CURVES, METRICS, read_metrics
from fcis.training.run import RunResult
from fcis.training.validation_pictures import sheet_path


def summary(result: RunResult, val: str) -> str:
    """Return what a person wants to know after a run.

    Args:
        result: of the run.
        val: the argument that names the validation set.
    """
    training, folder = result.recipe.training, result.folder
    lines = []
    if result.new_arrays:
        lines.append(
            f"began anew, because the given weights did not fit: {', '.join(result.new_arrays)}"
        )
    if result.images:
        rate = result.images / max(result.seconds, 1e-9)
        lines.append(
            f"trained on {result.images} images in {result.seconds / 60:.1f} min, "
            f"{rate:.3g} a second, validations included"
        )
    if result.stopped_early:
        before = "" if result.images else "nothing to do: the run has "
        lines.append(
            f"{before}stopped early at step {result.steps} of {training.steps}, because "
            f"{training.metric} had not become better since step {result.best_step}; to go on, "
            "add --resume --set patience=0"
        )
    elif not result.images:
        lines.append(f"nothing to do: all {training.steps} steps were made before")
    lines += _figure_lines(result)
    lines.append(f"weights: {folder / BEST}")
    lines.append(f"curves:  {folder / CURVES}, from {folder / METRICS}")
    if (sheet := sheet_path(folder, result.steps)).is_file():
        lines.append(f"found:   {sheet}, beside what is annotated")
    lines.append(f"all:     tensorboard --logdir {folder}")
    lines.append(f"measure: fcis evaluate --data {val} --weights {folder}")
    lines.append(f"try it:  fcis predict IMAGES --weights {folder}")
    return "\n".join(lines)


def _figure_lines(result: RunResult) -> list[str]:
    """Return the figures of the best and of the last validation."""
    metric = result.recipe.training.metric
    name = metric if metric in ("loss", "box_AP") else f"mask {metric}"
    best = f"best {name} {result.best:.3f} at step {result.best_step}"
    rows = [row for row in read_metrics(result.folder) if row["val_AP"]]
    figures = {int(row["step"]): _figures(row) for row in rows}
    if result.best_step not in figures:
        return [best]
    lines = [f"{best}: {figures[result.best_step]}"]
    last = max(figures)
    if last != result.best_step:
        lines.append(f"last, at step {last}: {figures[last]}")
    elif not result.stopped_early and len(figures) > 1:
        lines.append("it was still becoming better: more steps may give more")
    return lines


def _figures(row: Mapping[str, str]) -> str:
    found = {
        name.removeprefix("val_"): float(value)
        for name, value in row.items()
        if name.startswith("val_") and value
    }
    return ", ".join(f"{name} {value:.3f}" for name, value in found.items())
