"""Checkpoints: the state of a run as a file that is whole or not there."""

from pathlib import Path

import lightning
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from fcis.training.atomic_files import put_file

CHECKPOINT = "last.ckpt"


class AtomicCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside its place, sync it, and put it there in one step.

    Nothing in a checkpoint is executed when it is read.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, object],
        path: str | Path,
        storage_options: object = None,
    ) -> None:
        """Write the file; an interrupted write or a full disk leaves the previous one.

        Raises:
            InputError: it cannot be written.
        """
        put_file(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(
        self, path: str | Path, map_location: object = None, weights_only: bool | None = None
    ) -> dict[str, object]:
        """Return the checkpoint, on the CPU."""
        return torch.load(path, map_location="cpu", weights_only=True)


class Checkpoints(lightning.Callback):
    """Write last.ckpt every so many steps and after the last one, of a run that stops early too.

    It must be the last callback, so that a checkpoint holds all that belongs to its step.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.path = folder / CHECKPOINT
        self.every = every

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Write a checkpoint if it is time."""
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps or trainer.should_stop:
            trainer.save_checkpoint(self.path)
