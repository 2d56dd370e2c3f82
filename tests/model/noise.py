"""Random weights with which a network's proposals, scores and masks are all different."""

import torch
from torch import nn


def draw_weights(model, layers, seed):
    """Draw the norms, and weight and bias of each layer with its deviation; return the model."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor, std, mean=0.0):
        tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * std + mean)

    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            draw(module.weight, 0.3, 1.0)
            draw(module.bias, 0.3)
            draw(module.running_mean, 0.3)
            module.running_var.data.uniform_(0.5, 1.5, generator=generator)
    for layer, std in layers:
        draw(layer.weight, std)
        draw(layer.bias, std)
    return model
