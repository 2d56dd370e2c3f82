"""What files claim to hold."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.imaging import claims
from fcis.imaging.reading import read_image
from fcis.imaging.strips.picture import open_picture

from .reading_cases import png


def whole(path):
    return read_image(path)


def by_rows(path):
    return np.concatenate(list(open_picture(path).blocks()))


READERS = pytest.mark.parametrize("read", [whole, by_rows])


@READERS
@pytest.mark.parametrize(
    ("depth", "color"),
    [(1, 0), (2, 0), (8, 0), (16, 0), (8, 2), (16, 2), (4, 3), (8, 3), (8, 4), (16, 4), (8, 6)],
)
@pytest.mark.parametrize("rows", [0, 40, 119])
def test_a_png_with_fewer_rows_than_it_says(tmp_path, read, rows, depth, color):
    path = tmp_path / "x.png"
    line = 1 + (20 * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color] + 7) // 8
    palette = struct.pack(">I4s3sI", 3, b"PLTE", b"abc", zlib.crc32(b"PLTEabc"))
    before = [palette] if color == 3 else []
    path.write_bytes(png((20, 120, depth, color), zlib.compress(bytes(line * rows)), *before))
    with pytest.raises(InputError, match=r"x\.png: the image is truncated or damaged"):
        read(path)
    path.write_bytes(png((20, 120, depth, color), zlib.compress(bytes(line * 120)), *before))
    assert read(path).shape == (120, 20, 3)


def test_the_last_row_decides_whether_the_file_is_read_again(tmp_path, monkeypatch):
    path, asked = tmp_path / "x.png", []
    monkeypatch.setattr(claims, "has_all_rows", lambda file: not asked.append(1))
    for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"):
        Image.new(mode, (5, 4)).save(path)
        read_image(path)
    assert not asked
    Image.fromarray(np.full((4, 5), 171, np.uint8)).save(path)  # a row that looks as if untouched
    assert (read_image(path) == 171).all() and asked


def tiff(entries, data):
    """Return a little-endian TIFF of (tag, values), pixels at byte 8."""
    start = 8 + len(data)
    table, behind = struct.pack("<H", len(entries)), b""
    for tag, values in entries:
        raw = struct.pack(f"<{len(values)}I", *values)
        if len(raw) > 4:
            raw, behind = (
                struct.pack("<I", start + 6 + 12 * len(entries) + len(behind)),
                behind + raw,
            )
        table += struct.pack("<HHI", tag, 4, len(values)) + raw
    return b"II*\0" + struct.pack("<I", start) + data + table + bytes(4) + behind


@READERS
def test_strips_that_lie_upon_each_other(tmp_path, read):
    count, data = 50, bytes(4096)
    path = tmp_path / "x.tif"
    entries = [(256, [1]), (257, [count]), (258, [8]), (259, [1]), (262, [1])]
    entries += [(273, [8] * count), (277, [1]), (278, [1]), (279, [len(data)] * count)]
    path.write_bytes(tiff(entries, data))
    text = "x.tif: the image is damaged (it claims 204,800 bytes of pixels in 4,"
    with pytest.raises(InputError, match=re.escape(text)):
        read(path)
    entries[-1] = (279, [1] * count)
    path.write_bytes(tiff(entries, data))
    assert read(path).shape == (count, 1, 3)


@READERS
def test_strips_for_the_first_rows_alone(tmp_path, read):
    path = tmp_path / "x.tif"
    entries = [(256, [9]), (257, [90]), (258, [8]), (259, [1]), (262, [1]), (273, [8]), (277, [1])]
    path.write_bytes(tiff([*entries, (278, [9]), (279, [81])], bytes(82)))
    with pytest.raises(InputError, match="it claims 90 rows in 1 strips of 9"):
        read(path)


@READERS
def test_a_tile_far_larger_than_the_image(tmp_path, read):
    path = tmp_path / "x.tif"
    entries = [(256, [9]), (257, [9]), (258, [8]), (259, [5]), (262, [1]), (277, [1])]
    entries += [(322, [65536]), (323, [65536]), (324, [8]), (325, [99])]
    path.write_bytes(tiff(entries, bytes(100)))
    with pytest.raises(InputError, match=r"it claims tiles of 65536 x 65536 pixels\); export it"):
        read(path)


@READERS
def test_a_table_of_jpeg_that_is_a_number(tmp_path, read):
    path = tmp_path / "x.tif"
    entries = [(256, [9]), (257, [9]), (258, [8]), (259, [1]), (262, [1]), (273, [8]), (277, [1])]
    entries += [(278, [9]), (279, [81]), (347, [4_000_000_000])]
    path.write_bytes(tiff(entries, bytes(range(82))))
    assert read(path)[8, 8, 0] == 80


def test_a_file_in_memory(tmp_path):
    data = png((4, 9, 8, 0), zlib.compress(bytes(25)))
    with Image.open(io.BytesIO(data)) as image:
        rows = claims.PngRows(image)
        image.load()
        assert not rows.are_there(image)
