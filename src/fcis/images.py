"""Image files and in-memory images of any kind -> RGB arrays of 8 bits.

Knows nothing of the network: what comes out is what a person would see. A bad file is the user's
`InputError`, never a warning and a half-read picture.
"""

import glob
import os
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from jaxtyping import Num, Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from fcis.errors import InputError

MAX_PIXELS = 100_000_000
PERCENTILES = (0.1, 99.9)
SUFFIXES = frozenset(
    ".avif .bmp .gif .j2k .jp2 .jpe .jpeg .jpg .mpo .pbm .pgm .png .pnm .ppm .tif .tiff "
    ".webp".split()
)

# Pillow opens more than these, among them formats that run programs (EPS) or have no signature.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "MPO", "AVIF")
# What Pillow's decoders are known to raise on damaged files, besides OSError.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, MemoryError)
_DAMAGED += (OverflowError, struct.error, zlib.error, Image.DecompressionBombError)
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = frozenset({5, 6, 7, 8})
_STRETCHED_ROWS = 256  # rows scaled at once, so that the float64 copy stays small


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """An image file and the name that its results go under.

    Attributes:
        path: the file.
        name: the path below the given folder without suffix, with forward slashes; unique.
    """

    path: Path
    name: str


def read_image(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    percentiles: tuple[float, float] = PERCENTILES,
    exif: bool = True,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the first picture of an image file as RGB, the way a viewer shows it.

    Grey becomes three equal channels. Grey of more than 8 bits and floats are scaled as `as_rgb`
    says; Pillow reads colour of 16 bits as its upper 8. Transparency is laid on black.

    Args:
        path: a file in one of the usual formats, known by its content, not by its suffix.
        max_pixels: the most pixels that are accepted; looked up before anything is decoded.
        percentiles: of the values of a deep image, what becomes 0 and 255.
        exif: turn the picture upright as its EXIF orientation says (that of a TIFF always is).

    Raises:
        InputError: no such file, not an image, damaged, truncated or too large.
    """
    with _open(path) as image:
        _load(image, max_pixels, str(path))
        return _pillow_to_rgb(_upright(image) if exif else image, percentiles, str(path))


def as_rgb(
    image: Image.Image | Shaped[np.ndarray, "..."],
    *,
    max_pixels: int = MAX_PIXELS,
    percentiles: tuple[float, float] = PERCENTILES,
    exif: bool = False,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image in memory as RGB; one that is this already is returned itself.

    Arrays are height x width (grey), or height x width x 1, 3 or 4 (RGBA, uint8 only). Booleans
    and uint8 are taken as they are. All other values are scaled linearly, with one scale for all
    channels, so that the percentiles become 0 and 255, and clipped; where both percentiles
    agree, the smallest and the largest value take their place. NaN and infinite values become 0,
    and so does an image of one value. Transparency is laid on black.

    Args:
        image: of any Pillow mode, or an array.
        max_pixels: the most pixels that are accepted.
        percentiles: of the values of a deep image, what becomes 0 and 255.
        exif: turn a Pillow image upright; off, because the masks should fit the image given.

    Raises:
        InputError: an array that is not an image, or too many pixels.
    """
    if isinstance(image, Image.Image):
        _load(image, max_pixels, "image")
        return _pillow_to_rgb(_upright(image) if exif else image, percentiles, "image")
    _check_array(image)
    _check_pixels((image.shape[1], image.shape[0]), max_pixels, "image")
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    elif image.dtype != np.uint8:
        image = _stretch(image, percentiles)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] == 4:
        return _on_black(Image.fromarray(np.ascontiguousarray(image)))
    return np.require(image, requirements=["C", "W"])


def image_size(path: str | Path, *, exif: bool = True) -> tuple[int, int]:
    """Return (height, width) of the image that `read_image` would return, from the header.

    Raises:
        InputError: no such file, or not an image.
    """
    with _open(path) as image:
        width, height = image.size
        if exif and _orientation(image) in _SWAPS_SIDES:
            return width, height
        return height, width


