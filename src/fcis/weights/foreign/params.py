"""Arrays out of MXNet's `.params` files, without MXNet.

A file is damaged or hostile until every number in it has been held against the bytes that are left:
nothing is allocated before. Names and shapes are passed on as they are; what they mean is known to
`fcis.weights.foreign.mapping`.
"""

import io
import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcis.core.errors import InputError

_LIST_MAGIC = 0x112
# first word of a record -> its version; any other word is the number of axes of a legacy record
_VERSIONS = {0xF993FAC8: 1, 0xF993FAC9: 2, 0xF993FACA: 3}
_BFLOAT16 = 12
_TYPES = {
    0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8", 7: "?", 8: "<i2", 9: "<u2",
    10: "<u4", 11: "<u8", _BFLOAT16: "<u2",
}  # fmt: skip
_INDEX_TYPES = (4, 6)
_DENSE, _ROW_SPARSE, _CSR, _UNDEFINED = 0, 1, 2, -1

# Far above any network, and low enough that a file of empty arrays does not fill the memory
_MOST_ARRAYS, _MOST_AXES, _MOST_NAME_BYTES = 100_000, 32, 4096
_MOST_SPARSE_BYTES = 512 * 2**20  # of all sparse arrays made dense


def read_params(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of an MXNet parameter file by name, in the file's order.

    Names are the file's own, as a rule with the prefix `arg:` or `aux:`; in a file without names
    they are "0", "1" and so on. Reads the records of every MXNet release, also sparse arrays, which
    become dense; arrays of bfloat16 become float32, all others keep their type. An array without a
    shape, or whose shape was never found out, is empty, with one axis.

    Raises:
        InputError: no such file, no list of MXNet arrays, or damaged.

    MXNet: src/ndarray/ndarray.cc:593-678 @62ecb60 (legacy), 638-744 @998378a (V1), 1855-2148
    @b84609d (V2, V3); dmlc/serializer.h:104-175 @b5bec54 (reference: 9).
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an MXNet .params file")
    try:
        with path.open("rb") as file:
            return _read_list(_Source(path, file))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); check its permissions") from None


class _Source:
    """A file read once from front to back, that knows where it is and how much is left."""

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self._path, self._file = path, file
        self._start = self._position = 0
        self._size = os.fstat(file.fileno()).st_size
        self.part = "the header"
        self.sparse_bytes = 0

    @property
    def left(self) -> int:
        return self._size - self._position

    def error(self, problem: str) -> InputError:
        """Describe what is wrong with the field read last."""
        return InputError(
            f"{self._path}: {self.part}, byte {self._start}: {problem}; "
            "fetch the file anew, or save it anew with MXNet"
        )

    def take(self, num_bytes: int, what: str) -> np.ndarray:
        """Return the next bytes, in memory of their own."""
        self._start = self._position
        if num_bytes > self.left:
            raise self.error(f"{what} is longer than the {self.left} bytes that are left")
        data = np.empty(num_bytes, np.uint8)
        if self._file.readinto(data.data) != num_bytes:
            raise self.error("the file became shorter while it was read")
        self._position += num_bytes
        return data

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        """Return the next integers; `layout` is that of `struct`, always little-endian."""
        layout = f"<{layout}"
        return struct.unpack(layout, self.take(struct.calcsize(layout), what).data)

    def number(self, layout: str, what: str) -> int:
        return self.numbers(layout, what)[0]


def _read_list(source: _Source) -> dict[str, np.ndarray]:
    magic = source.number("Q", "the list's mark")
    if magic != _LIST_MAGIC:
        raise source.error(
            f"no list of MXNet arrays (begins with {magic:#x}, not {_LIST_MAGIC:#x})"
        )
    if source.number("Q", "the reserved word"):
        raise source.error("the reserved word is not 0")
    count = source.number("Q", "the number of arrays")
    if count > _MOST_ARRAYS:
        raise source.error(f"says it has {count} arrays, at most {_MOST_ARRAYS} are read")
    arrays = []
    for index in range(count):
        source.part = f"array {index}"
        arrays.append(_read_array(source))
    source.part = "names"
    names = _read_names(source, count)
    source.part = "the end"
    source.take(0, "the end")
    if source.left:
        raise source.error(f"{source.left} bytes follow the last name")
    return dict(zip(names, arrays, strict=True))


