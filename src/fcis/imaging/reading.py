"""Image files and in-memory images of any kind -> RGB arrays of 8 bits.

Knows nothing of the network: what comes out is what a person would see. A bad file is the user's
`InputError`, never a warning and a half-read picture.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Num, Shaped, UInt8
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of
from fcis.core.image_reading import RGB
from fcis.imaging.bit_depth import to_levels, value_limits
from fcis.imaging.claims import PngRows, check_tiff
from fcis.imaging.png_chunks import ends_with_pixels

MAX_PIXELS = 100_000_000
MAX_TILED_PIXELS = 1_000_000_000  # of images that go through the network in tiles

# Pillow opens more than these, among them formats that run programs (EPS) or have no signature.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "MPO", "AVIF")
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
        decode(image, max_pixels, str(path))
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
        decode(image, max_pixels, "image")
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
    with guarded(partial(_no_file, path)):
        is_folder, size = path.is_dir(), path.stat().st_size
    if is_folder:
        raise InputError(f"{path}: is a folder, not an image file; name a file in it")
    if size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or export it again")
    return _identify(path, str(path))


def _no_file(path: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file; check the spelling")
    return damaged(str(path), error)


def open_bytes(data: bytes, name: str) -> Image.Image:
    """Return a Pillow image of a file in memory of which only the header has been read.

    Raises:
        InputError: it is no image.
    """
    if not data:
        raise InputError(f"{name}: is empty (0 bytes), or was read before; open it again")
    return _identify(BytesIO(data), name)


def decode_bytes(data: bytes, name: str) -> Image.Image:
    """Return the picture of an image file in memory, decoded and turned upright as a file's.

    Raises:
        InputError: it is no image, or damaged.
    """
    image = open_bytes(data, name)
    decode(image, MAX_PIXELS, name)
    return _upright(image)


def read_values(path: Path) -> Shaped[np.ndarray, "..."]:
    """Return the values of a picture as they are stored: palette indices, grey of any depth.

    Raises:
        InputError: no such file, not an image, damaged, or too large.
    """
    with open_header(path) as image:
        decode(image, MAX_PIXELS, str(path))
        with guarded(partial(damaged, str(path))):
            return np.asarray(image)


def _identify(source: Path | BytesIO, name: str) -> Image.Image:
    """Return a Pillow image of which only the header has been read."""
    with guarded(partial(_no_image, name)), _pillow_limit.suspended():
        Image.init()
        return Image.open(source, formats=[kind for kind in _FORMATS if kind in Image.OPEN])


def _no_image(name: str, error: Exception) -> InputError:
    """Return what is said of a file whose header cannot be read."""
    if isinstance(error, PermissionError):
        return InputError(f"{name}: no permission to read this file; change its rights")
    if isinstance(error, UnidentifiedImageError):
        return InputError(
            f"{name}: not an image that can be read (or its first bytes are damaged); convert it "
            "to PNG, JPEG or TIFF, in 8-bit colour or in 8-bit, 16-bit or float grey"
        )
    return InputError(
        f"{name}: truncated, damaged or not an image ({reason_of(error)}); copy or export it again"
    )


def decode_part(data: bytes, kind: str, name: str) -> Image.Image:
    """Return the decoded image of a file in memory that holds a part of another file.

    Args:
        data: the file.
        kind: Pillow's name of its format.
        name: of the other file, for messages.

    Raises:
        InputError: damaged data.
    """
    with guarded(partial(damaged, name)), _pillow_limit.suspended():
        image = Image.open(BytesIO(data), formats=[kind])
    decode(image, image.width * image.height, name)
    return image


def damaged(name: str, error: BaseException) -> InputError:
    """Return what is said of a file whose data end too early or make no sense."""
    return InputError(
        f"{name}: the image is truncated or damaged ({reason_of(error)}); copy or export it again"
    )


def decode(image: Image.Image, max_pixels: int, name: str) -> None:
    """Decode a Pillow image in place, if it is not too large.

    Args:
        image: of which the header has been read.
        max_pixels: the most pixels that are accepted.
        name: of the file, for messages.

    Raises:
        InputError: too many pixels, or damaged data.
    """
    check_pixels(image.size, max_pixels, name)
    check_claims(image, name)
    with guarded(partial(damaged, name)), _pillow_limit.suspended():
        # of one that was decoded before nothing can be told
        rows = PngRows(image) if isinstance(image, PngImageFile) and image.tile else None
        image.load()
        if rows is not None and not rows.are_there(cast(PngImageFile, image)):
            raise EOFError("the pixels end too early")


def check_claims(image: Image.Image, name: str) -> None:
    """Refuse an image that claims to hold what its file cannot; nothing is decoded.

    Raises:
        InputError: it does.
    """
    if isinstance(image, TiffImageFile):
        with guarded(partial(damaged, name)):
            check_tiff(image, name)


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
        if isinstance(image, PngImageFile) and image.tile and _is_at_end(image):
            exif = Image.Image.getexif(image)  # its own would decode to look behind the pixels
        else:
            exif = image.getexif()
        value = exif.get(_EXIF_ORIENTATION, 1)
    except Exception:  # of Pillow's reader: a picture with broken EXIF is still a picture
        return 1
    # a TIFF is turned by Pillow as it is loaded, and its size is that of the turned image
    return value if value in _UPRIGHT and image.format != "TIFF" else 1


def _is_at_end(image: PngImageFile) -> bool:
    return image.fp is not None and ends_with_pixels(image.fp)


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
    with guarded(partial(_strange_colours, name, image.mode)):
        if image.has_transparency_data:
            return _on_black(image.convert("RGBA"))
        return np.array(image.convert("RGB"))


def _strange_colours(name: str, mode: str, _: Exception) -> InputError:
    return InputError(
        f"{name}: colours of the kind {mode} cannot be read; convert the image to RGB"
    )


def _on_black(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """Return an RGBA image laid on black.

    What hides under full transparency is left to chance by the programs that write it; black is
    what most of them store there, so this agrees with readers that drop the alpha channel.
    """
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return np.array(Image.alpha_composite(black, image).convert("RGB"))
