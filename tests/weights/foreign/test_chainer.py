import io
import os
import struct
import zlib

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.weights.foreign.chainer import read_chainer

from .mutations import survive

ARRAYS = {
    "extractor/conv1/conv/W": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "extractor/conv1/bn/N": np.array(7),
    "rpn/score/b": np.array([1.5, -2.0]),
    "head/cls_seg/W": np.asfortranarray(np.arange(6, dtype=np.float16).reshape(3, 2)),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.npz"


def same(first, second):
    return list(first) == list(second) and all(
        a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
        for a, b in zip(first.values(), second.values(), strict=True)
    )


def npy(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def handmade(text, data=b"", version=1):
    """An .npy file with the header given."""
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin1") + data


def header(shape, kind="<f4"):
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n"


def deflated(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def entry(name, data, **fields):
    """One entry of an archive whose every field can be wrong."""
    return {
        "name": name, "packed": data, "method": 0, "flags": 0, "crc": zlib.crc32(data),
        "size": len(data), "packed_size": len(fields.get("packed", data)),
    } | fields  # fmt: skip


def write_archive(path, *entries):
    body = directory = b""
    for e in entries:
        name = e["name"].encode()
        common = struct.pack(
            "<HHHHHIIIHH", 20, e["flags"], e["method"], 0, 33, e["crc"], e["packed_size"],
            e["size"], len(name), 0,
        )  # fmt: skip
        place = struct.pack("<HHHII", 0, 0, 0, 0, len(body))
        directory += b"PK\1\2" + struct.pack("<H", 20) + common + place + name
        body += b"PK\3\4" + common + name + e["packed"]
    count = len(entries)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
    path.write_bytes(body + directory + b"PK\5\6" + end)


# what is read


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "prefix", ["", "fcis/", "model/", "updater/model:main/fcis/", "updater/model:main//", "/"]
)
def test_keys_begin_at_the_three_links(path, save, prefix):
    save(path, **{prefix + key: array for key, array in ARRAYS.items()})
    found = read_chainer(path)
    assert same(found, ARRAYS)
    assert all(
        a.flags.writeable and a.flags.c_contiguous and a.flags.aligned for a in found.values()
    )


def test_a_file_that_numpy_has_written(shared):
    with np.load(shared / "golden" / "calibration.npz", allow_pickle=False) as file:
        expected = {key: file[key] for key in file.files}
    assert same(read_chainer(shared / "golden" / "calibration.npz"), expected)


def test_of_a_snapshot_only_the_model_is_read(path):
    model = {f"updater/model:main/fcis/{key}": array for key, array in ARRAYS.items()}
    others = {
        "updater/optimizer:main/fcis/extractor/conv1/conv/W/v": np.zeros((2, 3, 2, 2)),
        "updater/iteration": np.array(12),
        "extensions/LogReport/_log": np.array('[{"loss": 1.0}]'),
        "updater/nothing": np.array(None),
    }
    np.savez(path, **model, **others)
    assert same(read_chainer(path), ARRAYS)


def test_files_of_other_networks_keep_their_keys(path):
    arrays = {"res2/a/conv1/conv/W": np.ones((1, 1)), "fc6/extractor": np.zeros(2)}
    np.savez(path, **arrays)
    assert same(read_chainer(path), arrays)


def test_every_type_of_number_and_order(path):
    rng = np.random.default_rng(5)
    expected, entries = {}, []
    kinds = "? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 >i2 >u8 >f4 >f8".split()
    for index, kind in enumerate(kinds * 4):
        shape = rng.integers(0 if index % 7 == 0 else 1, 5, rng.integers(0, 5))
        array = np.array(rng.integers(0, 100, shape)).astype(kind)
        array = np.asfortranarray(array) if index % 3 == 0 and array.ndim else array
        entries.append(entry(f"{index}.npy", npy(array, version=(index % 3 + 1, 0))))
        expected[str(index)] = array.astype(array.dtype.newbyteorder("="))
    write_archive(path, *entries)
    assert same(read_chainer(path), expected)


def test_headers_of_older_writers(path):
    data = np.arange(6, dtype=np.float32)
    write_archive(
        path,
        entry("long.npy", handmade(header("(2L, 3L)"), data.tobytes())),
        entry("no_padding.npy", handmade(header("(6,)").strip(), data.tobytes())),
        entry("flags.npy", handmade(header("(3,)", "|b1"), b"\0\1\2")),
    )
    expected = {"long": data.reshape(2, 3), "no_padding": data, "flags": np.array([0, 1, 1], bool)}
    assert same(read_chainer(path), expected)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_large_arrays_are_read_in_pieces(path, save):
    arrays = {"a": np.random.default_rng(0).random(700_001, np.float32)}
    save(path, **arrays)
    assert same(read_chainer(path), arrays)


# what is not

GOOD = npy(np.ones(3, np.float32))


def member(data, problem):
    return pytest.param([entry("rpn/a.npy", data)], f"'rpn/a' {problem}", id=problem[:40])


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([], "has no arrays; give an .npz file of Chainer"),
        ([entry("a.txt", b"x")], "'a.txt' is no .npy entry; "),
        ([entry("a.npy/", b"")], "'a.npy/' is no .npy entry; "),
        ([entry("a.npy", GOOD), entry("a.npy", GOOD)], "'a' is there twice; "),
        ([entry("a.npy", GOOD), entry("/a.npy", GOOD)], "'a' is there twice; "),
        (
            [entry(f"{k}/rpn/b.npy", GOOD) for k in "xy"],
            "more than one network, under 'x/' and 'y/'",
        ),
        (
            [entry("x/rpn/b.npy", GOOD), entry("b.npy", GOOD)],
            "'b' is not under 'x/' as others are; ",
        ),
        ([entry("a.npy", GOOD, flags=1)], "'a' is encrypted; "),
        ([entry("a.npy", GOOD, method=12)], r"'a' is compressed in an unknown way \(12\); "),
        ([entry("a.npy", GOOD, crc=0)], "damaged .Bad CRC-32 .*; fetch it anew"),
        ([entry("a.npy", GOOD, size=2**20)], "cannot have 1048576 bytes, packed in 140, in this"),
        ([entry("a.npy", GOOD, size=2**20, packed_size=2**20)], "packed in 1048576, in this file"),
        ([entry("a.npy", GOOD, size=2**30)], "unpacks to 1073741824 bytes, at most 536870912"),
        ([entry(f"{i}.npy", GOOD, size=2**28) for i in range(4)], "unpacks to 1073741824 bytes"),
        ([entry("a.npy", b"\x93NUMPY\1\0\xff")], "damaged .unpack requires .*; fetch it anew"),
        ([entry("a.npy", b"\xff" * 50, method=8)], "damaged .Error -3 while decompressing data"),
        ([entry("a.npy", deflated(GOOD)[:-9], method=8, size=len(GOOD))], "damaged .Bad CRC-32"),
        (
            [entry("a.npy", GOOD[:-3], packed=deflated(GOOD[:-3]), method=8, size=len(GOOD))],
            "'a' ends 3 bytes too early; fetch the file anew",
        ),
        member(b"", "is no .npy file of version 1, 2 or 3; "),
        member(b"\x93NUMPY\x04\x00" + GOOD[8:], "is no .npy file of version 1, 2 or 3; "),
        member(b"\x93NUMPX" + GOOD[6:], "is no .npy file of version 1, 2 or 3; "),
        member(GOOD + b"\0", r"has 13 bytes of data, float32 of shape \(3,\) does not; "),
        member(GOOD[:-1], r"has 11 bytes of data, float32 of shape \(3,\) does not; "),
        member(handmade(header((2**62, 2**62))), r"has 0 bytes of data, float32 of shape .* does"),
        member(handmade(header((0, 2**62, 2**62))), r"has the shape \(0, .*, which is too large; "),
        member(handmade(header((1,) * 33), b"1234"), r"has the header .* not that of an array; "),
        member(handmade(header("(-3,)")), r"has the header .* not that of an array; "),
        member(handmade(header("(3" + 30 * "0" + ",)")), r"has the header .* not that of an array"),
        member(handmade(header("(1 1)")), r"has the header .* not that of an array; "),
        member(handmade("(" * 9000), r"has the header .*, which is not that of an array; "),
        member(handmade(header("(3,)") * 200), r"has a header of \d+ bytes; "),
        member(handmade(header("(3,)") * 200, version=2), r"has a header of \d+ bytes; "),
        member(b"\x93NUMPY\2\0" + b"\xff" * 4, r"has a header of 4294967295 bytes; "),
        member(npy(np.array("a")), "holds <U1, not plain num"),
        member(npy(np.array([None])), "holds Python objects, which could run code, not plain num"),
        member(npy(np.zeros(2, "f4,i4")), "has the header .*, which is not that of an array; "),
        member(npy(np.zeros(2, np.complex64)), "holds <c8, not plain numbers; "),
        member(npy(np.zeros(2, np.longdouble)), "holds <f16, not plain numbers; "),
    ],
)
def test_what_is_not_read(path, entries, problem):
    write_archive(path, *entries)
    with pytest.raises(InputError, match=rf"^{path}: .*{problem}"):
        read_chainer(path)


