"""The processes of a run: which one this is, and what they tell each other.

A run on several devices has a process for each. Lightning starts them by running the same command
again, `torchrun` and clusters start them themselves; either way all of them come by here. The one
of rank 0 alone prints and writes.
"""

import os
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import distributed, nn

from fcis.core.errors import InputError
from fcis.recipe.types import TrainingRecipe

T = TypeVar("T")

# Who starts processes says in one of these which one this is.
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


def is_main() -> bool:
    """Tell whether this process prints and writes; true if it is alone."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    return all(os.environ.get(name, "0") == "0" for name in _RANK_VARIABLES)


def place_of(training: TrainingRecipe) -> tuple[int, int]:
    """Return this process's rank and the number of processes of a run, before they have met.

    Raises:
        InputError: whoever started the processes started another number of them.
    """
    count = training.devices * training.num_nodes
    started = int(os.environ.get("WORLD_SIZE", count))
    if started != count:
        raise InputError(
            f"recipe: training.devices x training.num_nodes is {count}, but {started} processes "
            f"were started; say --set devices={max(1, started // training.num_nodes)}"
        )
    if "RANK" in os.environ:
        return int(os.environ["RANK"]), count
    node, local = (int(os.environ.get(name, "0")) for name in ("NODE_RANK", "LOCAL_RANK"))
    return node * training.devices + local, count


def started_devices() -> tuple[int, int] | None:
    """Return devices a node and nodes, if `torchrun` has started this process; none otherwise."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    devices, count = (int(os.environ[n]) for n in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return devices, count // devices


def gather(value: T) -> list[T]:
    """Return every process's value, by rank; a process alone has its own."""
    if not _together():
        return [value]
    values: list[T | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]  # all are filled now


def from_main(value: T) -> T:
    """Return the value of rank 0 in every process."""
    if not _together():
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def mean_of(figures: Sequence[float], device: torch.device) -> list[float]:
    """Return the mean over the processes of each figure."""
    if not _together():
        return list(figures)
    total = torch.tensor(figures, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return (total / distributed.get_world_size()).tolist()


def share_buffers(model: nn.Module) -> None:
    """Give every process the model's buffers of rank 0.

    Statistics of batches are those of each process's own images until the next step.
    """
    if _together():
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


def own_share(count: int) -> range:
    """Return the indices of `count` items that this process takes; each has one process."""
    if not _together():
        return range(count)
    return range(distributed.get_rank(), count, distributed.get_world_size())


def in_order(shares: Sequence[Sequence[T]]) -> list[T]:
    """Return the items of `own_share` of all processes in their order."""
    count = sum(len(s) for s in shares)
    return [shares[i % len(shares)][i // len(shares)] for i in range(count)]


def _together() -> bool:
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
