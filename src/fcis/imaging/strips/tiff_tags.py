"""The tags of a TIFF file's first page, if they are as any reader expects them.

Readers differ in what they make of tags of a wrong type, out of their order or beyond the file.
"""

import struct
from pathlib import Path
from typing import IO, NamedTuple

SHORT, LONG, _BYTE, BYTES, _LONG8 = 3, 4, 1, 7, 16  # TIFF's numbers of types
# bytes of a value
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_LETTERS = {_BYTE: "B", SHORT: "H", LONG: "I", BYTES: "B", _LONG8: "Q"}

WIDTH, LENGTH, BITS, COMPRESSION, ORIENTATION, SAMPLES, PLANES = 256, 257, 258, 259, 274, 277, 284
STRIPS, STRIP_ROWS = (273, 279), 278  # offsets and byte counts
TILES, TILE_WIDTH, TILE_LENGTH = (324, 325), 322, 323
JPEG_TABLES = 347
# fill order, photometric, predictor, sub-sampling; colour map; extra samples, sample format
_SINGLE, _COLOURS, _PER_SAMPLE = (262, 266, 317), 320, (BITS, 338, 339)
_SUBSAMPLING = 530
# that say nothing of where pixels are and how they are meant; others below 2^15 may
_ABOUT = frozenset((254, 255, 269, 270, 271, 272, 282, 283, 285, 296, 297, 305, 306, 315, 316))
_ABOUT |= {318, 319, 529, 532, 700}
_PRIVATE, _DEPTHS = 2**15, range(32995, 33000)  # the latter make pictures of three sides
_MOST_ENTRIES = 1000


class Tag(NamedTuple):
    """A tag: TIFF's number of its type, how many values it has, and these as bytes."""

    kind: int
    length: int
    value: bytes


def plain_tags(path: Path) -> tuple[str, dict[int, Tag]] | None:
    """Return the order of bytes, as `struct` names it, and the tags that are about pixels.

    None where a tag of the page is not as it should be.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(start[:2])
        if order is None or len(start) < 16:
            return None
        version, offset = struct.unpack(f"{order}HI", start[2:8])
        if version == 43:
            (offset,) = struct.unpack(f"{order}Q", start[8:])
        found: dict[int, Tag] = {}
        last = 0
        for tag, kind, count, place in _entries(file, order, offset, is_big=version == 43):
            number = count * _SIZES.get(kind, size + 1)
            if tag <= last or number > size or not _is_known(tag):
                return None
            last = tag
            if tag in _WANTED:
                value = place[:number]
                if number > len(place):
                    (at,) = struct.unpack(f"{order}{'Q' if len(place) == 8 else 'I'}", place)
                    if at + number > size:
                        return None
                    file.seek(at)
                    value = file.read(number)
                found[tag] = Tag(kind, count, value)
    return (order, found) if last and _is_plain(order, found) else None


def numbers(order: str, tag: Tag) -> tuple[int, ...]:
    """Return the whole numbers of a tag."""
    return struct.unpack(f"{order}{tag.length}{_LETTERS[tag.kind]}", tag.value)


def number(order: str, tags: dict[int, Tag], tag: int, default: int) -> int:
    """Return the first whole number of a tag, which may be missing."""
    return numbers(order, tags[tag])[0] if tag in tags else default


def _entries(
    file: IO[bytes], order: str, offset: int, *, is_big: bool
) -> list[tuple[int, int, int, bytes]]:
    """Return tag, type, count and place or value of each entry; nothing if there are too few."""
    layout, head = (f"{order}HHQ8s", f"{order}Q") if is_big else (f"{order}HHI4s", f"{order}H")
    if offset >= 2**62:
        return []
    file.seek(offset)
    data = file.read(struct.calcsize(head))
    if len(data) < struct.calcsize(head):
        return []
    count = min(struct.unpack(head, data)[0], _MOST_ENTRIES)
    table = file.read(count * struct.calcsize(layout))
    if len(table) < count * struct.calcsize(layout):
        return []
    return list(struct.iter_unpack(layout, table))


def _is_known(tag: int) -> bool:
    return tag in _WANTED or tag in _ABOUT or (tag >= _PRIVATE and tag not in _DEPTHS)


def _is_plain(order: str, tags: dict[int, Tag]) -> bool:
    """Tell whether tags have the types and numbers of values that they should have."""
    if SAMPLES in tags and (tags[SAMPLES].kind, tags[SAMPLES].length) != (SHORT, 1):
        return False
    samples = number(order, tags, SAMPLES, 1)
    return all(
        tag.kind in _WANTED[name] and tag.length >= 1 and tag.length in _counts(name, samples)
        for name, tag in tags.items()
    )


def _counts(tag: int, samples: int) -> range | tuple[int, ...]:
    """Return how many values a tag may have."""
    if tag in (*STRIPS, *TILES, JPEG_TABLES, _COLOURS):
        return range(1, 2**62)
    if tag in _PER_SAMPLE:
        return range(1, samples) if tag == 338 else (samples,)
    return (2,) if tag == _SUBSAMPLING else (1,)


_WANTED = {
    **dict.fromkeys((WIDTH, LENGTH, STRIP_ROWS, TILE_WIDTH, TILE_LENGTH), (SHORT, LONG)),
    **dict.fromkeys((*STRIPS, *TILES), (SHORT, LONG, _LONG8)),
    **dict.fromkeys((COMPRESSION, ORIENTATION, SAMPLES, PLANES, *_SINGLE), (SHORT,)),
    **dict.fromkeys((*_PER_SAMPLE, _COLOURS, _SUBSAMPLING), (SHORT,)),
    JPEG_TABLES: (_BYTE, BYTES),
}
