"""Pictures in MATLAB files, against scipy's writer and reader, and damaged ones."""

import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from fcis.core.errors import InputError
from fcis.data.formats.mat_file import read_field

RNG = np.random.default_rng(0)


def content(picture):
    edges = np.empty((2, 1), dtype=object)
    edges[:] = [[np.eye(3)], [np.ones((1, 4))]]
    return {"GTinst": {"Boundaries": edges, "Segmentation": picture, "Categories": np.arange(3.0)}}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (1, 3), (2, 2)])
def test_the_same_as_scipy(tmp_path, kind, shape, compressed):
    path = tmp_path / "x.mat"
    picture = RNG.integers(0, 100, shape).astype(kind)
    savemat(path, {"before": np.ones(3), **content(picture)}, do_compression=compressed)
    found = read_field(path, "GTinst", "Segmentation")
    np.testing.assert_array_equal(found, loadmat(path)["GTinst"]["Segmentation"][0, 0])
    assert found.dtype == np.dtype(kind) and found.shape == shape


def element(order, kind, body):
    return struct.pack(f"{order}II", kind, len(body)) + body + bytes(-len(body) % 8)


def array(order, kind, shape, name, *parts):
    return element(
        order,
        14,
        element(order, 6, struct.pack(f"{order}II", kind, 0))
        + element(order, 5, struct.pack(f"{order}{len(shape)}i", *shape))
        + element(order, 1, name)
        + b"".join(parts),
    )


def written(order="<", shape=(2, 3), stored=2, name=b"GTcls", step=32):
    """Return a file of the picture 0 2 4, 1 3 5, whose class is that of 16 bits."""
    code = {1: "b", 2: "B", 4: "H"}.get(stored, "B")
    picture = array(
        order, 11, shape, b"", element(order, stored, struct.pack(f"{order}6{code}", *range(6)))
    )
    length = struct.pack(f"{order}HHi", *((5, 4) if order == "<" else (4, 5)), step)
    names = element(order, 1, b"Segmentation".ljust(32, b"\0"))
    variable = array(order, 2, (1, 1), name, length, names, picture)
    mark = b"IM" if order == "<" else b"MI"
    return b"MATLAB 5.0".ljust(124) + b"\0\1" + mark + variable


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("stored", [2, 4])  # MATLAB stores small values in fewer bytes
def test_both_orders_of_bytes(tmp_path, order, stored):
    path = tmp_path / "x.mat"
    path.write_bytes(written(order, stored=stored))
    found = read_field(path, "GTcls", "Segmentation")
    np.testing.assert_array_equal(found, [[0, 2, 4], [1, 3, 5]])
    assert found.dtype == np.uint16


def compressed(data, body):
    return data[:128] + struct.pack("<II", 15, len(body)) + body


GOOD = written()
BAD = {
    "no MATLAB file of version 5": b"no file",
    "it has no GTcls": written(name=b"other"),
    "6 bytes are not a picture of (2, 2)": written(shape=(2, 2)),
    "6 bytes are not a picture of (-2, -3)": written(shape=(-2, -3)),
    "6 bytes are not a picture of (1, 2, 3)": written(shape=(1, 2, 3)),
    "is not that of whole numbers": written(stored=9),
    "GTcls has no Segmentation": written(step=0),
    "an element passes the end of what holds it": GOOD[:-40],
    "it ends too early, or has more than": compressed(GOOD, zlib.compress(GOOD[128:])[:-9]),
    "incorrect header check": compressed(GOOD, b"no stream of zlib"),
}


@pytest.mark.parametrize("reason", BAD)
def test_damage_is_named(tmp_path, reason):
    path = tmp_path / "x.mat"
    path.write_bytes(BAD[reason])
    with pytest.raises(InputError, match=r"x\.mat: ") as caught:
        read_field(path, "GTcls", "Segmentation")
    assert reason in str(caught.value)


def test_what_unpacks_without_end_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("fcis.data.formats.mat_file.MAX_PIXELS", 1000)
    path = tmp_path / "x.mat"
    path.write_bytes(compressed(GOOD, zlib.compress(bytes(10**6))))
    with pytest.raises(InputError, match="more than 4,000 bytes"):
        read_field(path, "GTcls", "Segmentation")


def test_no_damage_ends_in_anything_else(tmp_path):
    """Every byte of a file of scipy's and of one not compressed, set to several values."""
    path, whole = tmp_path / "x.mat", tmp_path / "whole.mat"
    savemat(whole, content(np.ones((4, 4), np.uint8)), do_compression=False)
    data, refused = whole.read_bytes(), 0
    for place in range(120, len(data)):
        for value in (0, 1, 0x7F, 0xFF):
            path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            try:
                read_field(path, "GTinst", "Segmentation")
            except InputError:
                refused += 1
    assert refused > 100
