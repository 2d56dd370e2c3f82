"""How far long work has come, and what is said on the way."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
Watcher = Callable[[int, int | None], None]
"""Called with what is done and with all there is, None if that is not known."""

LOGGER = logging.getLogger("fcis")
"""What the library has to say goes there; the command prints it."""

_LOG_INTERVAL = 30.0  # seconds between lines of progress where nobody watches


def say(text: str) -> None:
    """Log a line for people."""
    LOGGER.info(text)


def progress(
    items: Iterable[T],
    *,
    total: int | None,
    what: str,
    unit: str = "image",
    watch: Watcher | None = None,
) -> Iterable[T]:
    """Return the same items with a bar on standard error, if they take longer than a second.

    Args:
        items: are passed on.
        total: how many there are, if that is known.
        what: is done.
        unit: of the items.
        watch: called before the first and after each, in place of the bar.
    """
    if watch is not None:
        return _watched(items, total, watch)
    watched = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        desc=what,
        unit=unit,
        delay=1.0,
        mininterval=0.1 if watched else _LOG_INTERVAL,
    )


def _watched(items: Iterable[T], total: int | None, watch: Watcher) -> Iterator[T]:
    watch(0, total)
    for done, item in enumerate(items, start=1):
        yield item
        watch(done, total)
