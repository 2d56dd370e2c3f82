"""Samples -> the batches of each optimiser step, for ever."""

import itertools
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset, get_worker_info

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset as Images
from fcis.recipe.types import Recipe
from fcis.training.batch import TrainingBatch, collate_samples
from fcis.training.ranks import place_of
from fcis.training.samples import TrainingSamples

Batches = tuple[TrainingBatch, ...]
"""Of one optimiser step: their gradients are accumulated."""

SHARED_MEMORY = Path("/dev/shm")
"""Through which the processes of a loader hand over what they have read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBatches(Dataset[Batches | InputError]):
    """The batches of a step by its number, counted from 0.

    Of the samples of a step, each of the run's processes takes as many in turn.
    """

    samples: TrainingSamples
    batch: int
    accumulate: int
    rank: int = 0
    ranks: int = 1

    def numbers(self, step: int) -> range:
        """Return the numbers of a step's samples in this process."""
        count = self.batch * self.accumulate
        start = (step * self.ranks + self.rank) * count
        return range(start, start + count)

    def __getitem__(self, step: int) -> Batches | InputError:
        """Return the batches of a step, or why an image has none: errors travel as values.

        One that is raised in a process of the loader would arrive wrapped in its traceback.
        """
        numbers = self.numbers(step)
        try:
            samples = [self.samples[number] for number in numbers]
        except InputError as error:
            return error
        starts = range(0, len(samples), self.batch)
        batches = tuple(collate_samples(samples[i : i + self.batch]) for i in starts)
        return _lack_of_memory(batches) or batches


def training_loader(dataset: Images, recipe: Recipe, first_step: int) -> Iterator[Batches]:
    """Return this process's endless steps of a run from an optimiser step on.

    Raises:
        InputError: the dataset has no objects, or the processes are not as many as the recipe
            says; later, in the place of a step, that an image cannot be read.
    """
    samples = TrainingSamples(dataset, recipe)
    if not samples.images:
        raise InputError(f"{dataset.name}: no image has an object; there is nothing to learn")
    training = recipe.training
    rank, ranks = place_of(training)
    steps = DataLoader(
        StepBatches(
            samples=samples,
            batch=training.batch,
            accumulate=training.accumulate,
            rank=rank,
            ranks=ranks,
        ),
        batch_size=None,
        sampler=itertools.count(first_step),
        collate_fn=_as_it_is,
        worker_init_fn=_leave_interrupts,
        num_workers=training.workers,
        persistent_workers=training.workers > 0,
    )
    return map(_checked, steps)


def _lack_of_memory(batches: Batches) -> InputError | None:
    """Return what to say if a process of the loader has no room to hand its batches over.

    It would lose them, and whoever waits for them would wait for ever.
    """
    worker = get_worker_info()
    if worker is None or not SHARED_MEMORY.is_dir():
        return None
    needed = sum(b.images.pixels.nbytes + _mask_bytes(b) for b in batches) * worker.num_workers
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed <= free:
        return None
    return InputError(
        f"{SHARED_MEMORY}: has {free / 2**20:.0f} MiB, {worker.num_workers} processes that read "
        f"images need {needed / 2**20:.0f}; give it more (docker: --shm-size=4g), or go on with "
        "--set workers=0"
    )


def _mask_bytes(batch: TrainingBatch) -> int:
    return sum(mask.values.nbytes for truth in batch.truths for mask in truth.masks)


def _leave_interrupts(_: int) -> None:
    """Let the process that trains answer Ctrl-C and SIGTERM, which all get; it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _as_it_is(step: Any) -> Any:  # noqa: ANN401  # what a dataset returns
    return step


def _checked(batches: Batches | InputError) -> Batches:
    if isinstance(batches, InputError):
        raise batches
    return batches
