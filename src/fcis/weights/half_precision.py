"""A weights file -> the same in half precision, half as large; what the zoo holds.

Kernels become float16. What has one dimension stays float32: statistics and factors of norms,
biases, a hundredth of all numbers. So does a kernel that float16 cannot hold. Reading makes
float32 of everything (`fcis.weights.weights_file.read_arrays`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from fcis.core.errors import InputError
from fcis.weights.weights_file import WeightsInfo, read_arrays, read_info, write_arrays

# The most that rounding a number to the 11 binary digits of a float16 changes it, relatively.
# Numbers under 6e-5 have fewer digits, and lose more.
ROUNDING = 2.0**-11


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What became of a weights file.

    Attributes:
        info: what the new file says of itself.
        halved: how many arrays are float16.
        whole: names of the kernels that had to stay float32.
        before: bytes of the source.
        after: bytes of the target.
    """

    info: WeightsInfo
    halved: int
    whole: tuple[str, ...]
    before: int
    after: int


def pack_weights(
    source: Path, target: Path, change: Callable[[WeightsInfo], WeightsInfo]
) -> Packed:
    """Write a weights file again in half precision; the target is complete or not there.

    Args:
        source: a weights file of fcis.
        target: the new one.
        change: of what it says of itself; all else is kept.

    Raises:
        InputError: the source is no such file or holds numbers that are not finite, or the target
            cannot be written.
    """
    info = change(read_info(source))
    arrays = read_arrays(source)
    for name, array in arrays.items():
        if not torch.isfinite(array).all():
            raise InputError(f"{source}: {name} has values that are not finite; train it anew")
    packed = halve(arrays)
    before = source.stat().st_size
    write_arrays(target, packed, info)
    return Packed(
        info=info,
        halved=sum(array.dtype == torch.float16 for array in packed.values()),
        whole=tuple(n for n, a in packed.items() if a.dim() > 1 and a.dtype != torch.float16),
        before=before,
        after=target.stat().st_size,
    )


def halve(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the kernels among float32 arrays as float16, as far as they fit, the rest as it is."""
    return {
        name: array.half() if array.dim() > 1 and fits_half(array) else array
        for name, array in arrays.items()
    }


def fits_half(kernel: Float[Tensor, "output *rest"]) -> bool:
    """Say whether a kernel is the same in float16, but for the rounding of ordinary numbers.

    Each output counts by itself: a norm after it may make small values large again. The distance
    that an output moves may be its length times `ROUNDING`.
    """
    half = kernel.half()
    if not torch.isfinite(half).all():
        return False
    exact = kernel.double().flatten(1)
    moved = (half.double().flatten(1) - exact).norm(dim=1)
    return bool((moved <= ROUNDING * exact.norm(dim=1)).all())
