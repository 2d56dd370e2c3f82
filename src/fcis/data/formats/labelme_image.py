"""Where the picture of a LabelMe file is, and how large."""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of
from fcis.data.dataset import FileSource, ImageSource
from fcis.data.formats.json_values import image_size_of
from fcis.imaging.finding import SUFFIXES
from fcis.imaging.reading import as_rgb, decode_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSource:
    """The picture that a LabelMe file holds in itself, decoded at each read."""

    path: Path

    def read(self) -> UInt8[np.ndarray, "height width 3"]:
        """Return the RGB image.

        Raises:
            InputError: it cannot be decoded.
        """
        say = partial(_damaged, self.path)
        with guarded(say):
            data = base64.b64decode(json.loads(self.path.read_bytes())["imageData"])
        try:
            return as_rgb(decode_bytes(data, str(self.path)))
        except InputError as error:
            raise say(error) from error

    def __str__(self) -> str:
        return f"{self.path} (imageData)"


def _damaged(path: Path, error: Exception) -> InputError:
    reason = reason_of(error).removeprefix(f"{path}: ").partition("; ")[0]
    return InputError(
        f"{path}: its imageData cannot be read as a picture ({reason}); put the image file "
        "beside it"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPicture:
    """A picture; `suffix` is what its file's name ends in."""

    source: ImageSource
    suffix: str


def find_image(path: Path, document: Mapping[str, object]) -> FoundPicture:
    """Return the picture of a LabelMe file.

    It is looked for under `imagePath`, then beside the file under the same name, then in the
    file.

    Args:
        path: the LabelMe file.
        document: what it holds; of `imageData`, whether there is one.

    Raises:
        InputError: there is none.
    """
    stated = document.get("imagePath")
    name = str(stated or "").replace("\\", "/")  # written on Windows
    places = [path.parent / name, path.parent / name.rsplit("/", 1)[-1]] if name else []
    places += [path.with_suffix(suffix) for suffix in sorted(SUFFIXES)]
    file = next((place for place in places if os.path.isfile(place)), None)
    if file is not None:
        source: ImageSource = FileSource(path=file)
    elif document.get("imageData"):
        source = EmbeddedSource(path=path)
    else:
        raise InputError(
            f"{path}: its image {stated!r} does not exist, and no imageData is in it; put the "
            "image there or correct imagePath"
        )
    return FoundPicture(source=source, suffix=file.suffix if file else ".png")


def stated_size(document: Mapping[str, object]) -> tuple[int, int] | None:
    """Return (height, width) as a LabelMe file states them; None if it does not."""
    return image_size_of(document.get("imageHeight"), document.get("imageWidth"))
