"""The state of a run, and its file `last.ckpt`.

The keys of the file are those that Lightning's Trainer gives, with which runs were made before:

- `global_step`: optimiser steps that are done.
- `state_dict`: the network's arrays, each name behind `model.`.
- `averaged_state_dict`: those of their running average, if the recipe has one, plain names.
- `optimizer_states`, `lr_schedulers`: a list of one each, as torch has them.
- `callbacks`: `Metrics`, losses not yet in a row of the table; `Validation`, the best one.
"""

import pickle
from pathlib import Path

import torch

from fcis.core.errors import InputError
from fcis.core.output_files import put_file
from fcis.model.detector import Detector
from fcis.recipe.types import TrainingRecipe
from fcis.training.ema import begin_average
from fcis.training.folder import REMEDY
from fcis.training.log import Log
from fcis.training.optim import build_optimiser, build_schedule, scaled
from fcis.training.stopping import Best

AVERAGE = "averaged_state_dict"
_PREFIX = "model."
# what torch and Python raise of contents that are not those of a checkpoint
_WRONG_CONTENTS = (RuntimeError, LookupError, TypeError, ValueError, AttributeError, AssertionError)


class RunState:
    """All that changes as a run goes on.

    Attributes:
        step: optimiser steps that are done.
        model: the network, on the run's device.
        average: of its weights, if the recipe asks for one.
        optimiser: of the model's parameters.
        schedule: of the optimiser.
        best: the best validation so far.
        log: the losses that are not yet in a row.
    """

    def __init__(self, model: Detector, training: TrainingRecipe, log: Log) -> None:
        self.step = 0
        self.model = model
        self.average = begin_average(model) if training.ema else None
        self.optimiser = build_optimiser(model, scaled(training))
        self.schedule = build_schedule(self.optimiser, training.optimiser, training.steps)
        self.best = Best(training.metric, training.patience)
        self.log = log

    @property
    def validated(self) -> Detector:
        """Return the network that is validated and kept."""
        return self.average or self.model

    def save(self, path: Path) -> None:
        """Write a checkpoint; an interrupted write or a full disk leaves the previous one.

        Raises:
            InputError: it cannot be written.
        """
        checkpoint: dict[str, object] = {
            "global_step": self.step,
            "state_dict": {_PREFIX + k: v for k, v in self.model.state_dict().items()},
            "optimizer_states": [self.optimiser.state_dict()],
            "lr_schedulers": [self.schedule.state_dict()],
            "callbacks": {
                "Metrics": self.log.state_dict(),
                "Validation": self.best.state_dict(),
            },
        }
        if self.average:
            checkpoint[AVERAGE] = self.average.state_dict()
        put_file(path, lambda file: torch.save(checkpoint, file), remedy=REMEDY)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint; nothing in it is executed.

        Raises:
            InputError: it is damaged, or of another network.
        """
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            state = checkpoint["state_dict"]
            self.model.load_state_dict({k.removeprefix(_PREFIX): v for k, v in state.items()})
            if self.average:
                self.average.load_state_dict(checkpoint[AVERAGE])
            self.optimiser.load_state_dict(checkpoint["optimizer_states"][0])
            self.schedule.load_state_dict(checkpoint["lr_schedulers"][0])
            self.best.load_state_dict(checkpoint["callbacks"]["Validation"])
            self.log.load_state_dict(checkpoint["callbacks"]["Metrics"])
            self.step = int(checkpoint["global_step"])
        except (OSError, EOFError, pickle.PickleError, *_WRONG_CONTENTS):
            raise InputError(
                f"{path}: damaged; delete it to begin this run anew, or choose another --out"
            ) from None
