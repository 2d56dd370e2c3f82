"""What a value of a recipe may be, written beside its field, and the one walk that looks.

A field's annotation holds its bound: `Annotated[int, Between(1, 64)]`, also inside of tuples.
Rules between fields of a record are its method `rules`. Upper bounds are far beyond what makes
sense; they keep a damaged file from asking for all of a machine's memory.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import (
    Annotated,
    Literal,
    Protocol,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from fcis.core.errors import InputError

_SHOWN = 200  # characters of a value in a message
Rule = tuple[str, bool, str]
"""A field of the record, whether its value is good beside the others, and what it may be."""


@dataclass(frozen=True, slots=True)
class Between:
    """A number from `low` to `high`.

    Attributes:
        low: the least.
        high: the most.
        open: the ends that are none of it: "", "low", "high" or "both".
    """

    low: int | float
    high: int | float
    open: Literal["", "low", "high", "both"] = ""

    def holds(self, value: int | float) -> bool:
        """Say whether a number is in it; not a number is in none."""
        above = value > self.low if self.open in ("low", "both") else value >= self.low
        below = value < self.high if self.open in ("high", "both") else value <= self.high
        return above and below

    def __str__(self) -> str:
        low, high = map(_number, (self.low, self.high))
        if not self.open:
            return f"{low} to {high}"
        low = f"above {low}" if self.open in ("low", "both") else f"at least {low}"
        high = f"below {high}" if self.open in ("high", "both") else f"at most {high}"
        return f"{low}, {high}"


@dataclass(frozen=True, slots=True)
class Length:
    """A list of so many values."""

    least: int
    most: int

    def holds(self, value: tuple) -> bool:
        """Say whether a list has as many."""
        return self.least <= len(value) <= self.most

    def __str__(self) -> str:
        return f"{self.least:,} to {self.most:,} values"


@dataclass(frozen=True, slots=True)
class Rising:
    """Numbers none of which is below the one before it; strictly: each is above it."""

    strictly: bool = False

    def holds(self, value: tuple[int | float, ...]) -> bool:
        """Say whether the values rise."""
        return all(a < b if self.strictly else a <= b for a, b in pairwise(value))

    def __str__(self) -> str:
        return "rising values"


@runtime_checkable
class Bound(Protocol):
    """What stands in an annotation."""

    def holds(self, value: object) -> bool:
        """Say whether a value is good."""
        ...


Positive = Annotated[float, Between(0, 1e9, "low")]
Share = Annotated[float, Between(0, 1)]
PositiveShare = Annotated[float, Between(0, 1, "low")]
Strength = Annotated[float, Between(0, 1e6)]
Count = Annotated[int, Between(1, 10**9)]
CountOrNone = Annotated[int, Between(0, 10**9)]
Channels = Annotated[int, Between(1, 2**16)]
Side = Annotated[int, Between(1, 256)]
Percentile = Annotated[float, Between(0, 100)]
Percentiles = Annotated[tuple[Percentile, Percentile], Rising(strictly=True)]


@runtime_checkable
class Ruled(Protocol):
    """A record whose fields depend on each other."""

    def rules(self) -> Iterator[Rule]:
        """Yield the rules between its fields."""
        ...


def _number(value: int | float) -> str:
    return f"{int(value) if value == int(value) else value:,}"


def shown(value: object) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


@cache
def hints_of(kind: type) -> dict[str, object]:
    """Return the annotations of a record's fields, bounds included."""
    return get_type_hints(kind, include_extras=True)


def split_hint(hint: object) -> tuple[object, tuple[Bound, ...]]:
    """Return the type of an annotation and its bounds."""
    if get_origin(hint) is Annotated:
        kind, *bounds = get_args(hint)
        inner, more = split_hint(kind)
        return inner, (*more, *bounds)
    return hint, ()


def below(where: str, name: str) -> str:
    """Return what stands for a field in messages: its path, behind the file if there is one."""
    return f"{where}{name}" if not where or where.endswith(": ") else f"{where}.{name}"


def check_bounds(hint: object, value: object, where: str) -> None:
    """Check one value, and those inside it, against what its annotation says.

    Raises:
        InputError: `where` names the field.
    """
    kind, bounds = split_hint(hint)
    for bound in bounds:
        if not bound.holds(value):
            raise InputError(f"{where}: is {shown(value)}, expected {bound}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: is {value!r}, expected a finite number")
    if get_origin(kind) is Literal and value not in get_args(kind):
        choices = ", ".join(map(str, get_args(kind)))
        raise InputError(f"{where}: is {value!r}, expected one of {choices}")
    if get_origin(kind) is tuple and isinstance(value, tuple):
        hints = get_args(kind)
        if hints[-1] is Ellipsis:
            hints = hints[:1] * len(value)
        if len(hints) != len(value):
            raise InputError(f"{where}: is {shown(value)}, expected {len(hints)} values")
        for number, (own, inner) in enumerate(zip(hints, value, strict=True)):
            check_bounds(own, inner, f"{where}[{number}]")


def check_record(record: object, where: str) -> None:
    """Check all fields of a record, those of the records in it, and the rules between them.

    Args:
        record: of `types` or `training`.
        where: what messages begin with: the path of the record, behind a file and ": " if it is
            of one; empty for a whole recipe.

    Raises:
        InputError: naming the first bad field by its path, its value and what it may be.
    """
    hints = hints_of(type(record))
    for field in fields(record):  # type: ignore[arg-type]
        value, place = getattr(record, field.name), below(where, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            check_record(value, place)
        else:
            check_bounds(hints[field.name], value, place)
    if isinstance(record, Ruled):
        for name, good, expected in record.rules():
            if not good:
                value = record
                for part in name.split("."):
                    value = getattr(value, part)
                raise InputError(f"{below(where, name)}: is {value!r}, expected {expected}")
