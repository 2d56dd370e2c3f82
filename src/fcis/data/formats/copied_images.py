"""The images of a dataset -> files in a folder, under names that formats can rely on."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from PIL import Image

from fcis.data.dataset import Dataset, FileSource, ImageRecord, UnturnedSource
from fcis.imaging.finding import SUFFIXES
from fcis.imaging.reading import MAX_PIXELS, decode, image_size, open_header

_PNG_MODES = frozenset({"L", "RGB", "RGBA", "I;16"})
_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f]')


def output_names(dataset: Dataset) -> list[str]:
    """Return a name with forward slashes for each image, below any folder.

    It is the dataset's own where it can be: without `..` and characters that a file system may
    refuse, and without its suffix different from all others, with a number added if need be.
    The suffix is that of the file, or `.png` for what is no image file.
    """
    taken: set[str] = set()
    names: list[str] = []
    for record in dataset.images:
        stem = PurePosixPath(record.file_name.replace("\\", "/")).with_suffix("")
        stem = safe_path(stem.parts) or "image"
        name, number = stem, 1
        while name.lower() in taken:  # some file systems take A.png for a.png
            number += 1
            name = f"{stem}~{number}"
        taken.add(name.lower())
        names.append(name + _suffix(record))
    return names


def safe_path(parts: Iterable[str]) -> str:
    """Return the parts of a path joined, such that it stays below any folder."""
    safe = (_UNSAFE.sub("_", part).strip("/ ") for part in parts)
    return "/".join(part for part in safe if part.strip("."))


def write_image(record: ImageRecord, path: Path) -> None:
    """Copy the file of an image, or write its pixels if there is none.

    Raises:
        InputError: the image cannot be read, or has another size than the dataset states.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    source = record.source
    if isinstance(source, UnturnedSource):
        with open_header(source.path) as image:
            decode(image, MAX_PIXELS, str(source.path))
            plain = image if image.mode in _PNG_MODES else image.convert("RGB")
            # a copy through the pixels alone leaves EXIF and all else behind
            bare = Image.new(plain.mode, plain.size)
            bare.paste(plain)
            bare.save(path)
        return
    file = source.path if isinstance(source, FileSource) else None
    if file is None or file.suffix.lower() not in SUFFIXES:
        Image.fromarray(record.read()).save(path)
        return
    if image_size(file) != (record.height, record.width):
        record.read()  # says what is wrong
    shutil.copyfile(file, path)


def _suffix(record: ImageRecord) -> str:
    source = record.source
    suffix = source.path.suffix if isinstance(source, FileSource) else ""
    return suffix if suffix.lower() in SUFFIXES else ".png"
