"""Files, folders and glob patterns -> image files, each with the name that its results go under.

Nothing is opened here: what counts is the suffix.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from fcis.core.errors import InputError

SUFFIXES = frozenset(
    ".avif .bmp .gif .j2k .jp2 .jpe .jpeg .jpg .mpo .pbm .pgm .png .pnm .ppm .tif .tiff "
    ".webp".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """An image file and the name that its results go under.

    Attributes:
        path: the file.
        name: the path below the given folder without suffix, with forward slashes; unique.
    """

    path: Path
    name: str


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
            # links stay as they are, which `resolve` would follow
            key = os.path.abspath(path)  # noqa: PTH100
            found.setdefault(key, (path, len(path.relative_to(base).parts)))
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
        for file in map(Path, glob.glob(str(item), recursive=True))  # noqa: PTH207  # also absolute ones
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
