"""A weights file -> the same in half precision, half as large; what the zoo holds.

Kernels become float16. What has one dimension stays float32: statistics and factors of norms,
biases, a hundredth of all numbers. So does a kernel that float16 cannot hold. Reading makes
float32 of everything (`fcis.weights.weights_file.read_arrays`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from fcis.core.errors import InputError
from fcis.core.output_files import check_file
from fcis.core.size_text import size_text
from fcis.weights.catalog import resolve_weights
from fcis.weights.weights_file import WeightsInfo, read_arrays, read_info, write_arrays

# The most that rounding a number to the 11 binary digits of a float16 changes it, relatively.
# Numbers under 6e-5 have fewer digits, and lose more.
ROUNDING = 2.0**-11
_SUFFIX = ".safetensors"

Figure = tuple[str, float, float | None]
"""Name, value and, where known, spread of a metric."""


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


def write_half(
    source: Path,
    target: Path,
    *,
    about: str | None = None,
    licence: str | None = None,
    training_data: str | None = None,
    figures: Sequence[Figure] = (),
) -> Packed:
    """Write weights or the best ones of a run in half precision, described anew.

    Args:
        source: a weights file or a run folder.
        target: the new file; its name ends in `.safetensors`.
        about: as `described` takes it, and so the following.
        licence: of the weights.
        training_data: for people.
        figures: of the weights.

    Raises:
        InputError: the source holds no weights of fcis, is the target, or the target cannot be
            written.
    """
    file = find_source(source)
    if target.suffix.lower() != _SUFFIX:
        raise InputError(f"{target}: expected a name that ends in {_SUFFIX}")
    if target.resolve() == file.resolve():
        raise InputError(f"{file}: source and target must be different files")
    check_file("TARGET", target)
    change = partial(
        described, about=about, licence=licence, training_data=training_data, figures=figures
    )
    return pack_weights(file, target, change)


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


def find_source(path: Path) -> Path:
    """Return the weights file that a file or run folder is.

    Raises:
        InputError: there is no such file or folder, or no weights of fcis are in it.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a weights file or a run folder")
    if path.is_file() and path.suffix.lower() != _SUFFIX:
        raise InputError(
            f"{path}: is no weights file of fcis; convert it without --half first, then the result"
        )
    return resolve_weights(str(path))


def described(
    info: WeightsInfo,
    *,
    about: str | None = None,
    licence: str | None = None,
    training_data: str | None = None,
    figures: Sequence[Figure] = (),
) -> WeightsInfo:
    """Return a description with what is given in place of what stands in it.

    Args:
        info: as it is.
        about: what the weights are for.
        licence: of the weights.
        training_data: for people.
        figures: in place of those of the same name; others stay.
    """
    metrics, spread = dict(info.metrics), dict(info.spread)
    for name, value, deviation in figures:
        metrics[name] = value
        spread.pop(name, None)
        if deviation is not None:
            spread[name] = deviation
    return replace(
        info,
        about=info.about if about is None else about,
        licence=info.licence if licence is None else licence,
        training_data=info.training_data if training_data is None else training_data,
        metrics=tuple(sorted(metrics.items())),
        spread=tuple(sorted(spread.items())),
    )


def read_figure(text: str) -> Figure:
    """Return name, value and spread of `NAME=VALUE[+-SPREAD]`.

    Raises:
        InputError: it is not of this form, or a number is not finite.
    """
    name, equals, numbers = text.partition("=")
    value, sign, deviation = numbers.partition("+-")
    try:
        figure = name.strip(), float(value), float(deviation) if sign else None
    except ValueError:
        figure = "", math.nan, None
    if not (equals and figure[0] and math.isfinite(figure[1]) and _is_spread(figure[2])):
        raise InputError(
            f"--metric {text}: expected NAME=VALUE or NAME=VALUE+-SPREAD, e.g. AP=0.654+-0.004"
        )
    return figure


def summary(packed: Packed, source: Path, target: Path) -> str:
    """Return what a person wants to know of a file in half precision."""
    info = packed.info
    share = packed.after / packed.before
    rows = [
        ("arrays", f"{packed.halved} in half precision"),
        ("kept whole", ", ".join(packed.whole)),
        ("size", f"{size_text(packed.after)}, {share:.0%} of what it was"),
        ("about", info.about or "not stated; --about says it"),
        ("licence", info.licence or "not stated; --licence says it"),
        ("trained on", info.training_data or "not stated; --trained-on says it"),
    ]
    lines = [str(source), *(f"  {name:12} {value}" for name, value in rows if value)]
    lines.append(f"weights: {target}")
    if info.is_backbone:
        lines.append(f"use it:  fcis train --weights {target} ..., with a recipe of this backbone")
    else:
        lines.append(f"try it:  fcis predict IMAGES --weights {target}")
    return "\n".join(lines)


def _is_spread(value: float | None) -> bool:
    return value is None or (math.isfinite(value) and value >= 0)