def find_images(inputs: Sequence[str | Path]) -> list[FoundImage]:
    """Return the image files that files, folders and glob patterns stand for.

    A file is taken whatever its suffix. Folders are searched with all that is below them, by
    suffix, links to folders and names that begin with a dot left out; a pattern (with `**` for
    any depth) takes files by suffix, too. The order is that of the inputs and, within each, of
    the paths. A file that comes up twice is taken once. Names that would be equal get as many
    more parts of their paths, or their suffixes, as make them differ.

    Raises:
        InputError: no input, or one that stands for no image.
    """
    if not inputs:
        raise InputError("no input given: name an image file, a folder or a pattern")
    found: dict[str, tuple[Path, int]] = {}
    for item in inputs:
        for path, base in _expand(item):
            found.setdefault(os.path.abspath(path), (path, len(path.relative_to(base).parts)))
    names = _unique_names([Path(key) for key in found], [depth for _, depth in found.values()])
    return [
        FoundImage(path=path, name=name)
        for (path, _), name in zip(found.values(), names, strict=True)
    ]


def _expand(item: str | Path) -> list[tuple[Path, Path]]:
    """Return (file, folder that its name is relative to) for each image of one input."""
    path = Path(item)
    if os.path.isdir(path):
        files = sorted(_walk(path))
        if not files:
            raise InputError(
                f"{path}: no images in this folder; it looks for {' '.join(sorted(SUFFIXES))}"
            )
        return [(file, path) for file in files]
    if os.path.exists(path):
        return [(path, path.parent)]
    if not glob.has_magic(str(item)):
        raise InputError(f"{path}: no such file or folder; check the spelling and the rights")
    base = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts[:-1]))
    files = sorted(
        file
        for file in map(Path, glob.glob(str(item), recursive=True))
        if file.suffix.lower() in SUFFIXES and file.is_file()
    )
    if not files:
        raise InputError(f"{item}: no image file matches this pattern; check the spelling")
    return [(file, base) for file in files]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        # macOS leaves `._x.jpg` beside x.jpg on foreign disks: no image
        visible = (Path(parent, name) for name in files if not name.startswith("."))
        yield from (file for file in visible if file.suffix.lower() in SUFFIXES)


def _unique_names(paths: Sequence[Path], depths: Sequence[int]) -> list[str]:
    """Return a different name for each of several absolute paths, at least `depths` parts long."""
    full = [path.with_suffix("").parts for path in paths]
    while repeated := _repeated(full):  # 1.png beside 1.jpg
        full = [
            path.parts if parts in repeated else parts
            for path, parts in zip(paths, full, strict=True)
        ]
    depths = list(depths)
    names = [parts[-depth:] for parts, depth in zip(full, depths, strict=True)]
    while repeated := _repeated(names):
        depths = [d + (name in repeated) for d, name in zip(depths, names, strict=True)]
        names = [parts[-depth:] for parts, depth in zip(full, depths, strict=True)]
    return ["/".join(part.strip(":/\\") for part in parts).lstrip("/") for parts in names]


def _repeated(items: Sequence[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return the items that occur more than once."""
    return {item for item, count in Counter(items).items() if count > 1}


def _open(path: str | Path) -> Image.Image:
    """Return a Pillow image of which only the header has been read.

    Raises:
        InputError: no such file, or not an image.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not an image file; name a file in it")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes); copy or export it again")
        with _pillow_limit.suspended():
            Image.init()
            return Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the spelling") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read this file; change its rights") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: not an image that can be read (or its first bytes are damaged); convert it "
            "to PNG, JPEG or TIFF, in 8-bit colour or in 8-bit, 16-bit or float grey"
        ) from error
    except _DAMAGED as error:
        raise InputError(
            f"{path}: truncated, damaged or not an image ({_one_line(error)}); "
            "copy or export it again"
        ) from error


def _load(image: Image.Image, max_pixels: int, name: str) -> None:
    """Decode a Pillow image in place, if it is not too large.

    Raises:
        InputError: too many pixels, or damaged data.
    """
    _check_pixels(image.size, max_pixels, name)
    try:
        with _pillow_limit.suspended():
            image.load()
    except _DAMAGED as error:
        raise InputError(
            f"{name}: the image is truncated or damaged ({_one_line(error)}); "
            "copy or export it again"
        ) from error


