"""The pyramid of sizes in which an image is tested, as users name it (Paper: 4.3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fcis.core.errors import InputError
from fcis.recipe.types import Preprocessing

PAPER_SCALES = (480, 576, 688, 864, 1200, 1400)
"""Shorter sides of the paper's pyramid, in pixels."""

MOST_SCALES = 16
_LEAST_SIDE = 16  # px
_MOST_FACTOR = 16.0
_EXPECTED = (
    f"expected up to {MOST_SCALES} shorter sides in pixels, from {_LEAST_SIDE} on (480), or "
    f"factors of the weights' own size, up to {_MOST_FACTOR:g} (1.5x)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A level of the pyramid: a shorter side or a factor, the other one is 0.

    Attributes:
        side: shorter side of the resized image, px.
        factor: of the size that the weights ask for.
    """

    side: int = 0
    factor: float = 0.0

    def of(self, own: Preprocessing) -> Preprocessing:
        """Return the resizing to this scale, a bound on the longer side changed in proportion.

        Args:
            own: what the weights ask for. If it is a fixed zoom, a side has no bound.

        Raises:
            InputError: the factor makes a shorter side too small.
        """
        if self.factor and not own.short_side:
            return replace(own, zoom=own.zoom * self.factor)
        side = self.side or round(own.short_side * self.factor)
        if side < _LEAST_SIDE:
            raise InputError(
                f"scales {self.factor:g}x: the weights' shorter side of {own.short_side} pixels "
                f"becomes less than {_LEAST_SIDE}; choose a larger factor"
            )
        return own.with_short_side(side)


def read_scales(items: Sequence[int | str]) -> tuple[Scale, ...]:
    """Return the scales that users name: `480` or "480" in pixels, "1.5x" as a factor.

    Raises:
        InputError: something else, or too many of them.
    """
    if len(items) > MOST_SCALES:
        raise InputError(f"scales: {len(items)} of them; {_EXPECTED}")
    return tuple(_read(str(item).strip()) for item in items)


def pyramid(own: Preprocessing, scales: Sequence[Scale]) -> tuple[Preprocessing, ...]:
    """Return the resizings of a pyramid, each once; without scales the weights' own alone.

    Raises:
        InputError: a factor makes a shorter side too small.
    """
    return tuple(dict.fromkeys(scale.of(own) for scale in scales)) or (own,)


def _read(text: str) -> Scale:
    number, is_factor = text.removesuffix("x"), text.endswith("x")
    try:
        if is_factor:
            scale = Scale(factor=float(number))
        else:
            scale = Scale(side=int(number))
    except ValueError:
        raise InputError(f"scales {text}: {_EXPECTED}") from None
    good = 0 < scale.factor <= _MOST_FACTOR if is_factor else scale.side >= _LEAST_SIDE
    if not good or not math.isfinite(scale.factor):
        raise InputError(f"scales {text}: {_EXPECTED}")
    return scale
