"""Image files and in-memory images of any kind -> RGB arrays of 8 bits.

Knows nothing of the network: what comes out is what a person would see. A bad file is the user's
`InputError`, never a warning and a half-read picture.
"""

import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Num, Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from fcis.core.errors import InputError
from fcis.core.image_reading import RGB
from fcis.imaging.bit_depth import to_levels, value_limits

MAX_PIXELS = 100_000_000
MAX_TILED_PIXELS = 1_000_000_000  # of images that go through the network in tiles

# Pillow opens more than these, among them formats that run programs (EPS) or have no signature.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "MPO", "AVIF")
# What Pillow's decoders are known to raise on damaged files, besides OSError.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, MemoryError)
DAMAGED += (OverflowError, struct.error, zlib.error, Image.DecompressionBombError)
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


def read_image(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    percentiles: tuple[float, float] = RGB.percentiles,
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
    with open_header(path) as image:
        _load(image, max_pixels, str(path))
        return _pillow_to_rgb(_upright(image) if exif else image, percentiles, str(path))


def as_rgb(
    image: Image.Image | Shaped[np.ndarray, "..."],
    *,
    max_pixels: int = MAX_PIXELS,
    percentiles: tuple[float, float] = RGB.percentiles,
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
    check_pixels((image.shape[1], image.shape[0]), max_pixels, "image")
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    elif image.dtype != np.uint8:
        image = to_levels(image, value_limits(image, percentiles))
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
    with open_header(path) as image:
        width, height = image.size
        if exif and orientation(image) in _SWAPS_SIDES:
            return width, height
        return height, width


def open_header(path: str | Path) -> Image.Image:
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
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the spelling") from error
    except OSError as error:
        raise damaged(str(path), error) from error
    return _identify(path, str(path))


def open_stream(file: BytesIO, name: str) -> Image.Image:
    """Return the picture of an image file in memory, decoded and turned upright as a file's.

    Raises:
        InputError: it is no image, or damaged.
    """
    if not file.getbuffer().nbytes:
        raise InputError(f"{name}: is empty (0 bytes), or was read before; open it again")
    image = _identify(file, name)
    _load(image, MAX_PIXELS, name)
    return _upright(image)


def _identify(source: Path | BytesIO, name: str) -> Image.Image:
    """Return a Pillow image of which only the header has been read."""
    try:
        with _pillow_limit.suspended():
            Image.init()
            return Image.open(source, formats=[kind for kind in _FORMATS if kind in Image.OPEN])
    except PermissionError as error:
        raise InputError(f"{name}: no permission to read this file; change its rights") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name}: not an image that can be read (or its first bytes are damaged); convert it "
            "to PNG, JPEG or TIFF, in 8-bit colour or in 8-bit, 16-bit or float grey"
        ) from error
    except DAMAGED as error:
        raise InputError(
            f"{name}: truncated, damaged or not an image ({_one_line(error)}); "
            "copy or export it again"
        ) from error


def decode_part(data: bytes, kind: str, name: str) -> Image.Image:
    """Return the decoded image of a file in memory that holds a part of another file.

    Args:
        data: the file.
        kind: Pillow's name of its format.
        name: of the other file, for messages.

    Raises:
        InputError: damaged data.
    """
    try:
        with _pillow_limit.suspended():
            image = Image.open(BytesIO(data), formats=[kind])
    except DAMAGED as error:
        raise damaged(name, error) from error
    _load(image, image.width * image.height, name)
    return image


def damaged(name: str, error: BaseException) -> InputError:
    """Return what is said of a file whose data end too early or make no sense."""
    return InputError(
        f"{name}: the image is truncated or damaged ({_one_line(error)}); copy or export it again"
    )


def _load(image: Image.Image, max_pixels: int, name: str) -> None:
    """Decode a Pillow image in place, if it is not too large.

    Raises:
        InputError: too many pixels, or damaged data.
    """
    check_pixels(image.size, max_pixels, name)
    try:
        with _pillow_limit.suspended():
            image.load()
    except DAMAGED as error:
        raise damaged(name, error) from error


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


def check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    """Refuse images above the limit; `size` is (width, height).

    Raises:
        InputError: too many pixels.
    """
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


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 if there is none that can be read."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except DAMAGED:  # a picture with broken EXIF is still a picture
        return 1
    # a TIFF is turned by Pillow as it is loaded, and its size is that of the turned image
    return value if value in _UPRIGHT and image.format != "TIFF" else 1


def _upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF orientation says."""
    method = _UPRIGHT.get(orientation(image))
    return image if method is None else image.transpose(method)


def _pillow_to_rgb(
    image: Image.Image, percentiles: tuple[float, float], name: str
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the pixels of a loaded Pillow image of any mode."""
    values = deep_values(image)
    if values is None:
        return shallow_to_rgb(image, name)
    levels = to_levels(values, value_limits(values, percentiles))
    return np.repeat(levels[:, :, None], 3, axis=2)


def deep_values(image: Image.Image) -> Num[np.ndarray, "height width"] | None:
    """Return the values of a loaded grey image of more than 8 bits, None for any other."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image)
    return None


def shallow_to_rgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """Return the pixels of a loaded Pillow image whose `deep_values` are None.

    Raises:
        InputError: a kind of colours that cannot be read.
    """
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
