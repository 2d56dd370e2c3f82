"""The training loop: sample, step, log, validate, save.

Fabric knows devices and processes. Under it a network must be entered by `forward`, else the
gradients of several processes are not averaged: hence `LossModule`.
"""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path

from lightning.fabric import Fabric
from lightning.fabric.wrappers import _FabricModule
from torch import nn

from fcis.core.errors import InputError
from fcis.core.interrupts import StopRequest
from fcis.recipe.types import Recipe, TrainingRecipe
from fcis.training.ema import decay_at, move_average
from fcis.training.loader import Batches
from fcis.training.losses import Losses
from fcis.training.optim import base_rate, clip_gradients, learning_rate_factor
from fcis.training.ranks import from_main, gather, is_main, mean_of
from fcis.training.state import RunState
from fcis.training.systems import LossModule
from fcis.training.validating import Judge


def fabric_of(training: TrainingRecipe, device: str) -> Fabric:
    """Return the devices of a run; the processes of several begin with its `launch`."""
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    kind, _, number = device.partition(":")
    return Fabric(
        accelerator="gpu" if kind == "cuda" else kind,
        devices=[int(number)] if number else training.devices,
        num_nodes=training.num_nodes,
        strategy="ddp" if training.devices * training.num_nodes > 1 else "auto",
    )


def run_loop(
    fabric: Fabric,
    state: RunState,
    recipe: Recipe,
    loader: Iterable[Batches],
    judge: Judge,
    checkpoint: Path,
) -> None:
    """Train to the last step, or to where the best validation is too long ago.

    Args:
        fabric: its processes have been launched.
        state: of the run, on the fabric's device; goes on.
        recipe: of the run.
        loader: the steps from `state.step` on.
        judge: validates `state.validated`.
        checkpoint: the file of the state.

    Raises:
        InputError: a loss is not finite, an image cannot be read, a file cannot be written, the
            device has too little memory, or another process of the run is gone.
        KeyboardInterrupt: the run was asked to stop; its state is saved.
    """
    training, log = recipe.training, state.log
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # on the CPU there is none: each process has statistics of its own images
        nn.SyncBatchNorm.convert_sync_batchnorm(state.model)
    network = LossModule(state.model, recipe)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        network, optimiser = fabric.setup(network, state.optimiser)
    log.begin(state.step)
    with StopRequest("stopping when this step is saved; Ctrl-C again stops at once") as request:
        for batches in loader:
            losses = _add_gradients(fabric, network, batches, state.step + 1)
            losses["lr"] = base_rate(training) * learning_rate_factor(
                state.step, training.optimiser, training.steps
            )
            clip_gradients(state.model, training.optimiser.clip_norm)
            optimiser.step()
            optimiser.zero_grad()
            state.schedule.step()
            state.step += 1
            if state.average:
                decay = decay_at(state.step - 1, training.ema)
                move_average(state.average, state.model, decay)
            log.add_step(state.step, losses)
            ends = state.step == training.steps
            if ends or _is_due(state.step, training.validate_every):
                network.eval()
                figures = from_main(judge.validate())
                network.train()
                is_best = state.best.add(figures[training.metric], state.step)
                if state.best.is_over and not ends:
                    ends = True
                    log.flush(state.step, losses["lr"])
                log.add_validation(state.step, figures, training.metric)
                if is_best and is_main():
                    judge.keep(figures)
                log.draw(state.step, judge.pictures)
            is_stopped = any(gather(bool(request)))
            is_due = _is_due(state.step, training.checkpoint_every)
            if is_main() and (ends or is_stopped or is_due):
                state.save(checkpoint)
            if ends:
                break
            if is_stopped:
                log.say(f"step {state.step}: saved; the same command with --resume goes on")
                request.stop()
    if state.step < training.steps:
        log.say(
            f"step {state.step}: stopping, {training.metric} has not become better since step "
            f"{state.best.step}"
        )


def _is_due(step: int, every: int) -> bool:
    """Tell whether what happens every so many steps, 0 for never, happens after this one."""
    return every > 0 and step % every == 0


def _add_gradients(
    fabric: Fabric, network: _FabricModule, batches: Batches, step: int
) -> dict[str, float]:
    """Add up the gradients of a step's batches; return the means of the losses of all processes.

    Each process has its own batches, and with the last one the gradients are averaged.

    Raises:
        InputError: a loss is not finite; names the image and the term.
    """
    kind = next(network.parameters()).dtype
    sums: dict[str, float] = {}
    for number, batch in enumerate(batches, start=1):
        batch = batch.to(fabric.device).of_type(kind)
        with fabric.no_backward_sync(network, enabled=number < len(batches)):
            losses = Losses(terms=network(batch))
            # all processes stop together, so that none waits for another
            bad = next(filter(None, gather(losses.first_bad(batch.names))), None)
            if bad:
                raise InputError(
                    f"{bad[0]}: the loss {bad[1]} is not finite in step {step}; look at this "
                    "image's annotations, or lower the learning rate "
                    "(--set training.optimiser.lr=...)"
                )
            fabric.backward(losses.total() * (1 / len(batches)))
        for name, value in losses.means().items():
            sums[name] = sums.get(name, 0.0) + value / len(batches)
    sums = dict(zip(sums, mean_of(list(sums.values()), fabric.device), strict=True))
    return sums | {"loss": sum(sums.values())}
