import math
import os
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import torch

from fcis.core.errors import InputError
from fcis.weights.foreign.params import read_params

from .mutations import survive
from .params_writer import (
    BFLOAT16,
    CPU,
    FLAGS,
    MAGIC,
    VERSIONS,
    array_list,
    record,
    shape_bytes,
    sparse_record,
    write_params,
)

# golden file -> the versions of its records, the file with its arrays, and how many of them it has
GENUINE = {
    "genuine": ("V2", "genuine", 16),
    "genuine_npshape_v3": ("V3", "genuine", 4),
    "genuine_unnamed": ("V2", "genuine", 3),
    "genuine_mx0.11": ("V1", "genuine_mx0.11", 16),
    "genuine_mx0.10.0": ("legacy", "genuine_mx0.10.0", 14),
    "genuine_mx0.9.5.post2": ("legacy", "genuine_mx0.9.5.post2", 14),
}
each_genuine = pytest.mark.parametrize("name", GENUINE)
each_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.params"


@pytest.fixture
def mxnet(shared):
    return shared / "golden" / "mxnet"


def expected(mxnet, name):
    _, arrays, count = GENUINE[name]
    with np.load(mxnet / f"{arrays}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files[:count]}


def same(first, second):
    return list(first) == list(second) and all(
        a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
        for a, b in zip(first.values(), second.values(), strict=True)
    )


# files that MXNet wrote


@each_genuine
def test_files_by_mxnet_itself(mxnet, name):
    arrays = expected(mxnet, name)
    if name == "genuine_unnamed":
        arrays = {str(i): array for i, array in enumerate(arrays.values())}
    found = read_params(mxnet / f"{name}.params")
    assert same(found, arrays)
    assert all(array.flags.writeable and array.flags.aligned for array in found.values())


@each_genuine
def test_the_writer_writes_the_bytes_of_mxnet(mxnet, path, name):
    version, named = GENUINE[name][0], name != "genuine_unnamed"
    write_params(path, expected(mxnet, name), version=version, named=named)
    assert path.read_bytes() == (mxnet / f"{name}.params").read_bytes()


@each_genuine
def test_a_bit_of_the_data_changes_one_number(mxnet, path, name):
    data = (mxnet / f"{name}.params").read_bytes()
    before = read_params(mxnet / f"{name}.params")
    for i, (key, array) in enumerate(before.items()):
        start = data.find(array.tobytes())
        changed = bytearray(data)
        changed[start + 5 * i % array.nbytes] ^= 1
        path.write_bytes(changed)
        after = read_params(path)
        assert all(np.array_equal(after[k], before[k]) for k in before if k != key)
        assert list(after) == list(before) and after[key].shape == array.shape
        assert after[key].dtype == array.dtype and (after[key] != array).sum() == 1


# files that the tests write


@each_version
def test_there_and_back_with_every_type(path, version):
    rng = np.random.default_rng(3)
    arrays = {}
    for index, name in enumerate([*FLAGS.values()] * 6):
        shape = rng.integers(0 if index % 5 == 0 else 1, 5, rng.integers(1, 6))
        size = math.prod(shape) * np.dtype(name).itemsize
        raw = rng.integers(0, 2 if name == "bool" else 256, size, dtype=np.uint8)
        values = raw.view(name)
        values = np.nan_to_num(values) if values.dtype.kind == "f" else values
        arrays[f"arg:{index}é"] = values.reshape(shape)
    if version == "V3":
        arrays["scalar"] = np.array(2.5)
    write_params(path, arrays, version=version)
    assert same(read_params(path), arrays)


def test_a_list_without_arrays(path):
    write_params(path, {})
    assert read_params(path) == {}


@pytest.mark.parametrize("named", [True, False])
def test_arrays_without_names_are_numbered(path, named):
    write_params(path, {"a": np.ones(1, np.int8), "b": np.zeros(2, np.int8)}, named=named)
    assert list(read_params(path)) == (["a", "b"] if named else ["0", "1"])


def test_bfloat16_is_read_as_float32(path):
    values = torch.tensor([[1.0, -2.5], [3e38, 1e-40]], dtype=torch.bfloat16)
    bits = values.view(torch.int16).numpy().view(np.uint16)
    path.write_bytes(array_list([record(bits, "V2", flag=BFLOAT16)], ["a"]))
    assert same(read_params(path), {"a": values.float().numpy()})


def test_any_byte_but_0_is_true(path):
    flags = record(np.array([0, 1, 2, 255], np.uint8), flag=7)
    path.write_bytes(array_list([flags], ["a"]))
    assert same(read_params(path), {"a": np.array([False, True, True, True])})


def test_versions_may_be_mixed_and_devices_do_not_matter(path):
    array = np.arange(3, dtype=np.float32)
    records = [record(array, version) for version in VERSIONS]
    records.append(record(array).replace(CPU, struct.pack("<ii", 2, 7)))
    path.write_bytes(array_list(records, list("abcde")))
    assert same(read_params(path), dict.fromkeys("abcde", array))


@pytest.mark.parametrize(
    "nothing",
    [
        struct.pack("<I", 0),
        struct.pack("<II", MAGIC["V1"], 0),
        struct.pack("<IiI", MAGIC["V2"], 0, 0),
        struct.pack("<IiI", MAGIC["V2"], -1, 0),
        struct.pack("<Iii", MAGIC["V3"], 0, -1),
        struct.pack("<Iiiqq", MAGIC["V3"], 0, 2, 3, -1),
    ],
    ids=["legacy", "V1", "V2", "V2 without storage", "V3 unknown", "V3 unknown axis"],
)
def test_arrays_that_were_never_given_a_value(path, nothing):
    one = np.ones(1, np.int64)
    path.write_bytes(array_list([nothing, record(one)], ["none", "one"]))
    assert same(read_params(path), {"none": np.zeros(0, np.float32), "one": one})


# sparse arrays


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_rows_of_sparse_arrays(path, kind):
    values = np.arange(1, 13, dtype=np.float16).reshape(2, 3, 2)
    path.write_bytes(array_list([sparse_record(1, (5, 3, 2), values, np.array([1, 4], kind))], "a"))
    dense = np.zeros((5, 3, 2), np.float16)
    dense[[1, 4]] = values
    assert same(read_params(path), {"a": dense})


def test_compressed_sparse_arrays(path):
    rng = np.random.default_rng(0)
    matrices = {
        f"{i}": scipy.sparse.random_array((i % 4, 7), density=i / 20, rng=rng).tocsr()
        for i in range(20)
    }
    for matrix in matrices.values():
        matrix.sort_indices()
    records = [
        sparse_record(2, m.shape, m.data, m.indptr.astype(np.int64), m.indices.astype(np.int32))
        for m in matrices.values()
    ]
    path.write_bytes(array_list(records, list(matrices)))
    assert same(read_params(path), {name: m.toarray() for name, m in matrices.items()})


def test_sparse_arrays_without_values(path):
    none = np.zeros(0, np.int64)
    records = [
        sparse_record(1, (2, 3), np.zeros((0, 3), np.float32), none),
        sparse_record(2, (2, 3), np.zeros(0, np.float32), none, none),
    ]
    path.write_bytes(array_list(records, "ab"))
    assert same(read_params(path), dict.fromkeys("ab", np.zeros((2, 3), np.float32)))


def rows(shape=(5, 2), values=None, indices=(1, 4), kind=np.int64):
    values = np.ones((2, 2), np.float32) if values is None else values
    return array_list([sparse_record(1, shape, values, np.array(indices, kind))], "a")


def csr(shape=(2, 3), starts=(0, 1, 2), columns=(0, 2)):
    values = np.ones(2, np.float32)
    indices = np.array(starts, np.int64), np.array(columns, np.int64)
    return array_list([sparse_record(2, shape, values, *indices)], "a")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (rows(indices=(1, 5)), "an index of a sparse array is outside 0 to 4"),
        (rows(indices=(-1, 4)), "an index of a sparse array is outside 0 to 4"),
        (rows(indices=(4, 1)), "the indices of a sparse array are not in ascending order"),
        (rows(indices=(1, 1)), "the indices of a sparse array are not in ascending order"),
        (rows(indices=(1,)), r"indices of shape \(1,\), expected \(2,\)"),
        (rows(indices=()), r"indices of shape \(0,\), expected \(2,\)"),
        (rows(kind=np.uint8), "indices of type 3, expected int32 or int64"),
        (rows(shape=(5, 3)), r"of shape \(5, 3\) cannot be stored as \(2, 2\)"),
        (rows(shape=(2**40, 2)), r"with the shape \(1099511627776, 2\) .* more than 512 MiB"),
        (rows(shape=(2**27, 2)), "the file's sparse arrays need more than 512 MiB"),
        (csr(starts=(0, 3, 2)), "the rows of a sparse array do not follow one another"),
        (csr(starts=(0, 2**63 - 1, 2)), "the rows of a sparse array do not follow one another"),
        (csr(starts=(1, 1, 2)), "the rows of a sparse array do not follow one another"),
        (csr(starts=(0, 1, 1)), "the rows of a sparse array do not follow one another"),
        (csr(starts=(0, 2)), r"indices of shape \(2,\), expected \(3,\)"),
        (csr(columns=(0, 3)), "an index of a sparse array is outside 0 to 2"),
        (csr(columns=(0, -1)), "an index of a sparse array is outside 0 to 2"),
        (csr(starts=(0, 2, 2), columns=(1, 1)), "are not in ascending order"),
        (csr(shape=(2, 3, 1)), r"of shape \(2, 3, 1\) cannot be stored as \(2,\)"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_indices_of_sparse_arrays_are_checked(path, data, problem):
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"w\.params: array 0, byte \d+: .*{problem}.*; fetch"):
        read_params(path)


def test_sparse_arrays_are_limited_together(path):
    """Each of 30 bytes may ask for as much as the limit."""
    one = sparse_record(1, (2**26, 1), np.zeros((0, 1), np.float32), np.zeros(0, np.int64))
    path.write_bytes(array_list([one] * 3, "abc"))
    with pytest.raises(InputError, match=r"array 2, .* more than 512 MiB"):
        read_params(path)


# damaged files

ONE = record(np.ones(3, np.float32))


def v3(*shape):
    """A V3 record whose shape is as given and whose data are missing."""
    head = struct.pack("<Ii", MAGIC["V3"], 0) + shape_bytes(shape, "V3")
    return array_list([head + CPU + struct.pack("<i", 0)], [])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the header, byte 0: the list's mark is longer than the 0 bytes that are left"),
        (
            b"PK\3\4" + bytes(20),
            "the header, byte 0: no list of MXNet arrays .begins with 0x4034b50",
        ),
        (struct.pack("<QQQ", 0x112, 1, 0), "the header, byte 8: the reserved word is not 0"),
        (struct.pack("<QQQ", 0x112, 0, 2**63), "byte 16: says it has 9223372036854775808 arrays"),
        (struct.pack("<QQQ", 0x112, 0, 1), "array 0, byte 24: the record's first word is longer"),
        (array_list([ONE], "ab"), "names, byte 56: 2 names for 1 arrays"),
        (array_list([ONE] * 2, "aa"), "name 1, byte .*: 'a' is the name of an array before"),
        (array_list([ONE], [b"\xff\xfe"]), "name 0, byte 72: is no valid UTF-8"),
        (array_list([ONE], ["n" * 5000]), "name 0, byte 64: says it has 5000 bytes"),
        (array_list([ONE], ["name"])[:-1], "the name is longer than the 3 bytes that are left"),
        (array_list([ONE], "a") + b"!", "the end, byte 73: 1 bytes follow the last name"),
        (array_list([struct.pack("<I", 33)], []), "array 0, byte 24: unknown kind of record 0x21"),
        (array_list([struct.pack("<Ii", MAGIC["V2"], 3)], []), "unknown storage type 3"),
        (array_list([struct.pack("<IiIq", MAGIC["V2"], -1, 1, 1)], []), "but no storage type"),
        (array_list([struct.pack("<Ii", MAGIC["V1"], -1)], []), "a shape of -1 axes"),
        (array_list([struct.pack("<Ii", MAGIC["V1"], 2**30)], []), "a shape of 1073741824 axes"),
        (array_list([struct.pack("<IIq", MAGIC["V1"], 1, -1)], []), r"a negative axis .* \(-1,\)"),
        (v3(-2), r"a negative axis in the shape \(-2,\)"),
        (array_list([record(np.ones(3), flag=13)], []), "unknown type 13, expected 0 to 12"),
        (array_list([record(np.ones(3), flag=-1)], []), "unknown type -1, expected 0 to 12"),
        (v3(2**62, 2**62), "the data of an array .* is longer than the 8 bytes that are left"),
        (v3(3), r"the data of an array \(3,\) is longer than the 8 bytes that are left"),
        (v3(0, 2**62, 2**62), r"the shape \(0, .* is too large"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_damaged_files(path, data, problem):
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"^{path}: .*{problem}.*; fetch the file anew, or save"):
        read_params(path)


def test_a_file_that_becomes_shorter(path, monkeypatch):
    write_params(path, {"a": np.ones(9)})
    monkeypatch.setattr(os, "fstat", lambda number: SimpleNamespace(st_size=10**6))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"array 0, byte 44: the file became shorter while it was"):
        read_params(path)


