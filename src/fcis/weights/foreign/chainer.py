"""Arrays out of Chainer's `.npz` files, without Chainer.

Such a file is a zip of `.npy` files. A file is hostile until shown otherwise: what it declares is
held against limits before anything is allocated, its headers are matched and never evaluated, and
no member is unpacked beyond the size it declares.
"""

import copy
import io
import math
import re
import struct
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of

# ResNet-152 takes 300 MB; a directory of 700 entries takes 60 KiB. Changing the order of an array
# takes its size once more, so twice the limit is the most that a file can make us use.
_MOST_BYTES = 512 * 2**20
_MOST_DIRECTORY_BYTES = 2**22
_MOST_HEADER_BYTES, _MOST_AXES = 10_000, 32
_PIECE = 2**20

# the ways of packing that numpy uses, with the number of bytes one byte can become at most
_BEST_RATIO = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}

_NPY_MAGIC = b"\x93NUMPY"
# version -> how the length of the header is written
_NPY_LENGTHS = {b"\x01\x00": "<H", b"\x02\x00": "<I", b"\x03\x00": "<I"}
# as numpy has always written it; Python 2 could put an L behind an axis
_NPY_HEADER = re.compile(
    r"\{'descr': '([<>|=][A-Za-z][0-9]{0,4})', 'fortran_order': (True|False), "
    r"'shape': \(([0-9L, ]*)\),? ?\} *\n?"
)
_AXES = re.compile(r"(?:[0-9]{1,19}L?, ?)*(?:[0-9]{1,19}L?)?")
_AXIS = re.compile("[0-9]+")
_NUMBERS = {"b1", *(f"{k}{n}" for k in "iu" for n in (1, 2, 4, 8)), "f2", "f4", "f8"}

_LINKS = re.compile(r"((?:[^/]*/)*?)(?:extractor|rpn|head)/")
_SNAPSHOT, _OPTIMIZER = "updater/", "updater/optimizer:"


