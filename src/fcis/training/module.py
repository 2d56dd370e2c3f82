"""The training step in Lightning's shape: one call is one optimiser step."""

from collections.abc import Iterator

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from fcis.data.dataset import Dataset
from fcis.errors import InputError
from fcis.model.fcis import FCIS
from fcis.recipe import Recipe
from fcis.training.losses import compute_losses
from fcis.training.optim import build_optimiser, build_schedule
from fcis.training.samples import Sample, TrainingBatch, TrainingSamples, collate_samples

_CHANCE_OF_TARGETS = 1 << 20  # keeps the streams of targets apart from those of samples


class TrainingModule(lightning.LightningModule):
    """FCIS with its losses and its optimiser.

    The accumulated batches of an optimiser step arrive together, so that a checkpoint can only
    fall between steps.
    """

    def __init__(self, model: FCIS, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.automatic_optimization = False
        self.latest: dict[str, float] = {}

    def training_step(self, batches: tuple[tuple[int, TrainingBatch], ...], _: int) -> None:
        """Accumulate the gradients of the batches and make one step.

        Raises:
            InputError: a loss is not finite; names the image and the term.
        """
        optimiser, schedule = self.optimizers(), self.lr_schedulers()
        sums: dict[str, float] = {}
        for number, batch in batches:
            seed = (self.recipe.training.seed, _CHANCE_OF_TARGETS, number)
            state = np.random.SeedSequence(seed).generate_state(1)
            generator = torch.Generator().manual_seed(int(state[0]))
            losses = compute_losses(self.model, batch, self.recipe, generator)
            bad = losses.first_bad(batch.names)
            if bad:
                raise InputError(
                    f"{bad[0]}: the loss {bad[1]} is not finite in step {self.global_step + 1}; "
                    "look at this image's annotations, or lower the learning rate "
                    "(--set training.optimiser.lr=...)"
                )
            self.manual_backward(losses.total() / len(batches))
            for name, value in losses.means().items():
                sums[name] = sums.get(name, 0.0) + value / len(batches)
        bound = self.recipe.training.optimiser.clip_norm
        if bound:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), bound)
        optimiser.step()  # type: ignore[union-attr]
        optimiser.zero_grad()  # type: ignore[union-attr]
        schedule.step()  # type: ignore[union-attr]
        self.latest = sums | {"loss": sum(sums.values())}

    def configure_optimizers(self) -> dict:
        """Return optimiser and schedule."""
        training = self.recipe.training
        optimiser = build_optimiser(self.model, training.optimiser)
        schedule = build_schedule(optimiser, training.optimiser, training.steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule}}

    def transfer_batch_to_device(
        self,
        batch: tuple[tuple[int, TrainingBatch], ...],
        device: torch.device,
        dataloader_idx: int,
    ) -> tuple[tuple[int, TrainingBatch], ...]:
        """Return the batches with pixels and truth on the device."""
        return tuple((number, b.to(device)) for number, b in batch)


class StepSampler(Sampler[list[int]]):
    """Yield the sample numbers of each optimiser step, for ever, from a step on."""

    def __init__(self, first_step: int, *, samples_a_step: int) -> None:
        self.first_step = first_step
        self.samples_a_step = samples_a_step

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            start = step * self.samples_a_step
            yield list(range(start, start + self.samples_a_step))
            step += 1


class _NumberedSamples(torch.utils.data.Dataset[tuple[int, Sample]]):
    """Samples with their numbers, which seed the choice of targets."""

    def __init__(self, samples: TrainingSamples) -> None:
        self.samples = samples

    def __getitem__(self, number: int) -> tuple[int, Sample]:
        return number, self.samples[number]


class _CollateSteps:
    """Split the samples of a step into the batches that are accumulated."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def __call__(self, numbered: list[tuple[int, Sample]]) -> tuple[tuple[int, TrainingBatch], ...]:
        parts = [numbered[i : i + self.batch] for i in range(0, len(numbered), self.batch)]
        return tuple((p[0][0], collate_samples([s for _, s in p])) for p in parts)


def training_loader(dataset: Dataset, recipe: Recipe, first_step: int) -> DataLoader:
    """Return the endless batches of a run from an optimiser step on.

    Raises:
        InputError: the dataset has no objects.
    """
    samples = TrainingSamples(dataset, recipe)
    if not samples.images:
        raise InputError(f"{dataset.name}: no image has an object; there is nothing to learn")
    training = recipe.training
    a_step = training.batch * training.accumulate
    return DataLoader(
        _NumberedSamples(samples),
        batch_sampler=StepSampler(first_step, samples_a_step=a_step),
        collate_fn=_CollateSteps(training.batch),
        num_workers=training.workers,
        persistent_workers=training.workers > 0,
    )
