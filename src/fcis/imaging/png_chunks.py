"""The chunks of a PNG file: what lies behind its pixels, and whether these are all there.

Pillow takes a stream of pixels that ends too early for a whole picture, the rest of it black.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

File = IO[bytes] | io.BufferedIOBase  # Pillow calls them the former
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_READ = 2**18  # bytes of the file at once
_OPENED = 2**20  # bytes of pixels at once
# chunks behind the pixels that change nothing of a picture
_HARMLESS = frozenset((b"IDAT", b"IEND", b"tIME"))
# of interlaced pictures: first column and row, steps
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_PASSES += ((0, 1, 1, 2),)


class Chunk(NamedTuple):
    """A chunk: its kind, how many bytes it says it has, and where in the file these begin."""

    kind: bytes
    size: int
    start: int


class Header(NamedTuple):
    """What the first chunk says, in its order."""

    width: int
    height: int
    depth: int
    color: int
    compression: int
    filtering: int
    interlaced: int


def chunks(file: File) -> Iterator[Chunk]:
    """Yield the chunks of a PNG file in turn, up to its end; none of another file."""
    file.seek(0)
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return
    place = len(SIGNATURE)
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head)
        yield Chunk(kind, size, place + 8)
        place += 12 + size


def header_of(file: File, chunk: Chunk) -> Header | None:
    """Return what the first chunk of a file says, None if it is damaged."""
    file.seek(chunk.start)
    data = file.read(13)
    if chunk.kind != b"IHDR" or chunk.size != 13 or len(data) < 13:
        return None
    return Header(*struct.unpack(">IIBBBBB", data))


def ends_with_pixels(file: File) -> bool:
    """Tell whether nothing that matters lies behind the pixels of a file: EXIF, other frames."""
    kinds = [chunk.kind for chunk in chunks(file)]
    if b"IDAT" not in kinds:
        return False
    return set(kinds[kinds.index(b"IDAT") :]) <= _HARMLESS


def has_all_rows(file: File) -> bool:
    """Tell whether the pixels of a file are as many as its header says; all are unpacked."""
    found = list(chunks(file))
    header = header_of(file, found[0]) if found else None
    if header is None:
        return False
    missing = _num_bytes(header)
    stream = zlib.decompressobj()
    for chunk in found:
        if chunk.kind != b"IDAT":
            continue
        file.seek(chunk.start)
        for place in range(0, chunk.size, _READ):
            data = file.read(min(_READ, chunk.size - place))
            while data and missing > 0:
                try:
                    missing -= len(stream.decompress(data, _OPENED))
                except zlib.error:
                    return False
                data = stream.unconsumed_tail
            if missing <= 0:
                return True
    return missing - len(stream.flush()) <= 0


def _num_bytes(header: Header) -> int:
    """Return how many bytes the rows have, with their filters."""
    passes = _PASSES if header.interlaced else ((0, 0, 1, 1),)
    bits = header.depth * CHANNELS.get(header.color, 1)
    total = 0
    for left, top, across, down in passes:
        columns = -(-max(0, header.width - left) // across)
        rows = -(-max(0, header.height - top) // down)
        total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return total