def read_chainer(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of a Chainer file of an FCIS by key, in the file's order.

    Keys are the paths of Chainer's links, as in `extractor/res2/a/conv1/conv/W`, `rpn/score/b` or
    `head/cls_seg/W`. A path before `extractor`, `rpn` and `head` is left out, as in the files of a
    training chain (`fcis/`); of a trainer's snapshot only the model is read. A file without any of
    the three links keeps its keys. Arrays keep their type, in the byte order of the machine.

    Raises:
        InputError: no such file, no npz file of plain numbers, damaged, or too large.

    Chainer: serializers/npz.py. ChainerCV: experimental/links/model/fcis/fcis_resnet101.py:225-233;
    examples/fcis/train_sbd.py:142-145 @7159616 (reference: 8.3).
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an .npz file of Chainer")
    try:
        file = _File(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); check its permissions") from None
    with guarded(partial(_damaged, path)), file, zipfile.ZipFile(file) as archive:
        chosen = _chosen(path, archive.infolist())
        return {key: _Member(path, key).read(archive, info) for key, info in chosen.items()}


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: no npz file, or damaged ({reason_of(error)}); fetch it anew")


class _File(io.FileIO):
    """A file that refuses what only a hostile archive asks for: a directory of many MiB at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MOST_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("its directory is too large")
        return super().read(size) or b""


def _chosen(path: Path, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the entries to read by key, once what they declare is found to be possible."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if not info.filename.endswith(".npy"):
            raise _error(path, info.filename, "is no .npy entry")
        key = info.filename.removesuffix(".npy").lstrip("/")
        if key in entries:
            raise _error(path, key, "is there twice")
        entries[key] = info
    prefix = _prefix(path, entries)
    outside = [key for key in entries if not key.startswith(prefix)]
    if outside and not prefix.startswith(_SNAPSHOT):
        raise _error(path, outside[0], f"is not under {prefix[:80]!r} as others are")
    chosen = {k.removeprefix(prefix): v for k, v in entries.items() if k.startswith(prefix)}
    total = sum(info.file_size for info in chosen.values())
    if total > _MOST_BYTES:
        raise InputError(
            f"{path}: unpacks to {total} bytes, at most {_MOST_BYTES} are read; is it an FCIS?"
        )
    if not chosen:
        raise InputError(f"{path}: has no arrays; give an .npz file of Chainer")
    return chosen


def _prefix(path: Path, keys: Iterable[str]) -> str:
    """Return the path before `extractor`, `rpn` and `head`; an optimizer has copies of them."""
    found = (_LINKS.match(key) for key in keys if not key.startswith(_OPTIMIZER))
    prefixes = sorted({match.group(1) for match in found if match})
    if len(prefixes) > 1:
        raise InputError(
            f"{path}: has more than one network, under {prefixes[0][:80]!r} and "
            f"{prefixes[1][:80]!r}; save one of them alone"
        )
    return prefixes[0] if prefixes else ""


class _Member:
    """One array of an archive."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key

    def _error(self, problem: str) -> InputError:
        return _error(self._path, self._key, problem)

    def read(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
        """Unpack an entry, whose every byte must be accounted for."""
        self._check_entry(info)
        roomy = copy.copy(info)
        roomy.file_size += 1  # else bytes beyond the declared size are dropped without a word
        with archive.open(roomy) as stream:
            dtype, columns_first, shape, header_bytes = self._read_header(stream.read)
            num_bytes = math.prod(shape) * dtype.itemsize
            if header_bytes + num_bytes != info.file_size:
                raise self._error(
                    f"has {info.file_size - header_bytes} bytes of data, "
                    f"{dtype} of shape {shape} does not"
                )
            data = self._read_data(stream.read, num_bytes)
            if stream.read(1):
                raise self._error(f"is longer than the {info.file_size} bytes it declares")
        return self._shaped(data, dtype, shape, columns_first=columns_first)

    def _check_entry(self, info: zipfile.ZipInfo) -> None:
        if info.flag_bits & 1:
            raise self._error("is encrypted")
        if info.compress_type not in _BEST_RATIO:
            raise self._error(f"is compressed in an unknown way ({info.compress_type})")
        most = info.compress_size * _BEST_RATIO[info.compress_type]
        if info.compress_size > self._path.stat().st_size or info.file_size > most:
            raise self._error(
                f"cannot have {info.file_size} bytes, packed in {info.compress_size}, in this file"
            )

    def _read_header(
        self, read: Callable[[int], bytes]
    ) -> tuple[np.dtype, bool, tuple[int, ...], int]:
        """Return type, whether columns are stored first, shape, and the bytes read."""
        start = read(len(_NPY_MAGIC) + 2)
        if start[:-2] != _NPY_MAGIC or start[-2:] not in _NPY_LENGTHS:
            raise self._error("is no .npy file of version 1, 2 or 3")
        layout = _NPY_LENGTHS[start[-2:]]
        (length,) = struct.unpack(layout, read(struct.calcsize(layout)))
        if length > _MOST_HEADER_BYTES:
            raise self._error(f"has a header of {length} bytes")
        text = read(length).decode("latin1")
        match = _NPY_HEADER.fullmatch(text)
        axes = match and _AXES.fullmatch(match.group(3)) and _AXIS.findall(match.group(3))
        if not match or axes is None or len(axes) > _MOST_AXES:
            raise self._error(f"has the header {text[:80]!r}, which is not that of an array")
        kind = match.group(1)
        if kind[1:] not in _NUMBERS:
            what = "Python objects, which could run code" if kind[1] == "O" else kind
            raise self._error(f"holds {what}, not plain numbers")
        num_bytes = len(start) + struct.calcsize(layout) + length
        return np.dtype(kind), match.group(2) == "True", tuple(map(int, axes)), num_bytes

    def _read_data(self, read: Callable[[int], bytes], num_bytes: int) -> np.ndarray:
        data = np.empty(num_bytes, np.uint8)
        for start in range(0, num_bytes, _PIECE):
            expected = min(_PIECE, num_bytes - start)
            piece = read(expected)
            if len(piece) != expected:
                raise self._error(f"ends {num_bytes - start - len(piece)} bytes too early")
            data[start : start + expected] = np.frombuffer(piece, np.uint8)
        return data

    def _shaped(
        self, data: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], *, columns_first: bool
    ) -> np.ndarray:
        # a byte of a bool other than 0 and 1 would be neither true nor false
        flat = data != 0 if dtype == np.bool_ else data.view(dtype)
        try:
            array = flat.reshape(shape, order="F" if columns_first else "C")
        except ValueError:  # no elements, but other axes beyond what can be addressed
            raise self._error(f"has the shape {shape}, which is too large") from None
        return array.astype(dtype.newbyteorder("="), order="C", copy=False)


def _error(path: Path, name: str, problem: str) -> InputError:
    return InputError(f"{path}: {name[:80]!r} {problem}; fetch the file anew, or save it anew")
