"""Where the code of others reads a file: whatever it raises there is one line for the user.

A guard stands around that call alone. What our own code beside it raises is a bug, and stays one.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fcis.core.errors import InputError

_LONGEST_REASON = 200  # characters


@contextmanager
def guarded(
    say: Callable[[Exception], InputError], kinds: type[Exception] = Exception
) -> Iterator[None]:
    """Turn what a decoder or parser raises at a bad file into the user's error.

    A damaged file makes them fail anywhere: assertions, lookups, recursion, memory for a size that
    the file has made up. A list of exceptions that may come would never be complete.

    Args:
        say: returns the error; `reason_of` is what it can say of the exception.
        kinds: of exceptions; others pass.

    Raises:
        InputError: what `say` returns, or the one that was raised inside.
    """
    try:
        yield
    except InputError:
        raise
    except kinds as error:
        raise say(error) from error


def reason_of(error: BaseException) -> str:
    """Return the text of the error of others as a part of a line."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def parse_json(text: str | bytes, where: object, remedy: str) -> object:
    """Return what JSON text holds.

    Args:
        text: the JSON.
        where: its file, for messages.
        remedy: what a message ends with.

    Raises:
        InputError: it is no JSON, or nested too deeply.
    """
    with guarded(
        lambda error: InputError(f"{where}: not valid JSON ({reason_of(error)}); {remedy}")
    ):
        return json.loads(text)
