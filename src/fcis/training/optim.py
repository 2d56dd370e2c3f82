"""Optimiser, parameter groups and learning-rate schedule (reference: 6.6)."""

import math
from dataclasses import replace

import torch

from fcis.model.detector import Detector
from fcis.recipe.types import OptimiserRecipe, TrainingRecipe

_STEP_FACTOR = 0.1
_WARMUP_FACTOR = 0.1


def learning_rate_factor(step: int, recipe: OptimiserRecipe, steps: int) -> float:
    """Return what the base rate is multiplied by in step `step`, counted from 0."""
    if recipe.warmup != "none" and step < recipe.warmup_steps:
        return _WARMUP_FACTOR if recipe.warmup == "constant" else (step + 1) / recipe.warmup_steps
    if recipe.schedule == "cosine":
        begin = 0 if recipe.warmup == "none" else recipe.warmup_steps
        share = (step - begin) / max(1, steps - begin)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return _STEP_FACTOR ** sum(step >= m for m in recipe.milestones)


def base_rate(training: TrainingRecipe) -> float:
    """Return the base learning rate for the images that a step of this run has.

    Four times the images of `lr_images` take four times the rate: their mean gradient is less
    noisy, and as many images have the effect of as many steps.
    """
    recipe = training.optimiser
    if not recipe.lr_images:
        return recipe.lr
    images = training.batch * training.accumulate * training.devices * training.num_nodes
    return recipe.lr * images / recipe.lr_images


def scaled(training: TrainingRecipe) -> OptimiserRecipe:
    """Return the optimiser's recipe with the base learning rate of this run."""
    return replace(training.optimiser, lr=base_rate(training))


def parameter_groups(model: Detector, recipe: OptimiserRecipe) -> list[dict]:
    """Return the trained parameters by multiplier of rate and decay.

    Biases and shifts are not decayed unless `decay_biases` says so; the 1x1 reduction and fully
    connected layers have rates of their own.

    Official: mxnet optimizer.py:238-247 @998378a; symbols/resnet_v1_101_fcis.py:788 @309f6c9.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    linear = {n for n, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = recipe.fc_lr if name.rpartition(".")[0] in linear else 1.0
        if name.startswith("head.reduction."):
            rate = recipe.reduction_lr
        decayed = name.endswith("weight") or recipe.decay_biases
        decay = recipe.weight_decay if decayed else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": recipe.lr * rate, "weight_decay": decay}
        for (rate, decay), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def build_optimiser(model: Detector, recipe: OptimiserRecipe) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe."""
    groups = parameter_groups(model, recipe)
    if recipe.kind == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    # one pass over the weights instead of ten: fully connected layers have many
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def clip_gradients(model: Detector, bound: float) -> None:
    """Scale gradients down to a norm of at most `bound`, 0 for none.

    Networks that are trained apart from each other are scaled by themselves: a large gradient of
    one must not make the other's steps smaller.
    """
    if bound:
        for network in model.networks:
            torch.nn.utils.clip_grad_norm_(network.parameters(), bound)


def build_schedule(
    optimiser: torch.optim.Optimizer, recipe: OptimiserRecipe, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return the schedule, which is stepped once an optimiser step."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: learning_rate_factor(step, recipe, steps)
    )
