"""Published weights on this machine: fetched once, converted once, used from then on.

A source keeps its published name in the cache folder, so that one put there by hand is found like
one that was fetched; beside it lies what was converted from it. Sources are kept: their server may
be gone the next time, and a later version of fcis may have to convert them anew.
"""

import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from fcis.core.errors import InputError
from fcis.core.progress import say
from fcis.recipe.conventions import MODEL_ROWS, conventions_of, named_conventions
from fcis.weights.download import DownloadError, fetch
from fcis.weights.published import Published, address_of
from fcis.weights.weights_file import read_info

# from a published file to a weights file, under named conventions; raises InputError
Converter = Callable[[Path, Path, str], None]

VARIABLE = "FCIS_CACHE"
_PATIENCE = 2.0  # seconds of waiting for another process before we say so
# what zipfile raises on damaged, encrypted and unknown archives; RuntimeError is of the second
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
# arrays that every file of ChainerCV's FCIS has, at the end of their names
_ARRAYS = ("extractor/conv1/conv/W.npy", "rpn/conv1/W.npy", "head/cls_seg/W.npy")


def cache_folder() -> Path:
    """Return the folder of published weights, absolute; it may not exist yet.

    `$FCIS_CACHE`, else `fcis` in the user's folder for caches: `$XDG_CACHE_HOME` or `~/.cache`,
    `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows.

    Raises:
        InputError: the user has no home folder.
    """
    chosen = os.environ.get(VARIABLE)
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "fcis" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "fcis"
        xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
        # a relative one is to be ignored, says the XDG specification
        return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "fcis"
    except RuntimeError:
        raise InputError(
            f"{VARIABLE} is needed: there is no home folder to keep weights in"
        ) from None


def source_of(entry: Published) -> Path:
    """Return where the published file lies, or belongs."""
    return cache_folder() / entry.file


def converted_of(entry: Published) -> Path:
    """Return where the converted file lies, or belongs."""
    return source_of(entry).with_suffix(".safetensors")


def state_of(entry: Published) -> Literal["ready", "fetched", "not fetched"]:
    """Return what there is of published weights on this machine."""
    if _is_usable(entry):
        return "ready"
    return "fetched" if source_of(entry).is_file() else "not fetched"


def obtain(entry: Published, convert: Converter) -> Path:
    """Return the weights file, fetched and converted if it is not there yet.

    Several processes may ask at once: one works, the others wait for it.

    Args:
        entry: what to obtain.
        convert: makes the weights file from the published one, under the entry's conventions.

    Raises:
        InputError: it cannot be fetched or is damaged, says what to put where instead; or the
            cache folder cannot be written.
    """
    converted = converted_of(entry)
    if _is_usable(entry):  # also in a folder that may not be written
        return converted
    folder = converted.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f"{entry.file}.lock", entry.name):
            if not _is_usable(entry):
                _ensure_source(entry)
                _convert(entry, convert)
    except OSError as error:
        raise InputError(
            f"{folder}: weights cannot be kept there ({error.strerror or error}); make room or set "
            f"{VARIABLE} to another folder"
        ) from None
    return converted


def _ensure_source(entry: Published) -> None:
    """Fetch the published file unless it is there, and look at its structure."""
    source = source_of(entry)
    if source.is_file():
        problem = _problem(source, entry.limit)
        if problem:
            raise InputError(
                f"{entry.name}: {source} {problem}; put the file of {address_of(entry)} "
                "there, or delete it to have that fetched"
            )
        return
    address = address_of(entry)
    try:
        fetch(address, source, limit=entry.limit, sha256=entry.sha256)
    except DownloadError as error:
        raise InputError(_by_hand(entry, address, str(error))) from None
    problem = _problem(source, entry.limit)
    if problem:
        source.unlink()
        raise InputError(_by_hand(entry, address, f"what came {problem}"))


def _convert(entry: Published, convert: Converter) -> None:
    """Put the converted file in its place in one step."""
    source, converted = source_of(entry), converted_of(entry)
    unfinished = converted.with_name(f"{converted.stem}.unfinished.safetensors")
    try:
        convert(source, unfinished, entry.conventions)
        unfinished.replace(converted)
    except InputError as error:
        raise InputError(
            f"{entry.name}: {error}; delete {source} to have it fetched anew"
        ) from None
    finally:
        unfinished.unlink(missing_ok=True)


def _problem(path: Path, limit: int) -> str:
    """Return why a file is no archive of the right arrays, as a predicate; empty if it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if not all(any(name.endswith(array) for name in names) for array in _ARRAYS):
                return "is no file of ChainerCV's FCIS"
            if sum(member.file_size for member in members) > limit:
                return f"unpacks to more than {limit:,} bytes"
            damaged = archive.testzip()
    except _UNREADABLE as error:
        return f"is no .npz file or damaged ({error})"
    return f"is damaged at {damaged}" if damaged else ""


def _is_usable(entry: Published) -> bool:
    """Say whether the converted file is as this version would make it; if not, it is made anew.

    An older version may have known fewer conventions, and a file that does not state one is read
    as if it meant the release's.
    """
    try:
        found = conventions_of(read_info(converted_of(entry)).model)
    except InputError:
        return False
    expected = named_conventions(entry.conventions)
    # the slots are read off the arrays
    return all(found[name] == expected[name] for name in MODEL_ROWS if name != "box_slots")


@contextmanager
def _alone(path: Path, name: str) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        say(f"{name}: waiting for the process that is fetching it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _by_hand(entry: Published, address: str, reason: str) -> str:
    instead = (
        f"; or convert the release's own file, `fcis convert {entry.instead} "
        f"{entry.name}.safetensors`, and give that"
        if entry.instead
        else ""
    )
    return (
        f"{entry.name}: cannot fetch {address} ({reason}); get this file by other means and put it "
        f"at {source_of(entry)}, where it is found and converted without a connection{instead}"
    )
