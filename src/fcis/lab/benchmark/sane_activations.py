"""Give a network with random weights activations of a sane size.

With fixed statistics (mean 0, variance 1) each residual block adds its variance to what it was
given: in a ResNet-101 of random weights the numbers grow by a factor of 10^5, boxes leave all
images, scores are 0 or 1, and what follows the convolutions does not take the time that it takes
in a trained network.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fcis.lab.benchmark.timing import Work
from fcis.model.norms import FrozenBatchNorm


@torch.no_grad()
def settle(model: nn.Module, work: Work) -> None:
    """Set the statistics of all normalisations, first to last, to those that work brings them.

    Args:
        model: changed in place.
        work: runs the model once.
    """
    hooks = [
        module.register_forward_pre_hook(_take_statistics(module))
        for module in model.modules()
        if isinstance(module, FrozenBatchNorm | nn.BatchNorm2d)
    ]
    try:
        work()
    finally:
        for hook in hooks:
            hook.remove()


def _take_statistics(
    normalisation: FrozenBatchNorm | nn.BatchNorm2d,
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    mean, variance = normalisation.running_mean, normalisation.running_var

    def take(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if mean is not None and variance is not None:
            found = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
            variance.copy_(found[0])
            mean.copy_(found[1])

    return take