def _read_names(source: _Source, num_arrays: int) -> Sequence[str]:
    count = source.number("Q", "the number of names")
    if count == 0:
        return [str(index) for index in range(num_arrays)]
    if count != num_arrays:
        raise source.error(f"{count} names for {num_arrays} arrays")
    names: dict[str, None] = {}
    for index in range(count):
        source.part = f"name {index}"
        length = source.number("Q", "its length")
        if length > _MOST_NAME_BYTES:
            raise source.error(f"says it has {length} bytes, at most {_MOST_NAME_BYTES} are read")
        data = source.take(length, "the name")
        try:
            name = data.tobytes().decode()
        except UnicodeDecodeError:
            raise source.error("is no valid UTF-8") from None
        if name in names:
            raise source.error(f"{name[:80]!r} is the name of an array before")
        names[name] = None
    return list(names)


def _read_array(source: _Source) -> np.ndarray:
    """Read one record; Reference: 9."""
    word = source.number("I", "the record's first word")
    version = _VERSIONS.get(word, 0)
    if version == 0 and word > _MOST_AXES:
        raise source.error(f"unknown kind of record {word:#x}")
    storage = source.number("i", "the storage type") if version >= 2 else _DENSE
    if storage not in (_DENSE, _ROW_SPARSE, _CSR, _UNDEFINED):
        raise source.error(f"unknown storage type {storage}")
    sparse = storage in (_ROW_SPARSE, _CSR)
    stored_shape = (_read_shape(source, version=2) or (0,)) if sparse else ()
    shape = _read_axes(source, 0, word) if version == 0 else _read_shape(source, version)
    if shape is None:
        return np.zeros(0, np.float32)  # the record ends here
    if storage == _UNDEFINED:
        raise source.error("has a shape, but no storage type")
    source.numbers("ii", "the device")  # where the array was, which is of no interest
    flag = _read_type(source)
    if sparse:
        return _read_sparse(source, storage, stored_shape, shape, flag)
    return _read_data(source, shape, flag)


def _read_shape(source: _Source, version: int) -> tuple[int, ...] | None:
    return _read_axes(source, version, source.number("i", "the number of axes"))


def _read_axes(source: _Source, version: int, count: int) -> tuple[int, ...] | None:
    """Read the axes of a shape; None if there is no shape or it is not known."""
    if version == 3 and count == -1:
        return None
    if not 0 <= count <= _MOST_AXES:
        raise source.error(f"a shape of {count} axes, expected 0 to {_MOST_AXES}")
    shape = source.numbers(f"{count}{'q' if version else 'I'}", "the shape")
    if min(shape, default=0) < (-1 if version == 3 else 0):
        raise source.error(f"a negative axis in the shape {shape}")
    if -1 in shape or (not shape and version != 3):
        return None
    return shape


def _read_type(source: _Source) -> int:
    flag = source.number("i", "the type")
    if flag not in _TYPES:
        raise source.error(f"unknown type {flag}, expected 0 to {max(_TYPES)}")
    return flag


def _read_data(source: _Source, shape: tuple[int, ...], flag: int) -> np.ndarray:
    dtype = np.dtype(_TYPES[flag])
    data = source.take(math.prod(shape) * dtype.itemsize, f"the data of an array {shape}")
    # a byte of a bool other than 0 and 1 would be neither true nor false
    flat = data != 0 if dtype == np.bool_ else data.view(dtype)
    if flag == _BFLOAT16:  # the upper half of a float32
        wide = flat.astype(np.uint32)
        wide <<= 16
        flat = wide.view(np.float32)
    return _shaped(source, flat, shape)


