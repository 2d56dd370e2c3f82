"""COCO annotation files (JSON) -> `RawDataset`, and `Dataset`.

What is in a list is noted as it stands; only ids and references are followed here.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fcis.core.errors import InputError
from fcis.core.guard import parse_json
from fcis.data.checks import limits
from fcis.data.checks.check import refuse
from fcis.data.checks.raw import Entry, RawDataset
from fcis.data.dataset import Dataset
from fcis.data.formats.coco_lists import CocoLists, file_name

_PROBED_FILES = 20


def read_coco(
    json_path: str | Path,
    images_dir: str | Path | None = None,
    *,
    require_annotations: bool = True,
) -> Dataset:
    """Read a COCO annotation file, as `raw_coco` does, for a training or an evaluation.

    Boxes are clipped to their image, which they may pass by up to 1 px; a missing one, and a
    missing or zero area, come from the mask. Annotations without a single pixel are left out with
    a warning if they are at most one in 100,000.

    Raises:
        InputError: the file cannot be read, contradicts itself, or names missing images.
    """
    return refuse(raw_coco(json_path, images_dir, require_annotations=require_annotations))


def raw_coco(
    json_path: str | Path,
    images_dir: str | Path | None = None,
    *,
    require_annotations: bool = True,
) -> RawDataset:
    """Read a COCO annotation file.

    Masks may be polygons or run-length encodings, compressed or not. Images without objects and
    categories without use are kept.

    Args:
        json_path: the file.
        images_dir: where the images lie; if not given, the folders `images/`, `../<split>/` and
            `../images/<split>/` beside the file are tried, and the file's own, where <split> is
            the last word of its name (`instances_train2017.json`: `train2017`).
        require_annotations: refuse a file without categories or annotations; if false, both may
            be missing, but what is there is read and checked.

    Raises:
        InputError: the file cannot be read, or lacks a list.
    """
    path = Path(json_path)
    document = load_document(path)
    images, categories, annotations = (
        _entries(path, document, key, required=required)
        for key, required in (
            ("images", True),
            ("categories", require_annotations),
            ("annotations", require_annotations),
        )
    )
    folders = image_folders(path, images_dir)
    names = [file_name(entry) for entry in images[:_PROBED_FILES]]
    folder = fullest(folders, [name for name in names if name])
    lists = CocoLists(images, annotations, categories, folder)
    return RawDataset(
        name=path.stem,
        prefix=f"{path}: ",
        categories=lists.categories,
        images=lists.images(),
        findings=tuple(lists.findings),
        document={**document, "categories": lists.category_entries},
        looked_in=(folder, *(f for f in folders if f != folder)),
        counts=(len(images), len(annotations), len(categories)),
        empty=f"of {len(annotations)} annotations",
        tolerated_empty=limits.TOLERATED_EMPTY,
    )


def load_document(path: Path) -> Mapping[str, object]:
    """Return the dictionary that a JSON file holds.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such annotation file; check the spelling") from error
    except OSError as error:
        raise InputError(
            f"{path}: the annotation file cannot be read ({error.strerror}); name a COCO .json"
        ) from error
    if not text:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or export it again")
    document = parse_json(text, path, "copy or export it again")
    if not isinstance(document, dict):
        raise InputError(
            f"{path}: expected a COCO dictionary with images, annotations and categories, got a "
            f"{type(document).__name__}; a list of results is no annotation file"
        )
    return document


def _entries(path: Path, document: Entry, key: str, *, required: bool) -> list[object]:
    """Return the list under a key; an absent one is empty if not required."""
    entries = document.get(key)
    if entries is None and not required:
        return []
    if entries is None:
        raise InputError(
            f"{path}: no {key!r} in it (it has {', '.join(map(repr, document)) or 'nothing'}); "
            "export the annotations in COCO format"
        )
    if not isinstance(entries, list) or (entries and not any(isinstance(e, dict) for e in entries)):
        raise InputError(f"{path}: {key!r} is not a list of dictionaries; export it again")
    if required and not entries:
        raise InputError(f"{path}: {key!r} is empty; name a file with {key}")
    return entries


def image_folders(path: Path, images_dir: str | Path | None) -> list[Path]:
    """Return where the images of an annotation file may lie.

    Raises:
        InputError: the given folder does not exist.
    """
    if images_dir is not None:
        if not Path(images_dir).is_dir():
            raise InputError(f"{images_dir}: the folder of the images of {path} does not exist")
        return [Path(images_dir)]
    split = path.stem.rsplit("_", 1)[-1]
    here = path.absolute().parent
    above = here.parent
    return [here / "images", above / split, above / "images" / split, here]


def fullest(folders: Sequence[Path], names: Sequence[str]) -> Path:
    """Return the folder that has most of the first files; of equal ones the first."""
    probed = names[:_PROBED_FILES]
    return max(folders, key=lambda f: sum(os.path.isfile(f / name) for name in probed))
