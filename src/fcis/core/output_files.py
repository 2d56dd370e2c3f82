"""Files and folders to write into, which may not be writable."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fcis.core.errors import InputError

if TYPE_CHECKING:
    import matplotlib.figure

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


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from None


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
    try:
        figure.savefig(path, dpi=dpi, format=kind)
    except OSError as error:
        raise _cannot_write(path, error) from None


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror}); make room or choose another place"
    )
