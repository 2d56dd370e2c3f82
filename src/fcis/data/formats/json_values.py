"""Values as JSON holds them: what can stand for a number or an id."""

from reprlib import Repr
from typing import TypeGuard

from fcis.core.coco_types import ImageId
from fcis.data.checks.limits import LARGEST_NUMBER, LONGEST_SIDE, MOST_PIXELS

# a collection that holds another one many times, and so on, would be too long to be written
_BRIEF = Repr()
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxdict = 4, 12, 12
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80


def whole_number(value: object) -> int | None:
    """Return a number without a fraction as an integer, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        return None
    return int(value)


def image_size_of(height: object, width: object) -> tuple[int, int] | None:
    """Return (height, width) as a file states them, None if no image can have that size."""
    rows, columns = whole_number(height), whole_number(width)
    if rows is None or columns is None or min(rows, columns) < 1:
        return None
    is_possible = max(rows, columns) <= LONGEST_SIDE and rows * columns <= MOST_PIXELS
    return (rows, columns) if is_possible else None


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a JSON value is a number, finite and of a size that an image can have."""
    return isinstance(value, int | float) and -LARGEST_NUMBER < value < LARGEST_NUMBER


def is_id(value: object) -> TypeGuard[ImageId]:
    """Tell whether a JSON value can be an id."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def is_flat(value: object) -> TypeGuard[list[float]]:
    """Tell whether a JSON value is a list of numbers."""
    return isinstance(value, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in value
    )


def short(value: object) -> str:
    """Return a value as a message shows it."""
    try:
        text = _BRIEF.repr(value)
    except ValueError:  # a whole number too long to be written
        text = type(value).__name__
    return text if len(text) <= 40 else text[:37] + "..."
