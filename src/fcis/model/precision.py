"""A trained network made faster for prediction: fewer digits, compiled code.

Both change the network in place, and are for one that will not be trained.
"""

import warnings
from typing import Literal, get_args

import torch
from torch import nn

from fcis.core.errors import InputError
from fcis.model.backbone import Backbone
from fcis.model.detector import Detector
from fcis.model.norms import FrozenBatchNorm
from fcis.model.rpn import RPN

Precision = Literal["float32", "bfloat16"]
Compile = bool | Literal["reduce-overhead"]


def to_precision(model: Detector, precision: str) -> Detector:
    """Return the same model with weights of a `Precision`; its results stay float32.

    With bfloat16 the convolutions compute in it. Sums over RoIs, boxes, probabilities and masks
    are float32 all the same, and so are anchors and the statistics of norms. Much faster on
    GPUs, slower on CPUs without instructions for it.

    Raises:
        InputError: the precision is unknown.
    """
    if precision not in get_args(Precision):
        known = " or ".join(get_args(Precision))
        raise InputError(f"precision {precision}: must be {known}")
    if precision == "float32":
        return model
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.GroupNorm):
            module.to(getattr(torch, precision))
        elif isinstance(module, FrozenBatchNorm | nn.BatchNorm2d):
            module.float()
    # GPUs compute so in half precision, and would reorder the weights for every image
    for part in model.modules():
        if isinstance(part, Backbone | RPN):
            part.to(memory_format=torch.channels_last)
    return model


def compile_maps(model: Detector, compiling: bool | str, device: str) -> Detector:
    """Return the same model with what runs on whole images compiled: backbone, RPN, score maps.

    Proposals, RoIs and voting, whose sizes depend on the image, stay as they are. Every new size
    of image is compiled anew, which takes a minute or so; after as many sizes as
    `torch._dynamo.config.recompile_limit` says the others run uncompiled. So this is for many
    images of few sizes. Without a compiler that works, a warning says so and nothing changes.

    Args:
        model: changed in place.
        compiling: a `Compile`: False for nothing; `reduce-overhead` records CUDA graphs besides,
            which helps where kernels are short (small images) and costs memory for every size.
        device: where the model runs.

    Raises:
        InputError: `compiling` is something else.
    """
    if not isinstance(compiling, bool) and compiling != "reduce-overhead":
        raise InputError(f"compile {compiling}: must be True, False or reduce-overhead")
    if not compiling:
        return model
    try:
        # a whole compilation, because a compiler may be there and not work
        torch.compile(torch.sin)(torch.zeros(8, device=device))
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        warnings.warn(
            f"compile: no compiler works for {device} ({reason}); the network runs uncompiled",
            stacklevel=2,
        )
        return model
    model.compile(dynamic=False, mode=None if compiling is True else compiling)
    return model
