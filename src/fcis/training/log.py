"""What a run shows and writes as it goes: bar, metrics.csv, TensorBoard, curves and pictures."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from fcis.core.progress import Watcher, say
from fcis.imaging.drawing import contact_sheet
from fcis.training.metrics import (
    FIGURES,
    VAL_LOSS,
    add_metrics,
    draw_curves,
    read_metrics,
    write_metrics,
)
from fcis.training.ranks import is_main
from fcis.training.validation_pictures import PICTURES, Pair, write_sheet

_LOG_EVERY = 20  # steps a row of metrics.csv
_SAID = ("AP", "AP50", "AP75")  # of a validation, in the terminal
_DRAWN = tuple(name.removeprefix("val_") for name in (*FIGURES, VAL_LOSS))


class Log:
    """The losses and figures of a run; of its processes the first one alone shows and writes.

    A row of the table has the means of the losses since the last one. A resumed run drops the
    rows that are newer than its checkpoint; losses not yet in a row are part of the checkpoint.
    """

    def __init__(
        self, folder: Path, steps: int, images_a_step: int, watch: Watcher | None = None
    ) -> None:
        self.folder = folder
        self.steps = steps
        self.images_a_step = images_a_step
        self._watch = watch
        self._sums: dict[str, float] = {}
        self._count = 0
        self._since, self._since_count = time.perf_counter(), 0
        self._bar: tqdm | None = None
        self._board: SummaryWriter | None = None  # the process that writes has one

    def state_dict(self) -> dict[str, object]:
        """Return what a resumed run must know."""
        return {"sums": dict(self._sums), "count": self._count}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from a checkpoint."""
        sums, count = state["sums"], state["count"]
        assert isinstance(sums, dict) and isinstance(count, int)
        self._sums, self._count = dict(sums), count

    def begin(self, step: int) -> None:
        """Show the bar at the steps that are done, and cut the table back to them."""
        self._since, self._since_count = time.perf_counter(), self._count
        if not is_main():
            return
        write_metrics(self.folder, [r for r in read_metrics(self.folder) if int(r["step"]) <= step])
        self._board = SummaryWriter(self.folder / "tensorboard", purge_step=step + 1)
        if self._watch is not None:
            self._watch(step, self.steps)
        else:
            self._bar = tqdm(total=self.steps, initial=step, desc="training", unit="step")

    def close(self) -> None:
        """Close the bar, so that a message does not stand beside it, and TensorBoard's file."""
        for shown in (self._bar, self._board):
            if shown is not None:
                shown.close()

    def add_step(self, step: int, losses: Mapping[str, float]) -> None:
        """Take in a step's losses and its learning rate `lr`; now and then write their means."""
        self._show(step, losses)
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if step % _LOG_EVERY == 0 or step == self.steps:
            self.flush(step, losses["lr"])

    def flush(self, step: int, rate: float) -> None:
        """Write the means since the last row, if there was a step since, and the learning rate."""
        if not self._count:
            return
        seconds = max(time.perf_counter() - self._since, 1e-9)
        images = (self._count - self._since_count) * self.images_a_step
        means = {name: value / self._count for name, value in self._sums.items()}
        self._write(step, means | {"lr": rate, "images_per_second": images / seconds})
        self._sums, self._count = {}, 0
        self._since, self._since_count = time.perf_counter(), 0

    def add_validation(self, step: int, figures: Mapping[str, float], metric: str) -> None:
        """Write what a validation has found, and say it.

        Args:
            step: of the run.
            figures: as `Judge.validate` returns them.
            metric: said too.
        """
        self._write(step, {f"val_{k}": figures[k] for k in _DRAWN if k in figures})
        shown = ", ".join(f"{name} {figures[name]:.3f}" for name in _SAID)
        more = "" if metric in _SAID else f"; {metric} {figures[metric]:.3f}"
        self.say(f"step {step}: mask {shown}{more}")

    def say(self, text: str) -> None:
        """Log a line for people, once for all processes."""
        if is_main():
            say(text)

    def draw(self, step: int, pictures: Callable[[], Sequence[Pair]]) -> None:
        """Write pictures of a validation, which are made if they are wanted, and the curves."""
        if self._board is None:
            return
        if pairs := pictures():
            write_sheet(self.folder, step, pairs)
        for pair in pairs:
            both = np.asarray(contact_sheet([pair.annotated, pair.found], 2, pair.titles))
            self._board.add_image(f"{PICTURES}/{pair.name}", both, step, dataformats="HWC")
        draw_curves(self.folder)

    def _show(self, step: int, losses: Mapping[str, float]) -> None:
        """Move the bar by one step: losses, images a second and the time left; or call."""
        if self._watch is not None and is_main():
            self._watch(step, self.steps)
        if self._bar is None:
            return
        rate = self._bar.format_dict.get("rate") or 0.0
        shown = {k: f"{v:.3f}" for k, v in losses.items() if k != "lr"}
        shown["images/s"] = f"{rate * self.images_a_step:.1f}"
        self._bar.set_postfix(shown, refresh=False)  # `update` draws, and not too often
        self._bar.update(1)

    def _write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write figures as a row of the table and as points of TensorBoard's curves."""
        if self._board is None:
            return
        add_metrics(self.folder, step, figures)
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
