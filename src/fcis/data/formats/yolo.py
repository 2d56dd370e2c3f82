"""YOLO segmentation labels (`data.yaml` and a text file an image) -> `RawDataset`.

Every line of a label file is an object: its class and the points of one polygon, x and y in
fractions of the image's width and height. Labels lie beside the images: the last `images` in the
path of an image becomes `labels`, its suffix `.txt`. An image without a label file has no objects.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float64

from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of
from fcis.data.checks.faults import (
    BAD_ANNOTATION,
    BAD_POLYGON,
    FAR_POLYGON,
    MISSING_FILE,
    NAN_COORDINATES,
    NO_MASK,
    ODD_POLYGON,
    SHORT_POLYGON,
    UNKNOWN_CATEGORY,
    Finding,
    Problem,
)
from fcis.data.checks.limits import FEWEST_VALUES
from fcis.data.checks.raw import RawDataset, RawImage, RawObject, Size, problem_of
from fcis.data.dataset import Category, FileSource
from fcis.data.formats.bounds import far_outside
from fcis.data.formats.folders import choose_split, read_text, watched
from fcis.data.formats.json_values import short
from fcis.imaging.finding import FoundImage, find_images

_GONE = Problem(MISSING_FILE, "no such image, though a list names it", "restore it")
_SUFFIXES = (".yaml", ".yml")
_USUAL_FILES = ("data.yaml", "data.yml", "dataset.yaml")
_SPLITS = ("train", "val", "test")
# Of pixels: masks are drawn in fifths of a pixel, and 12.3 must not become 12.2999999.
_DIGITS = 6
_MOST_CLASSES = 10**6


class _Loader(yaml.SafeLoader):
    """Refuses to merge mappings, which no data.yaml does and a hostile one could do without end."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave a mapping as it is.

        Raises:
            ConstructorError: it merges others.
        """
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.constructor.ConstructorError(problem="merges mappings (<<)")


def find_yolo(path: Path) -> Path | None:
    """Return the file that describes a YOLO set: the path itself, or one in the folder it is."""
    if path.suffix.lower() in _SUFFIXES and path.is_file():
        return path
    return next((path / name for name in _USUAL_FILES if (path / name).is_file()), None)


def raw_yolo(path: Path, split: str | None, *, require_annotations: bool = True) -> RawDataset:
    """Read a split of a YOLO segmentation set.

    Ids of the categories are YOLO's, from 0. Images are called by their path below the folder of
    the split, without suffix.

    Args:
        path: the `data.yaml`, or its folder.
        split: train, val or test; None if they are the same images, or there is only one.
        require_annotations: refuse a split in which no image has a label file.

    Raises:
        InputError: the file cannot be read or contradicts itself, or names no such split.
    """
    path = find_yolo(path) or path
    document = _load(path)
    categories = _categories(path, document.get("names"))
    splits = {name: _texts(path, document[name]) for name in _SPLITS if document.get(name)}
    if not splits:
        raise InputError(f"{path}: none of {', '.join(_SPLITS)} in it; add 'train: images/train'")
    if len(set(splits.values())) == 1 and split is None:
        split = next(iter(splits))  # the same images under several names
    split = choose_split(path, split, list(splits))
    listed = list(_images(path, document, splits[split]))
    gone = [place for place in listed if not os.path.exists(place)]
    found = find_images([place for place in listed if place not in gone] or listed)
    labels = [_label_file(image.path) for image in found]
    if require_annotations and not any(file.is_file() for file in labels):
        raise InputError(
            f"{labels[0].parent}: no label file for any of the {len(found)} images of {split!r} "
            f"in {path}, the first would be {labels[0].name}; restore the labels folder"
        )
    names = {category.id for category in categories}
    pairs = watched(list(zip(found, labels, strict=True)), "reading labels")
    return RawDataset(
        name=f"{path.stem}:{split}",
        categories=categories,
        images=(_raw_image(image, file, names, path) for image, file in pairs),
        to="yolo",
        findings=tuple(Finding(f"{place}:", _GONE) for place in gone),
        empty="outlines without a pixel",
    )


def _load(path: Path) -> Mapping[str, object]:
    text = read_text(path)
    with guarded(lambda e: InputError(f"{path}: not valid YAML ({reason_of(e)}); correct it")):
        document = yaml.load(text, _Loader)
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a YOLO data.yaml with train, val and names; write one")
    return document


def _categories(path: Path, names: object) -> tuple[Category, ...]:
    """Return the classes of a list of names, or of a dictionary from numbers to names."""
    found = dict(enumerate(names)) if isinstance(names, list) else names
    if (
        not isinstance(found, dict)
        or not found
        or not all(isinstance(key, int) and 0 <= key < _MOST_CLASSES for key in found)
    ):
        raise InputError(
            f"{path}: 'names' is {short(names)}; give the names of the classes, as in "
            "names: [cell, debris]"
        )
    # YAML takes names like `no` and `3` for other things than text
    return tuple(Category(id=key, name=_text(path, found[key])) for key in sorted(found))


def _texts(path: Path, value: object) -> tuple[str, ...]:
    return tuple(_text(path, entry) for entry in (value if isinstance(value, list) else [value]))


def _text(path: Path, value: object) -> str:
    """Return a plain value as text; of collections a short file can have endless ones."""
    if isinstance(value, list | dict | set | tuple):
        raise InputError(f"{path}: {short(value)} stands where text is expected; correct it")
    with guarded(lambda error: InputError(f"{path}: {reason_of(error)}; correct the number")):
        return str(value)


def _images(path: Path, document: Mapping[str, object], entries: Iterable[str]) -> Iterator[Path]:
    """Yield the folders and files that the entries of `train:` stand for."""
    base = path.parent / _text(path, document.get("path") or "")
    if not os.path.isdir(base):
        base = path.parent  # `path` is that of another machine
    for entry in entries:
        place = base / entry
        # what Roboflow exports names folders one level too high
        if not os.path.exists(place) and entry.startswith("../"):
            place = base / entry[3:]
        if not os.path.exists(place):
            raise InputError(
                f"{path}: {entry} does not exist (looked in {base}); correct 'path' or the entry"
            )
        if place.suffix.lower() == ".txt":
            for line in read_text(place).splitlines():
                if line.strip():
                    here = place.parent / line.strip()
                    yield here if os.path.exists(here) else base / line.strip()
        else:
            yield place


def _label_file(image: Path) -> Path:
    """Return where the labels of an image are looked for."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _raw_image(image: FoundImage, labels: Path, names: Collection[int], file: Path) -> RawImage:
    """Return an image with its objects, which are read for its size.

    Args:
        image: the image.
        labels: the file of its labels, if there is one.
        names: the numbers of the classes.
        file: where these have their names.
    """
    problems: tuple[Problem, ...] = ()
    text = ""
    if os.path.isfile(labels):
        try:
            text = read_text(labels)
        except InputError as error:
            problems = (problem_of(error, labels, BAD_ANNOTATION),)

    def objects(size: Size) -> Iterator[RawObject]:
        for number, line in enumerate(text.splitlines(), start=1):
            if words := line.split():
                problem = _class_problem(words[0], names, file)
                points = _points(words[1:], size)
                is_good = problem is None and not isinstance(points, Problem)
                found = (problem, points)
                yield RawObject(
                    where=f"{labels}: line {number}",
                    id=f"{image.name}/{number}",
                    category_id=int(float(words[0])) if problem is None else words[0],
                    segmentation=[points] if is_good else None,
                    problems=tuple(each for each in found if isinstance(each, Problem)),
                )

    return RawImage(
        id=image.name,
        file_name=image.name.removesuffix(image.path.suffix) + image.path.suffix,
        source=FileSource(path=image.path),
        objects=objects,
        where=f"{labels}:",
        problems=problems,
    )


