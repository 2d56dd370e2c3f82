"""Writes MXNet's array lists, in every version of their records, without MXNet."""

import struct
from pathlib import Path

import numpy as np

MAGIC = {"V1": 0xF993FAC8, "V2": 0xF993FAC9, "V3": 0xF993FACA}
VERSIONS = ("legacy", *MAGIC)
FLAGS = dict(
    enumerate("float32 float64 float16 uint8 int32 int8 int64 bool int16 uint16 uint32".split())
) | {11: "uint64"}
BFLOAT16 = 12  # numpy has none: give its bit patterns as uint16
CPU = struct.pack("<ii", 1, 0)


def shape_bytes(shape, version):
    return struct.pack(f"<I{len(shape)}{'I' if version == 'legacy' else 'q'}", len(shape), *shape)


def flag_of(array):
    return next(flag for flag, name in FLAGS.items() if name == array.dtype.name)


def record(array, version="legacy", *, flag=None):
    """One dense array; without a shape it is empty, except in V3."""
    head = b"" if version == "legacy" else struct.pack("<I", MAGIC[version])
    if version in ("V2", "V3"):
        head += struct.pack("<i", 0)
    head += shape_bytes(array.shape, version)
    if array.ndim == 0 and version != "V3":
        return head
    kind = struct.pack("<i", flag_of(array) if flag is None else flag)
    return head + CPU + kind + np.ascontiguousarray(array).tobytes()


def sparse_record(storage, shape, values, *aux):
    """One V2 array, row_sparse (1; `aux` is its rows) or csr (2; row starts and columns)."""
    head = struct.pack("<Ii", MAGIC["V2"], storage)
    head += shape_bytes(values.shape, "V2") + shape_bytes(shape, "V2")
    head += CPU + struct.pack("<i", flag_of(values))
    for array in aux:
        head += struct.pack("<i", flag_of(array)) + shape_bytes(array.shape, "V2")
    return head + values.tobytes() + b"".join(array.tobytes() for array in aux)


def array_list(records, names):
    """The whole file; `names` may be empty."""
    text = [name if isinstance(name, bytes) else name.encode() for name in names]
    return b"".join(
        [
            struct.pack("<QQQ", 0x112, 0, len(records)),
            *records,
            struct.pack("<Q", len(text)),
            *(struct.pack("<Q", len(name)) + name for name in text),
        ]
    )


def write_params(path: Path, arrays: dict[str, np.ndarray], *, version="legacy", named=True):
    """Write a file as MXNet would; `arrays` are in the file's order."""
    records = [record(array, version) for array in arrays.values()]
    path.write_bytes(array_list(records, list(arrays) if named else []))
