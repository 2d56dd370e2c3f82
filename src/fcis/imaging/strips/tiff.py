"""A TIFF file -> Pillow images of some rows each, from top to bottom.

A TIFF is made of strips or tiles that are compressed one by one. Those of some rows are put into
a small file in memory, with the tags that say how they are meant, and Pillow reads that; so every
compression that Pillow knows works, and rows look as in the whole picture.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fcis.imaging.reading import damaged, decode_part
from fcis.imaging.strips.tiff_tags import (
    BITS,
    COMPRESSION,
    LENGTH,
    LONG,
    ORIENTATION,
    PLANES,
    SAMPLES,
    STRIP_ROWS,
    STRIPS,
    TILE_LENGTH,
    TILE_WIDTH,
    TILES,
    WIDTH,
    number,
    numbers,
    plain_tags,
)

_OLD_JPEG, _UNCOMPRESSED = 6, 1
_PLACES = (WIDTH, LENGTH, *STRIPS, STRIP_ROWS, *TILES, ORIENTATION)  # others are copied

_Entry = tuple[int, int, int, bytes]  # tag, type, count, value


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffLayout:
    """Where the parts of a TIFF file are.

    Attributes:
        order: of the bytes of a number, as `struct` names it.
        segment_rows: rows of a strip or tile.
        across: tiles beside each other; 1 for strips.
        offsets: of each strip or tile in the file.
        counts: bytes of each.
        entries: the tags that say how they are meant.
        is_tiled: tiles, not strips.
    """

    width: int
    height: int
    order: str
    segment_rows: int
    across: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    entries: tuple[_Entry, ...]
    is_tiled: bool


def tiff_layout(path: Path) -> TiffLayout | None:
    """Return how a TIFF file can be read by rows, from its first page's tags; None if it cannot.

    It cannot where channels are stored apart, where the picture is turned, where it is compressed
    as in the JPEG of TIFF 5, and where tags, strips or tiles are not as they should be.
    """
    read = plain_tags(path)
    if read is None:
        return None
    order, tags = read
    is_tiled = TILES[0] in tags
    width, height = (number(order, tags, tag, 0) for tag in (WIDTH, LENGTH))
    if is_tiled:
        rows, columns = (number(order, tags, tag, 0) for tag in (TILE_LENGTH, TILE_WIDTH))
    else:
        rows, columns = min(number(order, tags, STRIP_ROWS, height), height), width
    if (
        min(width, height, rows, columns) < 1
        or number(order, tags, PLANES, 1) != 1
        or number(order, tags, ORIENTATION, 1) != 1
        or number(order, tags, COMPRESSION, 1) == _OLD_JPEG
        or any(tag not in tags for tag in (TILES if is_tiled else STRIPS))
        or any(tag in tags for tag in (STRIPS if is_tiled else (*TILES, TILE_WIDTH, TILE_LENGTH)))
    ):
        return None
    across = -(-width // columns)
    offsets, counts = (numbers(order, tags[tag]) for tag in (TILES if is_tiled else STRIPS))
    if not len(offsets) == len(counts) == across * -(-height // rows):
        return None
    if number(order, tags, COMPRESSION, 1) == _UNCOMPRESSED:
        bits = number(order, tags, BITS, 1) * number(order, tags, SAMPLES, 1)
        line = (columns * bits + 7) // 8
        # programs write all kinds of counts for these; the last strip may be a short one
        needed = [line * rows] * len(counts)
        needed[-1] = line * (rows if is_tiled else height - rows * (len(counts) - 1))
        if any(count < least for count, least in zip(counts, needed, strict=True)):
            return None
        counts = tuple(needed)
    size = path.stat().st_size
    ends = (offset + count for offset, count in zip(offsets, counts, strict=True))
    if sum(counts) > size or min(counts) < 1 or max(ends) > size:
        return None
    return TiffLayout(
        width=width,
        height=height,
        order=order,
        segment_rows=rows,
        across=across,
        offsets=offsets,
        counts=counts,
        entries=tuple((n, t.kind, t.length, t.value) for n, t in tags.items() if n not in _PLACES),
        is_tiled=is_tiled,
    )


def tiff_parts(path: Path, layout: TiffLayout, rows: int) -> Iterator[Image.Image]:
    """Yield the picture from top to bottom, about `rows` rows at a time: whole strips or tiles.

    Raises:
        InputError: the file is truncated or damaged.
    """
    step = max(1, rows // layout.segment_rows)
    with path.open("rb") as file:
        for top in range(0, layout.height, step * layout.segment_rows):
            first = top // layout.segment_rows * layout.across
            segments: list[bytes] = []
            for index in range(first, min(first + step * layout.across, len(layout.offsets))):
                file.seek(layout.offsets[index])
                data = file.read(layout.counts[index])
                if len(data) < layout.counts[index]:
                    raise damaged(str(path), EOFError("the file became shorter"))
                segments.append(data)
            height = min(step * layout.segment_rows, layout.height - top)
            yield decode_part(_file(layout, height, segments), "TIFF", str(path))


def _file(layout: TiffLayout, height: int, segments: list[bytes]) -> bytes:
    """Return a TIFF file of so many rows."""
    places, at = [], 8
    for segment in segments:
        places.append(at)
        at += len(segment)
    body = b"".join(segments)
    if len(body) % 2:  # tags begin at an even place
        body += b"\0"
    offsets, counts = TILES if layout.is_tiled else STRIPS
    entries = [
        *layout.entries,
        _entry(layout.order, WIDTH, (layout.width,)),
        _entry(layout.order, LENGTH, (height,)),
        _entry(layout.order, offsets, tuple(places)),
        _entry(layout.order, counts, tuple(len(segment) for segment in segments)),
    ]
    if not layout.is_tiled:
        entries.append(_entry(layout.order, STRIP_ROWS, (layout.segment_rows,)))
    mark = b"II" if layout.order == "<" else b"MM"
    header = struct.pack(f"{layout.order}2sHI", mark, 42, 8 + len(body))
    return header + body + _directory(layout.order, sorted(entries), 8 + len(body))


def _directory(order: str, entries: list[_Entry], start: int) -> bytes:
    """Return the tags of a page that begin at a place in the file; long values follow them."""
    table = struct.pack(f"{order}H", len(entries))
    values = b""
    behind = start + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        if len(value) > 4:
            place = struct.pack(f"{order}I", behind + len(values))
            values += value + b"\0" * (len(value) % 2)
        else:
            place = value.ljust(4, b"\0")
        table += struct.pack(f"{order}HHI", tag, kind, count) + place
    return table + struct.pack(f"{order}I", 0) + values


def _entry(order: str, tag: int, values: tuple[int, ...]) -> _Entry:
    return tag, LONG, len(values), struct.pack(f"{order}{len(values)}I", *values)
