"""The training step in Lightning's shape: one call is one optimiser step."""

from collections.abc import Iterator
from dataclasses import replace

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Sampler

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.model.detector import Detector
from fcis.recipe.types import Recipe
from fcis.training.batch import Sample, TrainingBatch, collate_samples
from fcis.training.optim import base_rate, build_optimiser, build_schedule, clip_gradients
from fcis.training.ranks import gather, mean_of, place_of
from fcis.training.samples import TrainingSamples
from fcis.training.systems import losses_of


class TrainingModule(lightning.LightningModule):
    """A system with its losses and its optimiser.

    The accumulated batches of an optimiser step arrive together, so that a checkpoint can only
    fall between steps.

    Attributes:
        latest: losses of the last step, and the learning rate it was made with.
    """

    def __init__(self, model: Detector, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.automatic_optimization = False
        self.latest: dict[str, float] = {}

    def training_step(self, batches: tuple[TrainingBatch, ...], _: int) -> None:
        """Accumulate the gradients of the batches and make one step.

        With several processes each has its own batches, and the gradients are averaged.

        Raises:
            InputError: a loss is not finite; names the image and the term.
        """
        optimiser, schedule = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimiser, LightningOptimizer) and isinstance(schedule, LambdaLR)
        sums: dict[str, float] = {}
        for batch in batches:
            for name, value in self._add_gradients(batch, 1 / len(batches)).items():
                sums[name] = sums.get(name, 0.0) + value / len(batches)
        clip_gradients(self.model, self.recipe.training.optimiser.clip_norm)
        optimiser.step()
        optimiser.zero_grad()
        factor = schedule.lr_lambdas[0](schedule.last_epoch)
        schedule.step()
        sums = dict(zip(sums, mean_of(list(sums.values()), self.device), strict=True))
        rate = base_rate(self.recipe.training) * factor
        self.latest = sums | {"loss": sum(sums.values()), "lr": rate}

    def _add_gradients(self, batch: TrainingBatch, share: float) -> dict[str, float]:
        """Add a batch's share of the step's gradient; return its losses."""
        half = self.recipe.training.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            losses = losses_of(self.model, batch, self.recipe)
        # all processes stop together, so that none waits for another
        bad = next(filter(None, gather(losses.first_bad(batch.names))), None)
        if bad:
            raise InputError(
                f"{bad[0]}: the loss {bad[1]} is not finite in step {self.global_step + 1}; "
                "look at this image's annotations, or lower the learning rate "
                "(--set training.optimiser.lr=...)"
            )
        self.manual_backward(losses.total() * share)
        return losses.means()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return optimiser and schedule."""
        training = self.recipe.training
        scaled = replace(training.optimiser, lr=base_rate(training))
        optimiser = build_optimiser(self.model, scaled)
        schedule = build_schedule(optimiser, training.optimiser, training.steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule}}

    def transfer_batch_to_device(
        self, batch: tuple[TrainingBatch, ...], device: torch.device, dataloader_idx: int
    ) -> tuple[TrainingBatch, ...]:
        """Return the batches with pixels and truth on the device, in the network's precision."""
        kind = torch.float64 if self.recipe.training.precision == "float64" else torch.float32
        return tuple(b.to(device).of_type(kind) for b in batch)


class StepSampler(Sampler[list[int]]):
    """Yield the sample numbers of each optimiser step, for ever, from a step on.

    Of the samples of a step, each of the run's processes takes as many in turn.
    """

    def __init__(
        self, first_step: int, *, samples_a_step: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.first_step = first_step
        self.samples_a_step = samples_a_step
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[list[int]]:
        start = (self.first_step * self.ranks + self.rank) * self.samples_a_step
        while True:
            yield list(range(start, start + self.samples_a_step))
            start += self.samples_a_step * self.ranks


class StepCollate:
    """Split the samples of a step into the batches that are accumulated."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def __call__(self, samples: list[Sample]) -> tuple[TrainingBatch, ...]:
        """Return the batches in the order of the samples."""
        starts = range(0, len(samples), self.batch)
        return tuple(collate_samples(samples[i : i + self.batch]) for i in starts)


def training_loader(dataset: Dataset, recipe: Recipe, first_step: int) -> DataLoader[Sample]:
    """Return this process's endless batches of a run from an optimiser step on.

    Raises:
        InputError: the dataset has no objects, or the processes are not as many as the recipe
            says.
    """
    samples = TrainingSamples(dataset, recipe)
    if not samples.images:
        raise InputError(f"{dataset.name}: no image has an object; there is nothing to learn")
    training = recipe.training
    a_step = training.batch * training.accumulate
    rank, ranks = place_of(training)
    return DataLoader(
        samples,
        batch_sampler=StepSampler(first_step, samples_a_step=a_step, rank=rank, ranks=ranks),
        collate_fn=StepCollate(training.batch),
        num_workers=training.workers,
        persistent_workers=training.workers > 0,
    )
