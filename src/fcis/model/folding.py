"""Fold BatchNorm into convolutions: fewer passes over the maps once nothing is trained any more.

A normalisation by stored statistics is a scale and a shift a channel, which the weights of the
convolution before it take up. GroupNorm computes its statistics from the image and stays.
"""

import torch
from torch import nn

from fcis.model.detector import Detector
from fcis.model.norms import FrozenBatchNorm


@torch.no_grad()
def fold_norms(model: Detector) -> Detector:
    """Return the same model, changed in place: without BatchNorm, frozen or trained.

    It computes the same up to rounding, and can be neither trained nor saved as weights.

    Raises:
        ValueError: the model is in training, or a norm does not follow its convolution.
    """
    if model.training:
        raise ValueError("model: expected eval(), got a model in training")
    for parent in list(model.modules()):
        conv: nn.Conv2d | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                conv = child
            elif isinstance(child, FrozenBatchNorm | nn.BatchNorm2d):
                if conv is None or conv.out_channels != len(child.weight):
                    raise ValueError(f"{name}: expected a convolution of its size before it")
                _fold(conv, child)
                # the children of a block call each other by name
                parent.add_module(name, nn.Identity())
                model.is_folded = True
                conv = None
    return model


def _fold(conv: nn.Conv2d, norm: FrozenBatchNorm | nn.BatchNorm2d) -> None:
    """Let a convolution do what the norm behind it does."""
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise ValueError("norm: expected stored statistics, got none")
    # float64, so that folding adds no rounding of its own
    scale = norm.weight.double() / (var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - mean.double() * scale
    if conv.bias is not None:
        shift += conv.bias.double() * scale
    weight = conv.weight.double() * scale[:, None, None, None]
    conv.weight = nn.Parameter(weight.to(conv.weight), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(conv.weight), requires_grad=False)