def test_object_arrays_run_nothing(tmp_path, path):
    class Hostile:
        def __reduce__(self):
            return (tmp_path / "made").touch, ()

    np.savez(path, **{"rpn/a": np.array([Hostile()])})
    with pytest.raises(InputError, match="'rpn/a' holds Python objects, which could run code"):
        read_chainer(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"<html>", bytes(100), GOOD])
def test_no_archive(path, data):
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"w\.npz: no npz file, or damaged .*; fetch it anew"):
        read_chainer(path)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.99])
def test_archives_cut_short(path, part):
    np.savez(path, **ARRAYS)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match=r"w\.npz: no npz file, or damaged"):
        read_chainer(path)


def test_no_file(tmp_path, path):
    for missing in (path, tmp_path):
        with pytest.raises(InputError, match=rf"{missing}: no such file; give an .npz file"):
            read_chainer(missing)


@pytest.mark.skipif(os.geteuid() == 0, reason="everything may be read by root")
def test_a_file_that_may_not_be_read(path):
    np.savez(path, **ARRAYS)
    path.chmod(0)
    with pytest.raises(InputError, match=r"w\.npz: cannot be read .*; check its permissions"):
        read_chainer(path)


# bombs


def zeros_2_gib(data):
    """What is given and 2 GiB of zeros, deflated to 2 MB: one piece again and again."""
    packer = zlib.compressobj(wbits=-15)
    start = packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + piece * 2048 + packer.flush()


