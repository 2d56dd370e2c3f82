import io
import struct

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fcis.core.errors import InputError
from fcis.imaging.strips.tiff import tiff_layout, tiff_parts


def noise(*shape, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, 200, shape).astype(dtype)


def save(path, image, rows=None, **options):
    """Write a TIFF with strips of so many rows."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    if rows is not None:
        info[278] = rows
    image.save(path, tiffinfo=info, **options)
    return path


def parts_of(path, rows):
    layout = tiff_layout(path)
    return layout, list(tiff_parts(path, layout, rows))


def check(path, rows=8):
    layout, parts = parts_of(path, rows)
    with Image.open(path) as image:
        image.load()
        assert {part.mode for part in parts} == {image.mode}
        assert {part.width for part in parts} == {image.width}
        np.testing.assert_array_equal(
            np.concatenate([np.asarray(p) for p in parts]), np.asarray(image)
        )
    return layout, parts


@pytest.mark.parametrize(
    ("compression", "shape"),
    [
        (compression, (50, 37, *channels))
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd")
        for channels in ((3,), (), (4,))
        if (compression, channels) != ("jpeg", (4,))  # JPEG has no alpha
    ],
)
def test_strips_of_every_compression(tmp_path, compression, shape):
    path = save(
        tmp_path / "x.tif", Image.fromarray(noise(*shape)), rows=16, compression=compression
    )
    layout, parts = check(path, rows=1)
    assert layout.across == 1 and len(parts) > 1


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_deep_values(tmp_path, dtype, compression):
    image = Image.fromarray(noise(40, 30, dtype=dtype) * 3)
    check(save(tmp_path / "x.tif", image, rows=8, compression=compression), rows=8)


def test_several_strips_at_once(tmp_path):
    path = save(tmp_path / "x.tif", Image.fromarray(noise(50, 37)), rows=4, compression="tiff_lzw")
    _, parts = check(path, rows=9)
    assert [part.height for part in parts] == [8] * 6 + [2]


def test_palette_one_bit_predictor_and_cmyk(tmp_path):
    rgb = Image.fromarray(noise(40, 30, 3))
    check(save(tmp_path / "p.tif", rgb.quantize(16), rows=8))
    check(save(tmp_path / "b.tif", rgb.convert("1"), rows=8))
    check(save(tmp_path / "c.tif", rgb.convert("CMYK"), rows=8, compression="tiff_lzw"))
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[317], info[278] = 2, 8
    rgb.save(tmp_path / "d.tif", tiffinfo=info, compression="tiff_lzw")
    check(tmp_path / "d.tif")


def tiled(path, array, side, order="<", compression=1):
    """Write a tiled TIFF by hand."""
    import zlib

    height, width = array.shape[:2]
    channels = 1 if array.ndim == 2 else array.shape[2]
    segments = []
    for top in range(0, height, side):
        for left in range(0, width, side):
            tile = np.zeros((side, side, channels), array.dtype)
            part = array[top : top + side, left : left + side].reshape(-1, 1, channels)
            part = array[top : top + side, left : left + side]
            tile[: part.shape[0], : part.shape[1]] = part.reshape(*part.shape[:2], channels)
            data = tile.astype(tile.dtype.newbyteorder(order)).tobytes()
            segments.append(zlib.compress(data) if compression == 8 else data)
    offsets, at = [], 8
    for data in segments:
        offsets.append(at)
        at += len(data) + len(data) % 2
    body = b"".join(d + b"\0" * (len(d) % 2) for d in segments)
    bits = array.dtype.itemsize * 8
    entries = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels),
        (259, 3, [compression]), (262, 3, [2 if channels == 3 else 1]), (277, 3, [channels]),
        (322, 3, [side]), (323, 3, [side]), (324, 4, offsets), (325, 4, list(map(len, segments))),
    ]  # fmt: skip
    table, values = struct.pack(order + "H", len(entries)), b""
    behind = at + 2 + 12 * len(entries) + 4
    for tag, kind, numbers in entries:
        data = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        table += struct.pack(order + "HHI", tag, kind, len(numbers))
        if len(data) > 4:
            table += struct.pack(order + "I", behind + len(values))
            values += data
        else:
            table += data.ljust(4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "2sHI", mark, 42, at)
    path.write_bytes(head + body + table + bytes(4) + values)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("kind", ["grey", "rgb", "deep"])
def test_tiles(tmp_path, order, compression, kind):
    array = {
        "grey": noise(50, 37),
        "rgb": noise(50, 37, 3),
        "deep": noise(50, 37, dtype=np.uint16) * 300,
    }[kind]
    path = tiled(tmp_path / "x.tif", array, 16, order, compression)
    layout, parts = check(path, rows=16)
    assert layout.is_tiled and layout.across == 3 and len(parts) == 4
    np.testing.assert_array_equal(np.concatenate([np.asarray(p) for p in parts]), array)


def changed(data, tag, new):
    """Return a little-endian TIFF with the entry of a tag as `new` returns it from its numbers."""
    data = bytearray(data)
    (start,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[start : start + 2])
    for place in range(start + 2, start + 2 + 12 * count, 12):
        entry = struct.unpack("<HHII", data[place : place + 12])
        if entry[0] == tag:
            data[place : place + 12] = struct.pack("<HHII", *new(*entry))
    return bytes(data)


CHANGES = {
    "turned": (274, lambda tag, kind, count, value: (tag, kind, count, 6)),
    "channels apart": (284, lambda tag, kind, count, value: (tag, kind, count, 2)),
    "old JPEG": (259, lambda tag, kind, count, value: (tag, kind, count, 6)),
    "a byte as compression": (259, lambda tag, kind, count, value: (tag, 1, count, value)),
    "an unknown type": (259, lambda tag, kind, count, value: (tag, 99, count, value)),
    "two widths": (256, lambda tag, kind, count, value: (tag, kind, 2, value)),
    "a width of nothing": (256, lambda tag, kind, count, value: (tag, kind, count, 0)),
    "a float as width": (256, lambda tag, kind, count, value: (tag, 11, count, value)),
    "no order": (256, lambda tag, kind, count, value: (400, kind, count, value)),
    "too few bytes": (279, lambda tag, kind, count, value: (tag, kind, count, 1799)),
    "too many counts": (279, lambda tag, kind, count, value: (tag, kind, 2, 8)),
    "endless counts": (279, lambda tag, kind, count, value: (tag, kind, 2**32 - 1, value)),
    "a strip behind the file": (273, lambda tag, kind, count, value: (tag, kind, count, 10**9)),
    "bits of one sample": (258, lambda tag, kind, count, value: (tag, kind, 1, 8)),
    "a third side": (297, lambda tag, kind, count, value: (32997, kind, count, value)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_read_by_rows(tmp_path, change):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[274], info[297] = 1, (0, 1)
    path = tmp_path / "x.tif"
    Image.fromarray(noise(20, 30, 3)).save(path, tiffinfo=info)
    assert tiff_layout(path) is not None
    data = path.read_bytes()
    path.write_bytes(changed(data, *CHANGES[change]))
    assert path.read_bytes() != data and tiff_layout(path) is None


def test_what_is_no_tiff(tmp_path):
    path = tmp_path / "x.tif"
    for data in (b"", b"II*\0", b"II*\0" + bytes([255] * 12), b"no picture at all"):
        path.write_bytes(data)
        assert tiff_layout(path) is None


def test_counts_of_what_is_not_compressed_may_be_anything_that_is_there(tmp_path):
    array = noise(20, 30, 3)
    path = tmp_path / "x.tif"
    Image.fromarray(array).save(path)
    data = changed(path.read_bytes(), 279, lambda tag, kind, count, value: (tag, kind, count, 1834))
    path.write_bytes(data + bytes(100))
    layout, parts = parts_of(path, 20)
    assert layout.counts == (1800,)
    np.testing.assert_array_equal(np.asarray(parts[0]), array)


def test_the_first_page_of_several(tmp_path):
    pages = [Image.fromarray(noise(30, 20) // (i + 1)) for i in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    _, parts = parts_of(tmp_path / "x.tif", 8)
    np.testing.assert_array_equal(np.concatenate([np.asarray(p) for p in parts]), noise(30, 20))


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_truncated_and_damaged_files(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(noise(60, 40)).save(buffer, "TIFF", compression="tiff_lzw")
    path = tiled(tmp_path / "x.tif", noise(64, 64), 16, compression=8)
    layout = tiff_layout(path)
    data = path.read_bytes()
    path.write_bytes(data[:400])
    with pytest.raises(InputError, match="the file became shorter"):
        list(tiff_parts(path, layout, 16))
    path.write_bytes(data[:20] + bytes(60) + data[80:])
    with pytest.raises(InputError, match=r"x\.tif: the image is truncated or damaged"):
        list(tiff_parts(path, layout, 16))
