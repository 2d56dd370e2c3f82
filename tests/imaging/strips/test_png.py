import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.imaging.strips.png import png_layout, png_parts


def chunk(kind, body):
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", checksum)


def filtered(rows, distance, kinds):
    """Filter rows of bytes as the PNG specification says, pixel by pixel."""
    out = bytearray()
    above = bytes(len(rows[0]))
    for row, kind in zip(rows, kinds, strict=True):
        out.append(kind)
        for i, value in enumerate(row):
            a = row[i - distance] if i >= distance else 0
            b = above[i]
            c = above[i - distance] if i >= distance else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            guess = (0, a, b, (a + b) // 2, paeth)[kind]
            out.append((value - guess) % 256)
        above = row
    return bytes(out)


def by_hand(width, height, depth, color, kinds, *, seed=0, extra=b"", pieces=1):
    """A PNG file of noise with chosen filters, its data in several chunks."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    length = (width * depth * channels + 7) // 8
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 256, length, dtype=np.uint8).tobytes() for _ in range(height)]
    data = zlib.compress(filtered(rows, max(1, depth * channels // 8), kinds))
    step = -(-len(data) // pieces)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = b"".join(chunk(b"IDAT", data[i : i + step]) for i in range(0, len(data), step))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + body + chunk(b"IEND", b"")


def whole(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.mode, np.asarray(image)


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
@pytest.mark.parametrize(
    ("depth", "color"), [(8, 0), (16, 0), (1, 0), (4, 0), (8, 2), (8, 4), (8, 6), (16, 4), (2, 3)]
)
def test_rows_are_those_of_the_whole_picture(tmp_path, depth, color, rows):
    kinds = [0, 1, 2, 3, 4, 4, 3, 2, 1, 3, 4]
    palette = chunk(b"PLTE", bytes(range(12))) if color == 3 else b""
    data = by_hand(13, 11, depth, color, kinds, extra=palette, pieces=3)
    path = tmp_path / "x.png"
    path.write_bytes(data)
    layout = png_layout(path)
    parts = list(png_parts(path, layout, rows))
    mode, expected = whole(data)
    assert {part.mode for part in parts} == {mode}
    assert [part.height for part in parts[:-1]] == [rows] * (len(parts) - 1)
    np.testing.assert_array_equal(np.concatenate([np.asarray(p) for p in parts]), expected)


def test_transparent_entries_and_other_chunks(tmp_path):
    extra = chunk(b"tEXt", b"a\0b") + chunk(b"PLTE", bytes(range(12))) + chunk(b"tRNS", b"\0\xff")
    data = by_hand(9, 5, 8, 3, [0] * 5, extra=extra)
    path = tmp_path / "x.png"
    path.write_bytes(data)
    (part,) = png_parts(path, png_layout(path), 5)
    assert part.has_transparency_data
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(
            np.asarray(part.convert("RGBA")), np.asarray(image.convert("RGBA"))
        )


def test_what_cannot_be_read_by_rows(tmp_path):
    def layout(data):
        path = tmp_path / "x.png"
        path.write_bytes(data)
        return png_layout(path)

    good = by_hand(4, 4, 8, 2, [0] * 4)
    assert layout(good) is not None
    interlaced = bytearray(good)
    interlaced[28] = 1
    assert layout(bytes(interlaced)) is None
    assert layout(by_hand(4, 4, 16, 2, [0] * 4)) is None
    assert layout(by_hand(4, 4, 8, 2, [0] * 4, extra=chunk(b"acTL", bytes(8)))) is None
    behind = good[: good.index(b"IEND") - 4]
    assert layout(behind + chunk(b"tIME", bytes(7)) + good[len(behind) :]) is not None
    for kind in (b"eXIf", b"zTXt", b"fdAT"):
        assert layout(behind + chunk(kind, bytes(7)) + good[len(behind) :]) is None
    assert layout(b"\x89PNG\r\n\x1a\n") is None
    assert layout(b"GIF89a..........") is None


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files(tmp_path, share):
    path = tmp_path / "x.png"
    data = by_hand(40, 60, 8, 2, [4] * 60, pieces=4)
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"x\.png: the image is truncated or damaged"):
        list(png_parts(path, png_layout(path), 8))


def test_damaged_and_missing_data(tmp_path):
    path = tmp_path / "x.png"
    data = bytearray(by_hand(40, 60, 8, 2, [4] * 60))
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match="truncated or damaged"):
        list(png_parts(path, png_layout(path), 8))
    header = struct.pack(">IIBBBBB", 4, 9, 8, 0, 0, 0, 0)
    short = chunk(b"IDAT", zlib.compress(bytes(25)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + short + chunk(b"IEND", b""))
    with pytest.raises(InputError, match="the pixels end too early"):
        list(png_parts(path, png_layout(path), 4))


def test_rows_are_decoded_as_they_are_asked_for(tmp_path):
    """The first rows come though the file breaks off later."""
    path = tmp_path / "x.png"
    data = by_hand(400, 60, 8, 2, [1] * 60)
    path.write_bytes(data[: len(data) // 2])
    parts = png_parts(path, png_layout(path), 5)
    assert next(parts).size == (400, 5)