def test_a_bomb_that_says_so(path):
    start = handmade(header((2**29,)))
    packed, size = zeros_2_gib(start), len(start) + 2**31
    write_archive(path, entry("rpn/a.npy", b"", method=8, packed=packed, size=size))
    with pytest.raises(InputError, match=rf"unpacks to {size} bytes, at most 536870912 are read"):
        read_chainer(path)


# the checksum of what is declared; of one byte more, as far as is looked
each_forgery = pytest.mark.parametrize(
    ("extra", "problem"),
    [(b"", r"damaged \(Bad CRC-32 for"), (b"\0", "'rpn/a' is longer than the .* it declares; ")],
)


@each_forgery
def test_a_bomb_that_does_not(path, extra, problem):
    data = npy(np.zeros(2**18 - 32, np.float32))
    packed, crc = zeros_2_gib(data), zlib.crc32(data + extra)
    write_archive(path, entry("rpn/a.npy", data, method=8, packed=packed, crc=crc))
    with pytest.raises(InputError, match=rf"w\.npz: .*{problem}"):
        read_chainer(path)


@each_forgery
def test_a_stored_entry_longer_than_declared(path, extra, problem):
    crc = zlib.crc32(GOOD + extra)
    write_archive(path, entry("rpn/a.npy", GOOD, packed=GOOD + bytes(9), crc=crc))
    with pytest.raises(InputError, match=rf"w\.npz: .*{problem}"):
        read_chainer(path)


def test_a_directory_of_millions_of_entries(path):
    """Each entry takes the memory of ten; with none of them is anything read."""
    one = b"PK\1\2" + bytes(42)
    directory = one * (2**23 // len(one))
    end = struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
    path.write_bytes(directory + b"PK\5\6" + end)
    with pytest.raises(InputError, match=r"damaged \(its directory is too large\)"):
        read_chainer(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_mutations(path, save):
    save(path, **ARRAYS)
    read, grown = survive("fcis.weights.foreign.chainer:read_chainer", path, 1000)
    assert 100 < read < 800  # those whose damage is in fields that nobody needs
    assert grown < 2**26