def _shaped(source: _Source, flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return flat.reshape(shape)
    except ValueError:  # no elements, but other axes beyond what can be addressed
        raise source.error(f"the shape {shape} is too large") from None


def _read_sparse(
    source: _Source, storage: int, stored_shape: tuple[int, ...], shape: tuple[int, ...], flag: int
) -> np.ndarray:
    """Read the rest of a sparse record: what its indices are like, values, indices."""
    expected = _index_shapes(source, storage, stored_shape, shape)
    kinds = [_read_index_kind(source, e, empty=0 in stored_shape) for e in expected]
    itemsize = 4 if flag == _BFLOAT16 else np.dtype(_TYPES[flag]).itemsize
    source.sparse_bytes += math.prod(shape) * itemsize
    if source.sparse_bytes > _MOST_SPARSE_BYTES:
        raise source.error(
            f"with the shape {shape} the file's sparse arrays need more than "
            f"{_MOST_SPARSE_BYTES // 2**20} MiB"
        )
    values = _read_data(source, stored_shape, flag)
    indices = [_read_data(source, *kind).astype(np.int64) for kind in kinds]
    dense = _shaped(source, np.zeros(math.prod(shape), values.dtype), shape)
    if storage == _ROW_SPARSE:
        _check_indices(source, indices[0], shape[0])
        dense[indices[0]] = values
        return dense
    starts, columns = indices
    if starts.size:
        dense.reshape(-1)[_csr_positions(source, starts, columns, shape[1])] = values
    return dense


def _index_shapes(
    source: _Source, storage: int, stored_shape: tuple[int, ...], shape: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Return the shapes the index arrays must have: which rows; or row starts and columns."""
    if storage == _CSR and len(shape) == 2 and len(stored_shape) == 1:
        return [(shape[0] + 1,), stored_shape]
    if storage == _ROW_SPARSE and shape and stored_shape and stored_shape[1:] == shape[1:]:
        return [stored_shape[:1]]
    raise source.error(f"a sparse array of shape {shape} cannot be stored as {stored_shape}")


def _read_index_kind(
    source: _Source, expected: tuple[int, ...], *, empty: bool
) -> tuple[tuple[int, ...], int]:
    """Read shape and type of an index array; one of an array without values may be empty."""
    flag = _read_type(source)
    if flag not in _INDEX_TYPES:
        raise source.error(f"indices of type {flag}, expected int32 or int64")
    shape = _read_shape(source, version=2) or (0,)
    if shape != expected and not (empty and shape == (0,)):
        raise source.error(f"indices of shape {shape}, expected {expected}")
    return shape, flag


def _csr_positions(
    source: _Source, starts: np.ndarray, columns: np.ndarray, width: int
) -> np.ndarray:
    """Return where each value belongs in the flat dense array."""
    inside = starts.min() >= 0 and starts.max() <= columns.size
    counts = np.diff(starts)
    if not inside or starts[0] != 0 or starts[-1] != columns.size or (counts < 0).any():
        raise source.error("the rows of a sparse array do not follow one another")
    if columns.size and not 0 <= columns.min() <= columns.max() < width:
        raise source.error(f"an index of a sparse array is outside 0 to {width - 1}")
    positions = np.repeat(np.arange(counts.size), counts) * width + columns
    _check_indices(source, positions, counts.size * width)
    return positions


def _check_indices(source: _Source, indices: np.ndarray, limit: int) -> None:
    if indices.size and not 0 <= indices.min() <= indices.max() < limit:
        raise source.error(f"an index of a sparse array is outside 0 to {limit - 1}")
    if not (indices[1:] > indices[:-1]).all():
        raise source.error("the indices of a sparse array are not in ascending order")
