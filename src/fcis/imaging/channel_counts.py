"""Images of any number of channels: to that of a network, and to colours that can be shown."""

import numpy as np
from jaxtyping import UInt8

from fcis.core.errors import InputError

# of red, green and blue in the brightness of a colour (ITU-R BT.601), in thousandths
_LUMINANCE = np.array([299, 587, 114], dtype=np.int64)


def fit_channels(
    image: UInt8[np.ndarray, "height width channel"], count: int
) -> UInt8[np.ndarray, "height width {count}"]:
    """Return an image with as many channels as a network takes.

    Colour becomes brightness where that is one, and grey three equal channels where it is three.

    Raises:
        InputError: other numbers of channels differ.
    """
    found = image.shape[2]
    if found == count:
        return image
    if (found, count) == (3, 1):
        # equal channels keep their level exactly
        brightness = (image.astype(np.int64) @ _LUMINANCE + 500) // 1000
        return brightness.astype(np.uint8)[:, :, None]
    if (found, count) == (1, 3):
        return np.repeat(image, 3, axis=2)
    raise InputError(
        f"image: has {found} channel{'s' * (found != 1)}, the network takes {count}; give it "
        "images like those it was trained on"
    )


def as_picture(
    image: UInt8[np.ndarray, "height width channel"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Return what is shown of an image: one channel as grey, otherwise the first three as colours.

    Of two channels the second one is green, and nothing is blue.
    """
    channels = image.shape[2]
    if channels == 3:
        return image
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    if channels == 2:
        return np.concatenate([image, np.zeros_like(image[:, :, :1])], axis=2)
    return np.ascontiguousarray(image[:, :, :3])
