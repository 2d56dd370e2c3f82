"""What the readers of folders share: PATH:SPLIT, lists of images, a progress bar.

Knows no format.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from fcis.core.errors import InputError

T = TypeVar("T")
_LOG_INTERVAL = 30.0  # seconds between lines of progress where nobody watches


def split_data(data: str) -> tuple[Path, str | None]:
    """Return the path and the split of PATH[:SPLIT]; None where no split is named.

    What follows the last colon is a split only if the text as a whole is no path and what stands
    before the colon is one, so that paths with colons keep working.
    """
    head, colon, split = data.rpartition(":")
    is_path = not colon or not head or "/" in split or "\\" in split
    if is_path or os.path.exists(data) or not os.path.exists(head):
        return Path(data), None
    return Path(head), split


def choose_split(path: Path, split: str | None, splits: Sequence[str]) -> str:
    """Return the split that was asked for, or the only one there is.

    Raises:
        InputError: none was asked for where there are several, or one that does not exist.
    """
    if split is not None and split in splits:
        return split
    if split is None and len(splits) == 1:
        return splits[0]
    have = f"has the split{'s' * (len(splits) > 1)} {', '.join(splits)}"
    wrong = "" if split is None else f"has no split {split!r}, it "
    raise InputError(f"{path}: {wrong}{have}; write {path}:{splits[-1]}")


def no_split(path: Path, split: str | None, kind: str) -> None:
    """Refuse a split where the format has none.

    Raises:
        InputError: a split was asked for.
    """
    if split is not None:
        raise InputError(
            f"{path}:{split}: {kind} has no splits; leave out :{split} and name the folder or "
            "file that you mean"
        )


def find_root(path: Path, below: Sequence[str], folders: Sequence[str]) -> Path | None:
    """Return the first of a folder and some below it that holds all of the given folders."""
    for root in (path, *(path / name for name in below)):
        if all((root / name).is_dir() for name in folders):
            return root
    return None


def check_folders(root: Path, names: Sequence[str]) -> None:
    """Check that a root holds the folders of its format.

    Raises:
        InputError: one is missing.
    """
    for name in names:
        if not (root / name).is_dir():
            raise InputError(
                f"{root / name}: no such folder, though {root} has others of {', '.join(names)}; "
                "restore it"
            )


def read_list(path: Path) -> list[str]:
    """Return the first word of each line of a text file, each word once.

    Raises:
        InputError: the file cannot be read, or holds nothing.
    """
    words = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
    if not words:
        raise InputError(f"{path}: the list is empty; write the name of an image in each line")
    return list(dict.fromkeys(words))


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InputError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows mark the beginning
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text in UTF-8; save it as that") from error


def watched(items: Sequence[T], what: str) -> Iterable[T]:
    """Return the same items with a bar on standard error, if they take longer than a second."""
    return tqdm(
        items,
        desc=what,
        unit="image",
        delay=1.0,
        mininterval=0.1 if sys.stderr.isatty() else _LOG_INTERVAL,
    )
