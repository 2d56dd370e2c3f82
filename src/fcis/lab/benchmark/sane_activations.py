"""Give a network with random weights activations of a sane size.

With fixed statistics (mean 0, variance 1) each residual block adds its variance to what it was
given: in a ResNet-101 of random weights the numbers grow by a factor of 10^5, boxes leave all
images, scores are 0 or 1, and what follows the convolutions does not take the time that it takes
in a trained network.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from fcis.lab.benchmark.timing import Work
from fcis.model.norms import FrozenBatchNorm


@torch.no_grad()
def settle(work: Work) -> None:
    """Set the statistics of all normalisations, first to last, to those that work brings them.

    Args:
        work: runs a model once, which is changed in place.
    """

    def take(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, FrozenBatchNorm | nn.BatchNorm2d):
            mean, variance = module.running_mean, module.running_var
            if mean is not None and variance is not None:
                found = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
                variance.copy_(found[0])
                mean.copy_(found[1])

    with register_module_forward_pre_hook(take):
        work()
