"""A running average of the weights, which validation and the best weights take in their place.

The statistics of batch normalisation are averaged like the weights: those of the latest weights
would not fit the averaged ones.
"""

import copy

import torch

from fcis.model.detector import Detector


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


def begin_average(model: Detector) -> Detector:
    """Return a network of its own with the same weights, on the same device, for evaluation."""
    return copy.deepcopy(model).eval().requires_grad_(False)
