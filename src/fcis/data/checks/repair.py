"""A diagnosis -> a corrected copy of the dataset that stands alone: annotations and images."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from fcis.core.errors import InputError
from fcis.data.checks.annotation_check import Frame
from fcis.data.checks.doctor import Diagnosis
from fcis.data.checks.raw import RawDataset
from fcis.data.dataset import FileSource, ImageSource

ANNOTATIONS = "annotations.json"
IMAGES = "images"
CHANGES = "changes.txt"

_PNG_MODES = frozenset({"L", "RGB", "RGBA", "I;16"})


def check_target(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        InputError: it does, or it is no folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--fix {out}: is there already; name a new or empty folder")


def write_copy(raw: RawDataset, diagnosis: Diagnosis, out: Path) -> Iterator[None]:
    """Write the corrected copy, yielding after each image.

    The folder gets `annotations.json`, `images/` and `changes.txt`, which has a line for every
    finding. Images are copied as they are, but for those whose EXIF rotation is taken away
    (pixels unchanged, as PNG) and those that have no file (drawn, as PNG).

    Raises:
        InputError: nothing is left, or it cannot be written.
    """
    check_target(out)
    if not diagnosis.frames or not diagnosis.annotations:
        raise InputError(f"{raw.name}: no annotation is left to correct; nothing was written")
    names = _names(raw, diagnosis.frames)
    entries: list[dict[str, object]] = []
    try:
        for frame, name in zip(diagnosis.frames, names, strict=True):
            path = out / IMAGES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            source = raw.sources[frame.index]
            if source is None:
                raise ValueError(f"frames: expected images with a source, got {frame}")
            _write_image(source, path, unturned=frame.unturned)
            height, width = frame.size
            entry = raw.images[frame.index]
            known = entry if isinstance(entry, dict) else {}
            entries.append({**known, "file_name": name, "height": height, "width": width})
            yield
        changes = [f"{f.kind.severity} {f.kind.name}: {f}: {f.repair}" for f in diagnosis.findings]
        (out / CHANGES).write_text("\n".join(changes) + "\n", encoding="utf-8")
        document = {
            **raw.document,
            "images": entries,
            "annotations": list(diagnosis.annotations),
            "categories": list(diagnosis.categories),
        }
        # last, and in one step: a copy with annotations is a whole one
        partial = out / (ANNOTATIONS + ".partial")
        partial.write_text(json.dumps(document), encoding="utf-8")
        partial.replace(out / ANNOTATIONS)
    except OSError as error:
        raise InputError(
            f"--fix {out}: cannot be written ({error.strerror or error}); make room or choose "
            "another folder"
        ) from None


def _names(raw: RawDataset, frames: Sequence[Frame]) -> list[str]:
    """Return a file name for each image that stays below its folder; no two are alike."""
    taken: set[str] = set()
    names: list[str] = []
    for frame in frames:
        path = PurePosixPath(frame.file_name)
        parts = [part.strip(":/") for part in path.parts if part not in ("..", "/")]
        path = PurePosixPath(*[part for part in parts if part] or ["image"])
        if frame.unturned or not isinstance(raw.sources[frame.index], FileSource):
            path = path.with_suffix(".png")
        name, number = path, 1
        while str(name).lower() in taken:  # not all disks tell A.png from a.png
            number += 1
            name = path.with_stem(f"{path.stem}~{number}")
        taken.add(str(name).lower())
        names.append(str(name))
    return names


def _write_image(source: ImageSource, path: Path, *, unturned: bool) -> None:
    """Write an image that was read before."""
    if not isinstance(source, FileSource):
        Image.fromarray(source.read()).save(path)
    elif not unturned:
        shutil.copyfile(source.path, path)
    else:
        with Image.open(source.path) as image:
            plain = image if image.mode in _PNG_MODES else image.convert("RGB")
            # a copy through the pixels alone leaves EXIF and all else behind
            bare = Image.new(plain.mode, plain.size)
            bare.paste(plain)
            bare.save(path, format="PNG")
