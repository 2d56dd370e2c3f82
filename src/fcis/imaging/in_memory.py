"""What people have in their hands -> what readers of images take, or one line that says why not."""

from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of
from fcis.imaging.reading import decode_bytes


@runtime_checkable
class OpenFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, all that are left without a size."""
        ...


Readable = str | Path | Image.Image | Shaped[np.ndarray, "..."]
_KINDS = (
    "a file name, a file open for reading, a PIL image, a numpy array of (height, width) or "
    "(height, width, channel), or a torch tensor of (height, width) or (channel, height, width)"
)


def as_readable(image: object) -> Readable:
    """Return an image as a path, a PIL image, or an array with its channels last.

    A file object is read to its end; a torch tensor is copied to the CPU.

    Raises:
        InputError: it is none of the kinds that are taken, or a file object cannot be read.
    """
    if isinstance(image, str | Path | Image.Image):
        return image
    if isinstance(image, np.ndarray):
        return image
    # without an import of torch, which this floor does without
    if type(image).__module__.partition(".")[0] == "torch" and hasattr(image, "detach"):
        tensor = cast(Any, image)
        if tensor.ndim not in (2, 3):
            raise InputError(
                f"image: a tensor of {tuple(tensor.shape)}; give (height, width) or "
                "(channel, height, width)"
            )
        array = tensor.detach().cpu().numpy()
        return array if array.ndim == 2 else np.ascontiguousarray(array.transpose(1, 2, 0))
    if hasattr(image, "read"):
        return _opened(image)
    if isinstance(image, bytes | bytearray | memoryview):
        raise InputError("image: bytes; give io.BytesIO(bytes), a file name or an array")
    raise InputError(f"image: {type(image).__name__} {_short(image)}; give {_KINDS}")


def _opened(file: object) -> Image.Image:
    name = getattr(file, "name", "image")
    with guarded(partial(_unread, name)):
        data = cast(Any, file).read()
    if not isinstance(data, bytes):
        raise InputError(f"{name}: is open as text; open it with mode 'rb'")
    return decode_bytes(data, str(name))


def _unread(name: object, error: Exception) -> InputError:
    return InputError(f"{name}: cannot be read ({reason_of(error)}); open it for reading")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
