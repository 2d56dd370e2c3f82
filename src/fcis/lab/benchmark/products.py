"""How near a network comes to what its convolutions and matrix products could do.

They are noted while the network runs, and then run again by themselves, one after another, on
tensors of the same shapes and strides. What the network takes beyond that is normalisation,
activation, pooling and sums.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from fcis.lab.benchmark.timing import Work
from fcis.model.baselines.mnc import MNC
from fcis.model.build import build_model
from fcis.recipe.types import ModelRecipe
from fcis.structures import ImageBatch

_OPERATORS = (
    torch.ops.aten.convolution.default,
    torch.ops.aten.linear.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.bmm.default,
)


Product = partial[Tensor]
"""One convolution or matrix product, with tensors to run it on."""


class _Recorder(TorchDispatchMode):
    """Notes products, with stand-ins for all tensors but parameters.

    Stand-ins of equal shape, strides and type are one tensor: activations of a network do not
    exist all at once either. Parameters are themselves, so that as many are read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []
        self._stand_ins: dict[tuple[object, ...], Tensor] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        named = kwargs or {}
        result = func(*args, **named)
        for operator in _OPERATORS:
            if func is operator:
                kept = {name: self._kept(a) for name, a in named.items()}
                self.products.append(partial(operator, *map(self._kept, args), **kept))
        return result

    def _kept(self, value: object) -> object:
        if not isinstance(value, Tensor) or isinstance(value, nn.Parameter):
            return value
        key = (value.shape, value.stride(), value.dtype, value.device)
        if key not in self._stand_ins:
            stand_in = torch.empty_strided(
                value.shape, value.stride(), dtype=value.dtype, device=value.device
            )
            self._stand_ins[key] = stand_in.normal_()
        return self._stand_ins[key]


def record_products(work: Work) -> list[Product]:
    """Return the convolutions and matrix products that the work runs, in order.

    The work must not run in inference mode, which hides them.
    """
    with torch.no_grad(), _Recorder() as recorder:
        work()
    return recorder.products


def run_products(products: Sequence[Product]) -> None:
    """Run products one after another."""
    with torch.no_grad():
        for product in products:
            product()


def count_operations(work: Work) -> int:
    """Return the floating-point operations of the work's products; a multiply-add counts two."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        work()
    return counter.get_total_flops()


def system_operations(recipe: ModelRecipe, sides: tuple[int, int], *, rois: int) -> int:
    """Return the operations of a network on one image, to stand beside its time (Table 2).

    A network without numbers (torch's `meta` device) is run once. What has no weights, such as
    FCIS's work on RoIs, the warping of features and voting, consists of other operations than
    products and counts as none.

    Args:
        recipe: with its categories; FCIS or MNC.
        sides: (height, width) after resizing.
        rois: proposals.

    Raises:
        InputError: a value of the recipe makes no sense.
        ValueError: there are no proposals, or the recipe is of another system.
    """
    if rois < 1:
        raise ValueError(f"rois: expected at least 1, got {rois}")
    if recipe.system not in ("fcis", "mnc"):
        raise ValueError(f"recipe: expected the system fcis or mnc, got {recipe.system}")
    with torch.device("meta"):
        model = build_model(recipe).eval()
    size = torch.tensor([sides])
    batch = ImageBatch(
        pixels=torch.zeros((1, recipe.backbone.in_channels, *sides), device="meta"),
        sizes=size,
        scales=torch.ones(1, 2),
        original_sizes=size,
    )
    image = count_operations(lambda: model(batch))
    if not isinstance(model, MNC):
        return image
    with torch.no_grad():
        _, maps = model(batch)
    boxes = torch.zeros((1, 4), device="meta")
    index = torch.zeros(1, dtype=torch.int64, device="meta")
    roi = count_operations(lambda: model.cascade(maps, boxes, index))
    return image + rois * recipe.detection.passes * roi


def square_product(side: int, device: str, dtype: torch.dtype = torch.float32) -> tuple[Work, int]:
    """Return a product of two square matrices, and its floating-point operations.

    Raises:
        ValueError: the matrices have no element.
    """
    if side < 1:
        raise ValueError(f"side: expected at least 1, got {side}")
    generator = torch.Generator().manual_seed(0)
    # of a deviation with which the product has one of 1
    left, right = (
        torch.randn((side, side), generator=generator).div(math.sqrt(side)).to(device, dtype)
        for _ in range(2)
    )
    return lambda: left @ right, 2 * side**3
