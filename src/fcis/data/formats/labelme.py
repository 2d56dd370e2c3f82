"""LabelMe annotations (a JSON file an image) -> `Dataset`.

A folder, with all that is below it, holds the files; images lie where their `imagePath` says, else
in the file itself. The classes are the labels that occur, in alphabetical order, or the lines of
a `labels.txt` in the folder or the one above it, so that two folders can have the same.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from fcis.core.errors import InputError
from fcis.data.dataset import Annotation, Category, Dataset, ImageRecord
from fcis.data.formats.folders import read_text, watched
from fcis.data.formats.labelme_image import find_image
from fcis.data.formats.labelme_shapes import Shape, join_shapes, read_shape
from fcis.imaging.finding import SUFFIXES

CLASSES_FILE = "labels.txt"
IGNORED = "__ignore__"
_NO_CLASSES = frozenset((IGNORED, "_background_"))  # LabelMe's own scripts write these two


def labelme_files(folder: Path) -> list[Path]:
    """Return the JSON files in and below a folder, sorted; those with hidden names left out."""
    files = sorted(folder.rglob("*.json"))
    return [f for f in files if not any(p.startswith(".") for p in f.relative_to(folder).parts)]


def is_labelme(folder: Path) -> bool:
    """Return whether the first JSON file in or below a folder is one of LabelMe's."""
    files = labelme_files(folder)
    if not files:
        return False
    try:
        document = json.loads(files[0].read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "shapes" in document


def read_labelme(folder: Path) -> Dataset:
    """Read a folder of LabelMe files.

    Shapes are polygons, rectangles, circles and masks; those of one label and `group_id` are
    one object. Outlines without a pixel are left out with a warning, and shapes called
    `__ignore__` without. Images without a JSON file are not part of the set, with a warning. The
    flag `crowd` of a shape marks a region of several objects. An image's id is the path of its
    JSON file below the folder, without suffix.

    Raises:
        InputError: a file cannot be read, or holds shapes that enclose nothing.
    """
    files = labelme_files(folder)
    if not files:
        raise InputError(f"{folder}: no .json of LabelMe in or below it; name another folder")
    documents = {file: _load(file) for file in watched(files, "reading annotations")}
    shapes = {file: _shapes(file, document) for file, document in documents.items()}
    names = {shape.label: file for file in shapes for shape in shapes[file]}
    categories = _categories(folder, names)
    ids = {category.name: category.id for category in categories}
    empty: list[str] = []
    images = tuple(
        _record(folder, file, documents[file], shapes[file], ids, empty)
        for file in watched(files, "drawing masks")
    )
    _warn(folder, images, empty)
    return Dataset(name=folder.name, categories=categories, images=images)


def _load(path: Path) -> Mapping[str, object]:
    """Return the dictionary of a LabelMe file, without the picture it may hold."""
    text = read_text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); save it again") from error
    if not isinstance(document, dict) or "shapes" not in document:
        raise InputError(f"{path}: no 'shapes' in it; move what is not LabelMe's away")
    return {**document, "imageData": document.get("imageData") is not None}


def _shapes(path: Path, document: Mapping[str, object]) -> list[Shape]:
    """Return the shapes that count."""
    entries = document["shapes"]
    if not isinstance(entries, list):
        raise InputError(f"{path}: 'shapes' is not a list; move what is not LabelMe's away")
    found = [read_shape(path, number, entry) for number, entry in enumerate(entries, start=1)]
    return [shape for shape in found if shape.label not in _NO_CLASSES]


def _categories(folder: Path, names: Mapping[str, Path]) -> tuple[Category, ...]:
    """Return the classes of a folder; `names` has a file for every label that occurs."""
    files = [place / CLASSES_FILE for place in (folder, folder.absolute().parent)]
    listed = next((file for file in files if file.is_file()), None)
    if listed is None:
        if not names:
            raise InputError(f"{folder}: no shape in any file; annotate some, or add labels.txt")
        order = sorted(names)
    else:
        lines = [line.strip() for line in read_text(listed).splitlines()]
        order = list(dict.fromkeys(n for n in lines if n and n not in _NO_CLASSES))
        for name, file in names.items():
            if name not in order:
                raise InputError(
                    f"{file}: the label {name!r} is not in {listed}; add it there or correct the "
                    "shape"
                )
    return tuple(Category(id=n, name=name) for n, name in enumerate(order, start=1))


def _record(
    folder: Path,
    file: Path,
    document: Mapping[str, object],
    shapes: Sequence[Shape],
    ids: Mapping[str, int],
    empty: list[str],
) -> ImageRecord:
    """Return an image with its objects, noting in `empty` those without a pixel."""
    image = find_image(file, document)
    name = file.relative_to(folder).with_suffix("").as_posix()
    annotations: list[Annotation] = []
    groups: dict[object, list[Shape]] = {}
    for number, shape in enumerate(shapes):
        alone = shape.group is None
        groups.setdefault((number,) if alone else (shape.label, shape.group), []).append(shape)
    for parts in groups.values():
        annotation = join_shapes(
            parts, image.size, id=f"{name}/{parts[0].number}", category_id=ids[parts[0].label]
        )
        if annotation is None:
            empty.append(f"{file}: shape number {parts[0].number}")
        else:
            annotations.append(annotation)
    return ImageRecord(
        id=name,
        file_name=name + image.suffix,
        height=image.size[0],
        width=image.size[1],
        source=image.source,
        annotations=tuple(annotations),
    )


def _warn(folder: Path, images: Sequence[ImageRecord], empty: Sequence[str]) -> None:
    if empty:
        warnings.warn(
            f"{folder}: {len(empty)} objects without a pixel are left out; the first: {empty[0]}",
            stacklevel=3,
        )
    used = {str(image.source) for image in images}
    pictures = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    unused = [f for f in pictures if str(f) not in used and not f.with_suffix(".json").exists()]
    if unused:
        warnings.warn(
            f"{folder}: {len(unused)} images have no .json and are left out, the first is "
            f"{unused[0].name}; save them in LabelMe even where there is nothing to see",
            stacklevel=3,
        )
