"""A running average of the weights, which validation and the best weights take in their place.

The statistics of batch normalisation are averaged like the weights: those of the latest weights
would not fit the averaged ones.
"""

import copy

import lightning
import torch

from fcis.core.errors import InputError
from fcis.model.detector import Detector

AVERAGE = "averaged_state_dict"  # of a checkpoint, beside Lightning's `state_dict`


def decay_at(update: int, decay: float) -> float:
    """Return the decay of an update, counted from 0; the first ones hardly keep the beginning."""
    return min(decay, (1 + update) / (10 + update))


@torch.no_grad()
def move_average(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    """Bring an average nearer to a model of the same shape; whole numbers are copied."""
    current = model.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])


class WeightAverage(lightning.Callback):
    """Average the weights over the steps; the average is part of the checkpoint.

    It must come before whatever validates or saves.

    Attributes:
        model: a network of its own with the averaged weights, on the device of the run.
    """

    def __init__(self, model: Detector, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Follow the network to its device."""
        self.model.to(pl_module.device)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Move the average; which update this is follows from the step."""
        model = pl_module.get_submodule("model")
        move_average(self.model, model, decay_at(trainer.global_step - 1, self.decay))

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, object],
    ) -> None:
        """Put the average into the checkpoint."""
        checkpoint[AVERAGE] = self.model.state_dict()

    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, object],
    ) -> None:
        """Go on from the average in a checkpoint.

        Raises:
            InputError: it has none that fits.
        """
        state = checkpoint.get(AVERAGE)
        own = self.model.state_dict()
        if not isinstance(state, dict) or state.keys() != own.keys():
            raise InputError(
                "last.ckpt: has no averaged weights; delete it to begin this run anew, or choose "
                "another --out"
            )
        self.model.load_state_dict(state)
