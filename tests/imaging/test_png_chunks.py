"""Chunks of PNG files."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from fcis.imaging.png_chunks import chunks, ends_with_pixels, has_all_rows, header_of

from .reading_cases import png


def written(image, **options):
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file


def test_chunks_and_header():
    file = io.BytesIO(png((7, 5, 8, 0), zlib.compress(bytes(40))))
    found = list(chunks(file))
    assert [chunk.kind for chunk in found] == [b"IHDR", b"IDAT", b"IEND"]
    assert found[0].start == 16 and found[1].size == len(zlib.compress(bytes(40)))
    assert header_of(file, found[0]) == (7, 5, 8, 0, 0, 0, 0)
    assert header_of(file, found[1]) is None
    assert list(chunks(io.BytesIO(b"GIF89a" * 20))) == []
    assert has_all_rows(io.BytesIO(b"GIF89a" * 20)) is False


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (300, 20)])
def test_what_pillow_writes_is_whole(mode, size):
    assert has_all_rows(written(Image.new(mode, size)))


@pytest.mark.parametrize(
    ("header", "full"),
    [((7, 5, 8, 0), 40), ((9, 3, 1, 0), 9), ((3, 4, 16, 6), 100), ((5, 2, 4, 3), 8)],
)
def test_one_byte_less_is_told(header, full):
    assert has_all_rows(io.BytesIO(png(header, zlib.compress(bytes(full)))))
    assert not has_all_rows(io.BytesIO(png(header, zlib.compress(bytes(full - 1)))))
    assert not has_all_rows(io.BytesIO(png(header, b"no stream")))


def interlaced(width, height, missing=0):
    """Return an interlaced grey PNG; a pass is every so many columns and rows."""
    grid = np.zeros((height, width), bool)
    total = 0
    for left, top, across, down in (
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):  # fmt: skip
        part = grid[top::down, left::across]
        total += part.shape[0] * (part.shape[1] + 1) if part.size else 0
    data = bytearray(png((width, height, 8, 0), zlib.compress(bytes(total - missing))))
    data[28] = 1
    return io.BytesIO(bytes(data[:29]) + zlib.crc32(data[12:29]).to_bytes(4, "big") + data[33:])


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (16, 9)])
def test_interlaced(size):
    assert has_all_rows(interlaced(*size))
    assert not has_all_rows(interlaced(*size, missing=1))


def test_what_lies_behind_the_pixels():
    plain = written(Image.new("L", (4, 4))).getvalue()
    assert ends_with_pixels(io.BytesIO(plain))
    end = plain.index(b"IEND") - 4
    behind = plain[:end] + plain[end:].replace(b"IEND", b"eXIf") + plain[end:]
    assert not ends_with_pixels(io.BytesIO(behind))
    assert not ends_with_pixels(io.BytesIO(plain[:30]))
