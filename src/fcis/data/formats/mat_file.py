"""One picture out of a MATLAB file of version 5, as SBD's are: `GTinst.Segmentation` and the like.

A small reader of its own, because those for all of the format do not hold out against damaged
files. All it takes in is counted before: elements lie within the one that holds them.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of
from fcis.imaging.reading import MAX_PIXELS

_HEADER_BYTES, _MARK_BYTES = 128, 8
_COMPRESSED, _MATRIX = 15, 14
_STRUCTURE = 2  # a class of arrays
# whole numbers: by the class of an array, and by the kind of an element, which may be narrower
_CLASSES = {8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 12: "i8", 13: "u8"}
_MOST_PARTS = 1000  # of an array

_Element = tuple[int, memoryview]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Array:
    """An array of a file, of which the values have not been looked at.

    Attributes:
        kind: MATLAB's number of its class.
        shape: its sides.
        name: of the variable; empty inside of a structure.
        parts: the elements behind the name.
    """

    kind: int
    shape: tuple[int, ...]
    name: str
    parts: list[_Element]


def read_field(path: Path, variable: str, field: str) -> Shaped[np.ndarray, "height width"]:
    """Return the picture of whole numbers in a field of a structure that is a variable of a file.

    Raises:
        InputError: the file cannot be read, is damaged, or has no such picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _bad(path, reason_of(error)) from error
    order = {b"IM": "<", b"MI": ">"}.get(data[_HEADER_BYTES - 2 : _HEADER_BYTES])
    if order is None:
        raise _bad(path, "no MATLAB file of version 5")
    reader = _Reader(path, order)
    for kind, body in reader.elements(memoryview(data)[_HEADER_BYTES:]):
        if kind == _COMPRESSED:
            kind, body = next(reader.elements(reader.unpacked(body)), (0, body))
        if kind == _MATRIX and (array := reader.array(body)).name == variable:
            return reader.picture(reader.field(array, field))
    raise _bad(path, f"it has no {variable}")


class _Reader:
    """Takes elements apart; each has a kind, a number of bytes, and these."""

    def __init__(self, path: Path, order: str) -> None:
        self._path = path
        self._order = order

    def unpacked(self, body: memoryview) -> memoryview:
        """Return the bytes of a compressed element, at most those of the largest picture."""
        most, stream = 4 * MAX_PIXELS, zlib.decompressobj()
        with guarded(lambda error: _bad(self._path, reason_of(error))):
            data = stream.decompress(body, most)
        if not stream.eof:
            raise _bad(self._path, f"it ends too early, or has more than {most:,} bytes")
        return memoryview(data)

    def elements(self, data: memoryview) -> Iterator[_Element]:
        """Yield one element after the other."""
        while len(data) >= _MARK_BYTES:
            kind, size = self._numbers("II", data[:_MARK_BYTES])
            start, most = _MARK_BYTES, len(data) - _MARK_BYTES
            if kind >> 16:  # four bytes at most are in the mark itself
                kind, size, start, most = kind & 0xFFFF, kind >> 16, 4, 4
            if size > most:
                raise _bad(self._path, "an element passes the end of what holds it")
            end = start + size
            yield kind, data[start:end]
            data = data[end if kind == _COMPRESSED else -(-end // _MARK_BYTES) * _MARK_BYTES :]

    def array(self, body: memoryview) -> _Array:
        """Return what an array is."""
        parts = list(islice(self.elements(body), _MOST_PARTS))
        if len(parts) < 3:
            raise _bad(self._path, "an array ends too early")
        flags, sides, name = (part for _, part in parts[:3])
        if len(flags) < 8 or len(sides) < 8 or len(sides) % 4:
            raise _bad(self._path, "an array without sides")
        return _Array(
            kind=self._numbers("II", flags[:8])[0] & 0xFF,
            shape=self._numbers("i" * (len(sides) // 4), sides),
            name=bytes(name).decode("latin1"),
            parts=parts[3:],
        )

    def field(self, array: _Array, name: str) -> _Array:
        """Return the array in a field of a structure of one."""
        if array.kind != _STRUCTURE or prod(array.shape) != 1 or len(array.parts) < 2:
            raise _bad(self._path, f"{array.name} is no structure of one")
        (_, length), (_, names), *values = array.parts
        (step,) = self._numbers("i", length) if len(length) == 4 else (0,)
        for number, (kind, body) in enumerate(values):
            own = bytes(names[number * step : (number + 1) * step]).partition(b"\0")[0]
            if own == name.encode() and kind == _MATRIX:
                return self.array(body)
        raise _bad(self._path, f"{array.name} has no {name}")

    def picture(self, array: _Array) -> Shaped[np.ndarray, "height width"]:
        """Return the values of an array of two sides."""
        stored, values = array.parts[0] if array.parts else (0, b"")
        if array.kind not in _CLASSES or stored not in _STORED:
            raise _bad(self._path, f"its class {array.kind} is not that of whole numbers")
        kind, shape = np.dtype(self._order + _STORED[stored]), array.shape
        if len(shape) != 2 or min(shape) < 1 or prod(shape) * kind.itemsize != len(values):
            raise _bad(self._path, f"{len(values)} bytes are not a picture of {shape}")
        # columns come first
        return np.frombuffer(values, kind).reshape(shape, order="F").astype(_CLASSES[array.kind])

    def _numbers(self, layout: str, data: memoryview) -> tuple[int, ...]:
        return struct.unpack(f"{self._order}{layout}", data)


def _bad(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: {reason}")
