"""What an image file claims to hold, against what it does, where Pillow takes its word for it."""

import os
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from fcis.core.errors import InputError
from fcis.imaging.png_chunks import has_all_rows

_HEIGHT, _STRIPS, _STRIP_ROWS = 257, 273, 278  # tags of TIFF
_COUNTS, _TILE_SIDES = (279, 325), (322, 323)
# Of the file's bytes: a part may well claim more than there is, but not all of them together
_MOST_CLAIMED = 2
_LARGEST_TILE = 2**24  # pixels; larger ones only in images that are as large
_MARK = 171  # a level that rows of one level hardly have


def check_tiff(image: TiffImageFile, name: str) -> None:
    """Refuse a page whose strips or tiles claim far more than there is; nothing is decoded.

    Args:
        image: at the page; of which the header has been read.
        name: of the file, for messages.

    Raises:
        InputError: they do.
    """
    tags = image.tag_v2
    tile = [_whole_numbers(tags.get(tag)) for tag in _TILE_SIDES]
    if all(tile):
        width, height = max(tile[0]), max(tile[1])
        if width * height > max(_LARGEST_TILE, image.width * image.height):
            raise _untrue(name, f"tiles of {width} x {height} pixels")
    # as it is stored: that of `image` may be turned
    height, rows = ((_whole_numbers(tags.get(tag)) or [0])[0] for tag in (_HEIGHT, _STRIP_ROWS))
    strips = len(_whole_numbers(tags.get(_STRIPS)))
    if not all(tile) and 0 < rows < height and 0 < strips < -(-height // rows):
        raise _untrue(name, f"{height} rows in {strips} strips of {rows}")
    counts = [count for tag in _COUNTS for count in _whole_numbers(tags.get(tag))]
    if len(counts) > 1 and image.fp is not None:
        place = image.fp.tell()
        size = image.fp.seek(0, 2)
        image.fp.seek(place)
        if sum(counts) > _MOST_CLAIMED * size:
            raise _untrue(name, f"{sum(counts):,} bytes of pixels in {size:,} bytes")


class PngRows:
    """Whether a PNG file has all rows, asked for before and after it is decoded."""

    def __init__(self, image: PngImageFile) -> None:
        self._source = os.fsdecode(image.filename) if image.filename else image.fp
        self._last = (0, image.height - 1, image.width, image.height)
        self._mark: np.ndarray | None = None
        if not (image.info.get("interlace") or image.is_animated):
            # into which Pillow decodes; a row that never came keeps the mark
            blank = Image.new(image.mode, image.size, None)
            blank.paste(_mark_of(image), self._last)
            self._mark = np.asarray(blank.crop(self._last))
            image.im = blank.im

    def are_there(self, image: PngImageFile) -> bool:
        """Tell it of the decoded image; the file is read again only if its last row looks odd."""
        if self._mark is not None and (np.asarray(image.crop(self._last)) != self._mark).any():
            return True
        if not isinstance(self._source, str):
            return self._source is None or has_all_rows(self._source)
        with Path(self._source).open("rb") as file:
            return has_all_rows(file)


def _mark_of(image: Image.Image) -> int | tuple[int, ...]:
    bands = len(image.getbands())
    return 1 if image.mode == "1" else _MARK if bands == 1 else (_MARK,) * bands


def _whole_numbers(value: object) -> list[int]:
    values = value if isinstance(value, tuple) else (value,)
    return [each for each in values if isinstance(each, int)]


def _untrue(name: str, claim: str) -> InputError:
    return InputError(f"{name}: the image is damaged (it claims {claim}); export it again")
