"""Files of a run: each is there as a whole, or as it was before."""

import contextlib
import os
from collections.abc import Callable
from io import BufferedWriter
from pathlib import Path

from fcis.core.errors import InputError


def put_file(path: Path, write: Callable[[BufferedWriter], object]) -> None:
    """Write a file beside its place, sync it, and put it there in one step.

    An interruption leaves the previous file; so does a full disk, and the part that was written
    is removed again.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        # torch's writer has an error of its own, raised over that of the system
        failure = error if isinstance(error, OSError) else error.__context__
        if not isinstance(failure, OSError):
            raise
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise cannot_write(path, failure) from None


def cannot_write(path: Path, error: OSError) -> InputError:
    """Return what to raise when a file of a run cannot be written."""
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); make room and go on with --resume"
    )
