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
from PIL.TiffImagePlugin import TiffImageFile

from fcis.imaging.reading import damaged, decode_part

_WIDTH, _LENGTH, _ORIENTATION, _PLANES, _COMPRESSION = 256, 257, 274, 284, 259
_STRIPS = (273, 279)  # offsets and byte counts
_STRIP_ROWS = 278
_TILES = (324, 325)
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_JPEG_TABLES = 347
_OLD_JPEG = 6
_SHORT, _LONG, _BYTES = 3, 4, 7  # TIFF's numbers of types
# Bits, compression, photometric, fill order, samples, planes, predictor, colour map, extra
# samples, sample format, sub-sampling of colours.
_COPIED = (258, 259, 262, 266, 277, 284, 317, 320, 338, 339, 530)

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


def tiff_layout(image: TiffImageFile) -> TiffLayout | None:
    """Return how a TIFF file can be read by rows, from its first page's tags; None if it cannot.

    It cannot where channels are stored apart, where the picture is turned, or where it is
    compressed as in the JPEG of TIFF 5.
    """
    tags = image.tag_v2
    width, height = (int(tags.get(tag, 0)) for tag in (_WIDTH, _LENGTH))
    is_tiled = _TILES[0] in tags
    places = _TILES if is_tiled else _STRIPS
    if (
        min(width, height) < 1
        or tags.get(_PLANES, 1) != 1
        or tags.get(_ORIENTATION, 1) != 1
        or tags.get(_COMPRESSION, 1) == _OLD_JPEG
        or any(tag not in tags for tag in places)
    ):
        return None
    offsets, counts = (_numbers(tags[tag]) for tag in places)
    if is_tiled:
        rows, columns = int(tags.get(_TILE_LENGTH, 0)), int(tags.get(_TILE_WIDTH, 0))
    else:
        rows, columns = min(int(tags.get(_STRIP_ROWS, height)), height), width
    if min(rows, columns) < 1:
        return None
    across = -(-width // columns)
    if not len(offsets) == len(counts) == across * -(-height // rows):
        return None
    order = "<" if tags.prefix == b"II" else ">"
    entries = [_entry(order, tag, _SHORT, _numbers(tags[tag])) for tag in _COPIED if tag in tags]
    if _JPEG_TABLES in tags:
        tables = bytes(tags[_JPEG_TABLES])
        entries.append((_JPEG_TABLES, _BYTES, len(tables), tables))
    if is_tiled:
        entries += [
            _entry(order, _TILE_WIDTH, _LONG, (columns,)),
            _entry(order, _TILE_LENGTH, _LONG, (rows,)),
        ]
    return TiffLayout(
        width=width,
        height=height,
        order=order,
        segment_rows=rows,
        across=across,
        offsets=offsets,
        counts=counts,
        entries=tuple(entries),
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
                    raise damaged(str(path), EOFError("the file ends too early"))
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
    offsets, counts = _TILES if layout.is_tiled else _STRIPS
    entries = [
        *layout.entries,
        _entry(layout.order, _WIDTH, _LONG, (layout.width,)),
        _entry(layout.order, _LENGTH, _LONG, (height,)),
        _entry(layout.order, offsets, _LONG, tuple(places)),
        _entry(layout.order, counts, _LONG, tuple(len(segment) for segment in segments)),
    ]
    if not layout.is_tiled:
        entries.append(_entry(layout.order, _STRIP_ROWS, _LONG, (layout.segment_rows,)))
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


def _entry(order: str, tag: int, kind: int, values: tuple[int, ...]) -> _Entry:
    letter = "H" if kind == _SHORT else "I"
    return tag, kind, len(values), struct.pack(f"{order}{len(values)}{letter}", *values)


def _numbers(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, tuple) else (int(value),)
