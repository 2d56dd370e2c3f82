"""What happens around the steps: progress, metrics, checkpoints, validation."""

import csv
import os
import time
from collections.abc import Callable
from pathlib import Path

import lightning
import matplotlib
from lightning.fabric.plugins.io import TorchCheckpointIO
from matplotlib.figure import Figure
from tqdm import tqdm

from fcis.training.module import TrainingModule

matplotlib.use("Agg", force=False)

CHECKPOINT = "last.ckpt"
METRICS = "metrics.csv"
CURVES = "curves.png"
_LOG_EVERY = 20  # steps a row of metrics.csv
_COLUMNS = (
    "step",
    "loss",
    "rpn_class",
    "rpn_box",
    "roi_class",
    "roi_mask",
    "roi_box",
    "lr",
    "images_per_second",
    "val_AP",
    "val_AP50",
    "val_AP75",
)


class AtomicCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside its place, sync it, and put it there in one step."""

    def save_checkpoint(
        self, checkpoint: dict, path: str | Path, storage_options: None = None
    ) -> None:
        """Write the file; an interrupted write leaves the previous one."""
        partial = Path(f"{path}.partial")
        super().save_checkpoint(checkpoint, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)


class Progress(lightning.Callback):
    """A bar with losses, images a second and the time left."""

    def __init__(self, steps: int, images_a_step: int) -> None:
        self.steps = steps
        self.images_a_step = images_a_step
        self._bar: tqdm | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: TrainingModule) -> None:
        """Show the bar from the step that the run begins with."""
        self._bar = tqdm(
            total=self.steps, initial=trainer.global_step, desc="training", unit="step"
        )

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: TrainingModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Move the bar by one step."""
        if self._bar is None:
            return
        self._bar.update(1)
        rate = self._bar.format_dict.get("rate") or 0.0
        shown = {k: f"{v:.3f}" for k, v in pl_module.latest.items()}
        self._bar.set_postfix(shown | {"images/s": f"{rate * self.images_a_step:.1f}"})

    def on_train_end(self, trainer: lightning.Trainer, pl_module: TrainingModule) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()


class Metrics(lightning.Callback):
    """Means of the losses as rows of metrics.csv and as TensorBoard curves.

    A resumed run drops the rows that are newer than its checkpoint.
    """

    def __init__(self, folder: Path, images_a_step: int) -> None:
        self.folder = folder
        self.images_a_step = images_a_step
        self._sums: dict[str, float] = {}
        self._count = 0
        self._since = time.perf_counter()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: TrainingModule) -> None:
        """Begin the file, or cut it back to the step of the checkpoint."""
        rows = [r for r in read_metrics(self.folder) if int(r["step"]) <= trainer.global_step]
        write_metrics(self.folder, rows)
        self._since = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: TrainingModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Add up the losses; now and then write their means."""
        for name, value in pl_module.latest.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        step = trainer.global_step
        if step % _LOG_EVERY and step != trainer.max_steps:
            return
        row = {k: v / self._count for k, v in self._sums.items()}
        row["lr"] = trainer.optimizers[0].param_groups[-1]["lr"]
        seconds = max(time.perf_counter() - self._since, 1e-9)
        row["images_per_second"] = self._count * self.images_a_step / seconds
        self.add(trainer, row)
        self._sums, self._count, self._since = {}, 0, time.perf_counter()

    def add(self, trainer: lightning.Trainer, row: dict[str, float]) -> None:
        """Write figures of the present step."""
        text = {k: f"{v:.6g}" for k, v in row.items()} | {"step": str(trainer.global_step)}
        with (self.folder / METRICS).open("a", newline="") as file:
            csv.DictWriter(file, _COLUMNS).writerow(text)
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)


class Checkpoints(lightning.Callback):
    """Write last.ckpt every so many steps and after the last one."""

    def __init__(self, folder: Path, every: int) -> None:
        self.path = folder / CHECKPOINT
        self.every = every

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: TrainingModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Write a checkpoint if it is time."""
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
            trainer.save_checkpoint(self.path)


class Validation(lightning.Callback):
    """Evaluate every so many steps and after the last one; keep the best weights.

    The best figure so far is part of the checkpoint. `validate` returns the figures of the
    present weights, and `keep` is called when their AP is the best.
    """

    def __init__(
        self,
        every: int,
        metrics: Metrics,
        validate: Callable[[], dict[str, float]],
        keep: Callable[[dict[str, float]], None],
    ) -> None:
        self.every = every
        self.metrics = metrics
        self.validate = validate
        self.keep = keep
        self.best = -1.0
        self.best_step = 0

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed run must know."""
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self.best = float(state_dict["best"])
        self.best_step = int(state_dict["best_step"])

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: TrainingModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Validate if it is time."""
        step = trainer.global_step
        last = step == trainer.max_steps
        if not last and (not self.every or step % self.every):
            return
        pl_module.model.eval()
        figures = self.validate()
        pl_module.model.train()
        names = ("AP", "AP50", "AP75")
        self.metrics.add(trainer, {f"val_{k}": figures[k] for k in names})
        tqdm.write(f"step {step}: mask " + ", ".join(f"{k} {figures[k]:.3f}" for k in names))
        if figures["AP"] > self.best:
            self.best, self.best_step = figures["AP"], step
            self.keep(figures)
        draw_curves(self.metrics.folder)


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv; a last row that was cut short is left out."""
    path = folder / METRICS
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [r for r in rows if (r["step"] or "").isdigit() and None not in r.values()]


def write_metrics(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write metrics.csv anew."""
    with (folder / METRICS).open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def draw_curves(folder: Path) -> None:
    """Draw losses and validation figures over the steps as curves.png."""
    rows = read_metrics(folder)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in ("loss", "rpn_class", "rpn_box", "roi_class", "roi_mask", "roi_box"):
        points = [(int(r["step"]), float(r[name])) for r in rows if r[name]]
        if points:
            left.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
            left.set_yscale("log")
    for name in ("val_AP50", "val_AP75", "val_AP"):
        points = [(int(r["step"]), float(r[name])) for r in rows if r[name]]
        if points:
            label = f"{name[4:]} (last {points[-1][1]:.3f})"
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
