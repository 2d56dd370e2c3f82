"""A PNG file -> Pillow images of some rows each, from top to bottom.

The compressed stream is opened bit by bit. Pillow undoes the filters and reads the colours: it is
given small files in memory, first of plain bytes, then, as these are what the next rows' filters
refer to, of the rows as the file means them. So rows look as in the whole picture.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fcis.core.guard import guarded
from fcis.imaging.png_chunks import CHANNELS, SIGNATURE, chunks, ends_with_pixels, header_of
from fcis.imaging.reading import damaged, decode_part

_PLAIN = {1: 0, 2: 4, 3: 2, 4: 6}  # colour type of 8-bit images of so many bytes a pixel
_COPIED = (b"PLTE", b"tRNS")  # what says how values are meant
_READ = 2**18  # bytes of the file at once


@dataclass(frozen=True, slots=True, kw_only=True)
class PngLayout:
    """What the rows of a PNG file are.

    Attributes:
        depth: bits a channel.
        color: PNG's number of the kind of colours.
        extra: the chunks that say how values are meant, as they are.
        start: where in the file its first chunk of pixels begins.
    """

    width: int
    height: int
    depth: int
    color: int
    extra: bytes
    start: int

    @property
    def row_bytes(self) -> int:
        """Return the bytes of a row without its filter."""
        return (self.width * self.depth * CHANNELS[self.color] + 7) // 8

    @property
    def pixel_bytes(self) -> int:
        """Return the distance of bytes that filters compare."""
        return max(1, self.depth * CHANNELS[self.color] // 8)


def png_layout(path: Path) -> PngLayout | None:
    """Return how a PNG file can be read by rows, None if it cannot.

    It cannot where it is interlaced or animated, where colours have 16 bits a channel, or where
    something lies behind the pixels that a reader of the whole would look at.
    """
    extra = b""
    with path.open("rb") as file:
        found = list(chunks(file))
        header = header_of(file, found[0]) if found else None
        kinds = [chunk.kind for chunk in found]
        if header is None or not ends_with_pixels(file) or b"acTL" in kinds:
            return None
        first = kinds.index(b"IDAT")
        for chunk in found[:first]:
            if chunk.kind in _COPIED:
                file.seek(chunk.start - 8)
                extra += file.read(chunk.size + 12)
    if header.color not in CHANNELS or header.interlaced or b"IHDR" in kinds[1:]:
        return None
    layout = PngLayout(
        width=header.width,
        height=header.height,
        depth=header.depth,
        color=header.color,
        extra=extra,
        start=found[first].start - 8,
    )
    return layout if layout.pixel_bytes in _PLAIN else None


def png_parts(path: Path, layout: PngLayout, rows: int) -> Iterator[Image.Image]:
    """Yield the picture from top to bottom, `rows` rows at a time and what is left at the end.

    Raises:
        InputError: the file is truncated or damaged.
    """
    above: UInt8[np.ndarray, "1 byte"] | None = None
    top = 0
    with path.open("rb") as file:
        file.seek(layout.start)
        stream = _Inflated(file, str(path))
        while top < layout.height:
            count = min(rows, layout.height - top)
            filtered = stream.take(count * (layout.row_bytes + 1))
            plain = _unfiltered(filtered, above, layout, str(path))
            above = plain[-1:]
            unfiltered = np.zeros((count, layout.row_bytes + 1), dtype=np.uint8)
            unfiltered[:, 1:] = plain
            data = _file(
                (layout.width, count, layout.depth, layout.color),
                layout.extra,
                unfiltered.tobytes(),
            )
            yield decode_part(data, "PNG", str(path))
            top += count


class _Inflated:
    """The bytes that the pixel chunks of a PNG file hold, compressed as one stream."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._stream = zlib.decompressobj()
        self._left = 0  # bytes of the present chunk that have not been read
        self._begun = False

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises:
            InputError: there are fewer, or they are damaged.
        """
        parts: list[bytes] = []
        missing = count
        while missing:
            data = self._stream.unconsumed_tail or self._read()
            with guarded(partial(damaged, self._name)):
                part = self._stream.decompress(data, missing)
            if not part and self._stream.eof:
                raise damaged(self._name, EOFError("the pixels end too early"))
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _read(self) -> bytes:
        """Return some more compressed bytes."""
        while not self._left:
            if self._begun:
                self._file.seek(4, 1)  # its checksum; that of the stream holds for the pixels
            head = self._file.read(8)
            self._begun = True
            length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
            if kind != b"IDAT":
                raise damaged(self._name, EOFError("the pixels end too early"))
            self._left = length
        data = self._file.read(min(self._left, _READ))
        if not data:
            raise damaged(self._name, EOFError("the file ends too early"))
        self._left -= len(data)
        return data


def _unfiltered(
    filtered: bytes, above: UInt8[np.ndarray, "1 byte"] | None, layout: PngLayout, name: str
) -> UInt8[np.ndarray, "row byte"]:
    """Return the bytes of rows, given those of the row above them."""
    prefix = b"" if above is None else b"\0" + above.tobytes()
    count = len(filtered) // (layout.row_bytes + 1) + (above is not None)
    width = layout.row_bytes // layout.pixel_bytes
    header = (width, count, 8, _PLAIN[layout.pixel_bytes])
    plain = np.asarray(decode_part(_file(header, b"", prefix + filtered), "PNG", name))
    rows = plain.reshape(count, layout.row_bytes)
    return rows if above is None else rows[1:]


def _file(header: tuple[int, int, int, int], extra: bytes, data: bytes) -> bytes:
    """Return a PNG file of (width, height, depth, colour type), its data hardly compressed."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(body, zlib.crc32(kind))
        return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", checksum)

    return b"".join(
        (
            SIGNATURE,
            chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)),
            extra,
            chunk(b"IDAT", zlib.compress(data, level=0)),
            chunk(b"IEND", b""),
        )
    )
