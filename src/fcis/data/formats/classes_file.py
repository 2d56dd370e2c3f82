"""`classes.json` of a folder of masks: which classes there are, and the folder of each.

A list of names, or of `{"id": 3, "name": "traffic light", "folder": "lights"}`, where the folder
is called like the class if it is left out. It lies in the folder itself or in the one above it.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from fcis.core.errors import InputError
from fcis.core.guard import parse_json
from fcis.data.dataset import Category
from fcis.data.formats.folders import read_text

CLASSES_FILE = "classes.json"
ONLY_CLASS = "object"
"""The name of the class where nothing names one."""


def folder_classes(path: Path, folders: Collection[str]) -> dict[str, Category]:
    """Return the class of every folder of masks.

    Without a `classes.json` these are the folders, numbered in alphabetical order from 1. Without
    folders either, "" stands for the one class `object`; it stands for the listed class, too, if
    that is the only one and has no folder.

    Args:
        path: the root.
        folders: the names of the folders of masks that may be classes.

    Raises:
        InputError: the file is malformed, or does not list a folder.
    """
    places = [place / CLASSES_FILE for place in (path, path.absolute().parent)]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        names = sorted(folders)
        found = {name: Category(id=n, name=name) for n, name in enumerate(names, start=1)}
        return found or {"": Category(id=1, name=ONLY_CLASS)}
    listed = _read(file)
    for name in sorted(folders):
        if name not in listed:
            raise InputError(
                f"{file}: the folder of masks {name!r} is not in it ({', '.join(listed)}); add "
                "the class or move the folder away"
            )
    if len(listed) == 1 and not folders:
        return {"": next(iter(listed.values()))}
    return listed


def write_classes(path: Path, folders: Sequence[str], categories: Sequence[Category]) -> None:
    """Write the file into a folder; the two lists belong together."""
    entries = [
        {"id": category.id, "name": category.name, "folder": folder}
        for folder, category in zip(folders, categories, strict=True)
    ]
    text = json.dumps(entries, indent=1, ensure_ascii=False)
    (path / CLASSES_FILE).write_text(text + "\n", encoding="utf-8")


def _read(file: Path) -> dict[str, Category]:
    """Return the categories of a file by their folders."""
    text = read_text(file)
    entries = parse_json(text, file, "correct it")
    found: dict[str, Category] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else [], start=1):
        values = {"id": number, "name": entry} if isinstance(entry, str) else entry
        values = values if isinstance(values, dict) else {}
        id, name = values.get("id"), values.get("name")
        folder = values.get("folder", name)
        if (
            not isinstance(name, str)
            or not isinstance(folder, str)
            or not isinstance(id, int)
            or not (name and folder)
            or folder in found
        ):
            raise InputError(
                f"{file}: entry number {number} is {entry!r}; write a name, or "
                '{"id": 1, "name": "cell"} with a name or folder of its own'
            )
        found[folder] = Category(id=id, name=name)
    if not found or len({category.id for category in found.values()}) < len(found):
        raise InputError(
            f'{file}: no list of classes with different ids; write one, as in ["cell", "debris"]'
        )
    return found
