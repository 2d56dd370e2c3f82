"""Files and folders to write into, which may not be writable."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fcis.core.errors import InputError

if TYPE_CHECKING:
    import matplotlib.figure

_ELSEWHERE = "make room or choose another place"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_PICTURES = (".png", ".pdf", ".svg")


def make_folder(path: Path) -> None:
    """Make an output folder.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: the folder cannot be made ({error.strerror}); choose another --out"
        ) from None
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: the folder cannot be written; choose another --out")


def check_file(option: str, path: Path) -> None:
    """Make the folder of a file that is to be written after long work.

    Raises:
        InputError: the file could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{option} {path}: cannot be written ({error.strerror}); choose another file"
        ) from None
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; name a file in it")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path}: its folder cannot be written; choose another file")


def check_picture(option: str, path: Path) -> None:
    """Do as `check_file` for a picture.

    Raises:
        InputError: the file could not be written, or its name is not that of a picture.
    """
    check_file(option, path)
    if path.suffix.lower() not in _PICTURES:
        raise InputError(f"{option} {path}: must end in {', '.join(_PICTURES)}")


def put_file(path: Path, write: Callable[[BinaryIO], object], *, remedy: str = _ELSEWHERE) -> None:
    """Write a file beside its place, sync it, and put it there in one step.

    Its folder is made. An interruption leaves the previous file; so does a full disk, and the part
    that was written is removed again. A file that is replaced hands on its permissions.

    Args:
        path: of the file.
        write: is given the open file.
        remedy: what a person can do if it fails.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        # torch's writer has an error of its own, raised over that of the system
        failure = error if isinstance(error, OSError) else error.__context__
        if not isinstance(failure, OSError):
            raise
        raise cannot_write(path, failure, remedy) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step.

    Raises:
        InputError: it cannot be written.
    """
    put_file(path, lambda file: file.write(text.encode()))


def write_json(path: Path, data: object) -> None:
    """Write a JSON file in one step.

    Raises:
        InputError: it cannot be written.
    """
    write_text(path, json.dumps(data, indent=1) + "\n")


def write_picture(
    path: Path, figure: "matplotlib.figure.Figure", *, dpi: int = 110, kind: str | None = None
) -> None:
    """Write a picture, of the kind that its name says or of another one.

    Raises:
        InputError: it cannot be written.
    """
    kind = kind or path.suffix.lstrip(".").lower()
    put_file(path, lambda file: figure.savefig(file, dpi=dpi, format=kind))


class FullDiskError(InputError):
    """No file can be written any more, whatever its name: there is no use in going on."""


def cannot_write(path: Path, error: OSError, remedy: str = _ELSEWHERE) -> InputError:
    """Return what to raise of a file that cannot be written."""
    kind = FullDiskError if error.errno in _FULL else InputError
    return kind(f"{path}: cannot be written ({error.strerror or error}); {remedy}")
