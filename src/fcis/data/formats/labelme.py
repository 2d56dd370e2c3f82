"""LabelMe annotations (a JSON file an image) -> `RawDataset`.

A folder, with all that is below it, holds the files; images lie where their `imagePath` says, else
in the file itself. The classes are the labels that occur, in alphabetical order, or the lines of
a `labels.txt` in the folder or the one above it, so that two folders can have the same.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from fcis.core.errors import InputError
from fcis.core.guard import parse_json
from fcis.data.checks.faults import MISSING_FILE, UNKNOWN_CATEGORY, Problem
from fcis.data.checks.raw import RawDataset, RawImage, RawObject, Size, problem_of
from fcis.data.dataset import Category
from fcis.data.formats.folders import read_text, watched
from fcis.data.formats.labelme_image import find_image, stated_size
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
        document = parse_json(read_text(files[0]), files[0], "save it again")
    except InputError:
        return False
    return isinstance(document, dict) and "shapes" in document


def raw_labelme(folder: Path) -> RawDataset:
    """Read a folder of LabelMe files.

    Shapes are polygons, rectangles, circles and masks; those of one label and `group_id` are
    one object. Shapes called `__ignore__` are left out. Images without a JSON file are not part
    of the set, with a warning. The flag `crowd` of a shape marks a region of several objects. An
    image's id is the path of its JSON file below the folder, without suffix.

    Raises:
        InputError: a file cannot be read, or there are no classes.
    """
    files = labelme_files(folder)
    if not files:
        raise InputError(f"{folder}: no .json of LabelMe in or below it; name another folder")
    documents = {file: _load(file) for file in watched(files, "reading annotations")}
    shapes = {file: _shapes(file, document) for file, document in documents.items()}
    categories, listed = _categories(folder, {s.label for file in shapes for s in shapes[file]})
    ids = {category.name: category.id for category in categories}
    images = [_raw_image(folder, f, documents[f], shapes[f], ids, listed) for f in files]
    _warn(folder, images)
    return RawDataset(
        name=folder.name,
        categories=categories,
        images=watched(images, "drawing masks"),
        to="labelme",
    )


def _load(path: Path) -> Mapping[str, object]:
    """Return the dictionary of a LabelMe file, without the picture it may hold."""
    text = read_text(path)
    document = parse_json(text, path, "save it again")
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


def _categories(folder: Path, names: set[str]) -> tuple[tuple[Category, ...], Path | None]:
    """Return the classes of a folder in whose shapes some names occur, and the file of them."""
    files = [place / CLASSES_FILE for place in (folder, folder.absolute().parent)]
    listed = next((file for file in files if file.is_file()), None)
    if listed is not None:
        lines = [line.strip() for line in read_text(listed).splitlines()]
        order = list(dict.fromkeys(n for n in lines if n and n not in _NO_CLASSES))
    else:
        order = sorted(names - {""})
        if not order:
            raise InputError(f"{folder}: no shape in any file; annotate some, or add labels.txt")
    found = tuple(Category(id=n, name=name) for n, name in enumerate(order, start=1))
    return found, listed


def _raw_image(
    folder: Path,
    file: Path,
    document: Mapping[str, object],
    shapes: Sequence[Shape],
    ids: Mapping[str, int],
    listed: Path | None,
) -> RawImage:
    """Return the image of a file, or that there is none."""
    name = file.relative_to(folder).with_suffix("").as_posix()
    picture, problems = None, ()
    try:
        picture = find_image(file, document)
    except InputError as error:
        problems = (problem_of(error, file, MISSING_FILE),)
    return RawImage(
        id=name,
        file_name=name + (picture.suffix if picture else ".json"),
        source=picture.source if picture else None,
        objects=partial(_objects, name, _grouped(shapes), ids, listed),
        stated=stated_size(document),
        where=f"{file}:",
        problems=problems,
    )


def _objects(
    name: str,
    groups: Sequence[Sequence[Shape]],
    ids: Mapping[str, int],
    listed: Path | None,
    size: Size,
) -> Iterator[RawObject]:
    """Yield the objects of an image of that name, whose classes may be listed in a file."""
    for shapes in groups:
        first = shapes[0]
        known = ids.get(first.label)
        raw = join_shapes(shapes, size, id=f"{name}/{first.number}", category_id=known)
        if known is None and not raw.problems:
            text = f"has a label that is not in {listed}"
            problem = Problem(UNKNOWN_CATEGORY, text, "add it there or correct the shape")
            raw = raw._replace(problems=(problem,))
        yield raw


def _grouped(shapes: Iterable[Shape]) -> list[list[Shape]]:
    """Return the shapes of each object."""
    groups: dict[object, list[Shape]] = {}
    for shape in shapes:
        alone = shape.group is None
        key = (shape.number,) if alone else (shape.label, shape.group)
        groups.setdefault(key, []).append(shape)
    return list(groups.values())


def _warn(folder: Path, images: Sequence[RawImage]) -> None:
    """Say how many images are left out."""
    used = {str(image.source) for image in images}
    pictures = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    unused = [f for f in pictures if str(f) not in used and not f.with_suffix(".json").exists()]
    if unused:
        warnings.warn(
            f"{folder}: {len(unused)} images have no .json and are left out, the first is "
            f"{unused[0].name}; save them in LabelMe even where there is nothing to see",
            stacklevel=3,
        )