class _PillowLimit:
    """Pillow's own limit of pixels, a global of its module that can only be set for everyone.

    It is suspended in favour of `max_pixels` while at least one thread reads an image.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._saved: int | None = None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Switch the limit off in the block."""
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._saved, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if self._readers == 0:
                    Image.MAX_IMAGE_PIXELS = self._saved


_pillow_limit = _PillowLimit()


def _one_line(error: BaseException) -> str:
    """Return the text of another library's error without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    """Refuse images above the limit; `size` is (width, height)."""
    width, height = size
    if width * height > max_pixels:
        raise InputError(
            f"{name}: {width} x {height} pixels (width x height) are more than the limit of "
            f"{max_pixels:,}; raise it with --max-pixels {width * height} or make the image smaller"
        )


def _check_array(image: Shaped[np.ndarray, "..."]) -> None:
    """Refuse arrays that are no image."""
    shape = image.shape
    has_axes = image.ndim == 2 or (image.ndim == 3 and shape[2] in (1, 3, 4))
    if not has_axes or image.size == 0:
        raise InputError(
            f"image: got an array of shape {shape}; pass height x width, or height x width x "
            "1, 3 or 4 channels (from channels first: array.transpose(1, 2, 0))"
        )
    if image.dtype.kind not in "buif":
        raise InputError(
            f"image: got an array of {image.dtype}; pass uint8, or other integers or floats"
        )
    if image.ndim == 3 and shape[2] == 4 and image.dtype != np.uint8:
        raise InputError(
            f"image: got 4 channels of {image.dtype}; RGBA is read in uint8 only, pass 3 channels"
        )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 if there is none that can be read."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DAMAGED:  # a picture with broken EXIF is still a picture
        return 1
    # a TIFF is turned by Pillow as it is loaded, and its size is that of the turned image
    return value if value in _UPRIGHT and image.format != "TIFF" else 1


def _upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF orientation says."""
    method = _UPRIGHT.get(_orientation(image))
    return image if method is None else image.transpose(method)


def _pillow_to_rgb(
    image: Image.Image, percentiles: tuple[float, float], name: str
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the pixels of a loaded Pillow image of any mode."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.repeat(_stretch(np.asarray(image), percentiles)[:, :, None], 3, axis=2)
    try:
        if image.has_transparency_data:
            return _on_black(image.convert("RGBA"))
        return np.array(image.convert("RGB"))
    except ValueError as error:
        raise InputError(
            f"{name}: colours of the kind {image.mode} cannot be read; convert the image to RGB"
        ) from error


def _on_black(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """Return an RGBA image laid on black.

    What hides under full transparency is left to chance by the programs that write it; black is
    what most of them store there, so this agrees with readers that drop the alpha channel.
    """
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return np.array(Image.alpha_composite(black, image).convert("RGB"))


def _stretch(
    image: Num[np.ndarray, "height width *channels"], percentiles: tuple[float, float]
) -> UInt8[np.ndarray, "height width *channels"]:
    """Scale deep values to 0..255 between two percentiles of the finite ones, clipping."""
    result = np.zeros(image.shape, dtype=np.uint8)
    is_float = image.dtype.kind == "f"
    values = image[np.isfinite(image)] if is_float else image
    if values.size == 0:
        return result
    low, high = (float(v) for v in np.percentile(values, percentiles))
    if low >= high:  # nearly all values are the same: let the few others count
        low, high = float(values.min()), float(values.max())
    if low >= high:
        return result
    for top in range(0, len(image), _STRETCHED_ROWS):
        rows = image[top : top + _STRETCHED_ROWS].astype(np.float64)
        if is_float:
            rows[~np.isfinite(rows)] = low
        scaled = (np.clip(rows, low, high) - low) / (high - low) * 255
        result[top : top + _STRETCHED_ROWS] = np.floor(scaled + 0.5)
    return result