def _class_problem(word: str, names: Collection[int], file: Path) -> Problem | None:
    """Return what is wrong with the class of a line."""
    try:
        number = float(word)
    except ValueError:
        number = -1.0
    if number % 1 == 0 and int(number) in names:
        return None
    text = f"has the class {word}, which is not among the names of {file} (0 to {max(names)})"
    return Problem(UNKNOWN_CATEGORY, text, "add the name or correct the line")


def _points(words: Sequence[str], size: Size) -> Float64[np.ndarray, " coordinate"] | Problem:
    """Return the points of a line in pixels, or why they are none."""
    if len(words) == 4:
        text = "has boxes, no polygons (a class and 4 numbers)"
        return Problem(NO_MASK, text, "masks are needed: export the labels for segmentation")
    if len(words) < FEWEST_VALUES or len(words) % 2:
        kind = ODD_POLYGON if len(words) % 2 else SHORT_POLYGON
        text = f"has {len(words)} coordinates"
        remedy = "a polygon has x and y of 3 points or more: correct or remove the line"
        return Problem(kind, text, remedy)
    try:
        points = np.array(words, dtype=np.float64)
    except ValueError as error:
        remedy = "write numbers, with a point for fractions"
        return Problem(BAD_POLYGON, f"has what is no number: {error}", remedy)
    points = np.round(points * np.tile([size[1], size[0]], len(points) // 2), _DIGITS)
    if far_outside(points, size):
        kind = FAR_POLYGON if np.isfinite(points).all() else NAN_COORDINATES
        remedy = "they are fractions of its width and height, from 0 to 1: divide pixels by them"
        return Problem(kind, "has coordinates outside the image", remedy)
    return points
