"""What happens around the steps: progress, metrics, validation."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import lightning
from tqdm import tqdm

from fcis.core.progress import Watcher, say
from fcis.training.metrics import (
    FIGURES,
    VAL_LOSS,
    add_metrics,
    draw_curves,
    read_metrics,
    write_metrics,
)
from fcis.training.module import TrainingModule
from fcis.training.ranks import from_main, is_main
from fcis.training.stopping import Best
from fcis.training.validation_pictures import Pair, log_pairs, write_sheet

_LOG_EVERY = 20  # steps a row of metrics.csv
_SAID = ("AP", "AP50", "AP75")  # of a validation, in the terminal
_DRAWN = tuple(name.removeprefix("val_") for name in (*FIGURES, VAL_LOSS))


class Progress(lightning.Callback):
    """A bar with losses, images a second and the time left, or a call at each step."""

    def __init__(self, steps: int, images_a_step: int, watch: Watcher | None = None) -> None:
        self.steps = steps
        self.images_a_step = images_a_step
        self._watch = watch
        self._bar: tqdm | None = None

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Show the bar from the step that the run begins with."""
        if not is_main():
            return
        if self._watch is not None:
            self._watch(trainer.global_step, self.steps)
            return
        self._bar = tqdm(
            total=self.steps, initial=trainer.global_step, desc="training", unit="step"
        )

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Move the bar by one step."""
        if self._watch is not None and is_main():
            self._watch(trainer.global_step, self.steps)
        if self._bar is None:
            return
        rate = self._bar.format_dict.get("rate") or 0.0
        shown = {k: f"{v:.3f}" for k, v in _latest(pl_module).items() if k != "lr"}
        shown["images/s"] = f"{rate * self.images_a_step:.1f}"
        self._bar.set_postfix(shown, refresh=False)  # `update` draws, and not too often
        self._bar.update(1)

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        """Close the bar, so that a message does not stand beside it."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Metrics(lightning.Callback):
    """Means of the losses as rows of metrics.csv and as TensorBoard curves.

    A resumed run drops the rows that are newer than its checkpoint; the losses that were not
    yet in a row are part of the checkpoint.
    """

    def __init__(self, folder: Path, images_a_step: int) -> None:
        self.folder = folder
        self.images_a_step = images_a_step
        self._sums: dict[str, float] = {}
        self._count = 0
        self._since, self._since_count = time.perf_counter(), 0

    def state_dict(self) -> dict[str, object]:
        """Return what a resumed run must know."""
        return {"sums": dict(self._sums), "count": self._count}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go on from a checkpoint."""
        sums, count = state_dict["sums"], state_dict["count"]
        assert isinstance(sums, dict) and isinstance(count, int)
        self._sums, self._count = dict(sums), count

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Begin the file, or cut it back to the step of the checkpoint."""
        if not is_main():
            return
        rows = [r for r in read_metrics(self.folder) if int(r["step"]) <= trainer.global_step]
        write_metrics(self.folder, rows)
        self._since, self._since_count = time.perf_counter(), self._count

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Add up the losses; now and then write their means."""
        for name, value in _latest(pl_module).items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        step = trainer.global_step
        if step % _LOG_EVERY == 0 or step == trainer.max_steps:
            self.flush(trainer, pl_module)

    def flush(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the means since the last row, if there was a step since."""
        if not self._count:
            return
        seconds = max(time.perf_counter() - self._since, 1e-9)
        images = (self._count - self._since_count) * self.images_a_step
        means = {name: value / self._count for name, value in self._sums.items()}
        rate = _latest(pl_module)["lr"]
        self.add(trainer, means | {"lr": rate, "images_per_second": images / seconds})
        self._sums, self._count = {}, 0
        self._since, self._since_count = time.perf_counter(), 0

    def add(self, trainer: lightning.Trainer, figures: dict[str, float]) -> None:
        """Write figures of the present step, once for all processes."""
        if not is_main():
            return
        add_metrics(self.folder, trainer.global_step, figures)
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)


class Validation(lightning.Callback):
    """Evaluate every so many steps and after the last one; keep the best weights.

    Of several processes all take part in `validate`, and the figures of the first one hold.

    The best figure so far is part of the checkpoint. `validate` returns the figures of the
    present weights, `keep` is called when they are the best, and `draw` returns what was found in
    some of the images. A run whose `best` is over ends with this step.

    Attributes:
        best: the best validation so far, on the figure that the recipe names.
    """

    def __init__(
        self,
        every: int,
        metrics: Metrics,
        validate: Callable[[], dict[str, float]],
        keep: Callable[[dict[str, float]], None],
        *,
        best: Best,
        draw: Callable[[], Sequence[Pair]] = tuple,
    ) -> None:
        self.every = every
        self.metrics = metrics
        self.validate = validate
        self.keep = keep
        self.best = best
        self.draw = draw

    def state_dict(self) -> dict[str, object]:
        """Return what a resumed run must know."""
        return self.best.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Go on from a checkpoint."""
        self.best.load_state_dict(state_dict)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Validate if it is time."""
        step = trainer.global_step
        last = step == trainer.max_steps
        if not last and (not self.every or step % self.every):
            return
        pl_module.eval()
        figures = from_main(self.validate())
        pl_module.train()
        is_best = self.best.add(figures[self.best.metric], step)
        if self.best.is_over and not last:
            trainer.should_stop = True
            self.metrics.flush(trainer, pl_module)
        self.metrics.add(trainer, {f"val_{k}": figures[k] for k in _DRAWN if k in figures})
        if is_main():
            self._report(trainer, figures, is_best)

    def _report(self, trainer: lightning.Trainer, figures: dict[str, float], is_best: bool) -> None:
        """Say, keep and draw what a validation has found."""
        step, metric, folder = trainer.global_step, self.best.metric, self.metrics.folder
        shown = ", ".join(f"{name} {figures[name]:.3f}" for name in _SAID)
        more = "" if metric in _SAID else f"; {metric} {figures[metric]:.3f}"
        say(f"step {step}: mask {shown}{more}")
        if trainer.should_stop:
            say(
                f"step {step}: stopping, {metric} has not become better since step {self.best.step}"
            )
        if is_best:
            self.keep(figures)
        if pairs := self.draw():
            write_sheet(folder, step, pairs)
            log_pairs(trainer.loggers, step, pairs)
        draw_curves(folder)


def _latest(module: lightning.LightningModule) -> dict[str, float]:
    """Return losses and learning rate of the last step."""
    if not isinstance(module, TrainingModule):
        raise TypeError(f"pl_module: expected a TrainingModule, got {type(module).__name__}")
    return module.latest