def test_no_file(tmp_path, path):
    for missing in (path, tmp_path):
        with pytest.raises(InputError, match=rf"{missing}: no such file; give an MXNet"):
            read_params(missing)


@pytest.mark.skipif(os.geteuid() == 0, reason="everything may be read by root")
def test_a_file_that_may_not_be_read(path):
    write_params(path, {})
    path.chmod(0)
    with pytest.raises(InputError, match=r"w\.params: cannot be read .*; check its permissions"):
        read_params(path)


@each_genuine
def test_mutations_of_genuine_files(mxnet, path, name):
    path.write_bytes((mxnet / f"{name}.params").read_bytes())
    read, grown = survive("fcis.weights.foreign.params:read_params", path, 400)
    assert 20 < read < 300  # those whose damage is in the data, which nothing protects
    assert grown < 2**26


def test_mutations_of_sparse_arrays(path):
    matrix = scipy.sparse.random_array((9, 11), density=0.3, rng=np.random.default_rng(1)).tocsr()
    matrix.sort_indices()
    indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    records = [
        sparse_record(2, matrix.shape, matrix.data, *indices),
        sparse_record(1, (8, 3), np.ones((2, 3), np.int32), np.array([3, 5])),
        record(np.ones(4, np.uint16), "V2", flag=BFLOAT16),
        record(np.array(3), "V3"),
    ]
    path.write_bytes(array_list(records, ["a", "b", "c", "d"]))
    read, grown = survive("fcis.weights.foreign.params:read_params", path, 800)
    assert 40 < read < 600
    assert grown < 2**30
