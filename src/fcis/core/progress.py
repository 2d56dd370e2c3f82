"""How far long work has come."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
_LOG_INTERVAL = 30.0  # seconds between lines of progress where nobody watches


def progress(
    items: Iterable[T], *, total: int | None, what: str, unit: str = "image"
) -> Iterable[T]:
    """Return the same items with a bar on standard error, if they take longer than a second."""
    watched = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        desc=what,
        unit=unit,
        delay=1.0,
        mininterval=0.1 if watched else _LOG_INTERVAL,
    )
