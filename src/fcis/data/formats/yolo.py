"""YOLO segmentation labels (`data.yaml` and a text file an image) -> `Dataset`.

Every line of a label file is an object: its class and the points of one polygon, x and y in
fractions of the image's width and height. Labels lie beside the images: the last `images` in the
path of an image becomes `labels`, its suffix `.txt`. An image without a label file has no objects.
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float64

from fcis.core.errors import InputError
from fcis.data.dataset import Annotation, Category, Dataset, FileSource, ImageRecord, Polygons
from fcis.data.formats.annotate import annotation_of_polygons, far_outside
from fcis.data.formats.folders import choose_split, read_text, watched
from fcis.imaging.finding import FoundImage, find_images
from fcis.imaging.reading import image_size

_SUFFIXES = (".yaml", ".yml")
_USUAL_FILES = ("data.yaml", "data.yml", "dataset.yaml")
_SPLITS = ("train", "val", "test")
# Of pixels: masks are drawn in fifths of a pixel, and 12.3 must not become 12.2999999.
_DIGITS = 6


def find_yolo(path: Path) -> Path | None:
    """Return the file that describes a YOLO set: the path itself, or one in the folder it is."""
    if path.suffix.lower() in _SUFFIXES and path.is_file():
        return path
    return next((path / name for name in _USUAL_FILES if (path / name).is_file()), None)


def read_yolo(path: Path, split: str | None, *, require_annotations: bool = True) -> Dataset:
    """Read a split of a YOLO segmentation set. Image headers are read for the sizes.

    Ids of the categories are YOLO's, from 0. Images are called by their path below the folder of
    the split, without suffix. Outlines without a pixel are left out with a warning.

    Args:
        path: the `data.yaml`, or its folder.
        split: train, val or test; None if they are the same images, or there is only one.
        require_annotations: refuse a split in which no image has a label file.

    Raises:
        InputError: a file cannot be read or contradicts itself, or labels are boxes.
    """
    path = find_yolo(path) or path
    document = _load(path)
    categories = _categories(path, document.get("names"))
    splits = {name: document[name] for name in _SPLITS if document.get(name)}
    if not splits:
        raise InputError(f"{path}: none of {', '.join(_SPLITS)} in it; add 'train: images/train'")
    if len({str(value) for value in splits.values()}) == 1 and split is None:
        split = next(iter(splits))  # the same images under several names
    split = choose_split(path, split, list(splits))
    found = find_images(list(_images(path, document, splits[split])))
    labels = [_label_file(image.path) for image in found]
    if require_annotations and not any(file.is_file() for file in labels):
        raise InputError(
            f"{labels[0].parent}: no label file for any of the {len(found)} images of {split!r} "
            f"in {path}, the first would be {labels[0].name}; restore the labels folder"
        )
    reader = _LabelReader({category.id for category in categories}, path)
    pairs = watched(list(zip(found, labels, strict=True)), "reading labels")
    images = tuple(reader.record(image, file) for image, file in pairs)
    reader.warn()
    return Dataset(name=f"{path.stem}:{split}", categories=categories, images=images)


def _load(path: Path) -> Mapping[str, object]:
    try:
        document = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML ({reason}); correct it") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a YOLO data.yaml with train, val and names; write one")
    return document


def _categories(path: Path, names: object) -> tuple[Category, ...]:
    """Return the classes of a list of names, or of a dictionary from numbers to names."""
    found = dict(enumerate(names)) if isinstance(names, list) else names
    if (
        not isinstance(found, dict)
        or not found
        or not all(isinstance(key, int) and key >= 0 for key in found)
    ):
        raise InputError(
            f"{path}: 'names' is {_short(names)}; give the names of the classes, as in "
            "names: [cell, debris]"
        )
    # YAML takes names like `no` and `3` for other things than text
    return tuple(Category(id=key, name=str(found[key])) for key in sorted(found))


def _images(path: Path, document: Mapping[str, object], value: object) -> Iterator[Path]:
    """Yield the folders and files that an entry `train:` stands for."""
    entries = value if isinstance(value, list) else [value]
    base = path.parent / str(document.get("path") or "")
    if not base.is_dir():
        base = path.parent  # `path` is that of another machine
    for entry in entries:
        place = base / str(entry)
        # what Roboflow exports names folders one level too high
        if not place.exists() and str(entry).startswith("../"):
            place = base / str(entry)[3:]
        if not place.exists():
            raise InputError(
                f"{path}: {entry} does not exist (looked in {base}); correct 'path' or the entry"
            )
        if place.suffix.lower() == ".txt":
            for line in read_text(place).splitlines():
                if line.strip():
                    here = place.parent / line.strip()
                    yield here if here.exists() else base / line.strip()
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


class _LabelReader:
    """Reads label files, and counts the outlines that hold no pixel."""

    def __init__(self, class_ids: set[int], path: Path) -> None:
        self._class_ids = class_ids
        self._path = path
        self._empty: list[str] = []

    def record(self, image: FoundImage, labels: Path) -> ImageRecord:
        """Return an image with its objects."""
        size = image_size(image.path)
        annotations: list[Annotation] = []
        text = read_text(labels) if os.path.isfile(labels) else ""
        for number, line in enumerate(text.splitlines(), start=1):
            where = f"{labels}: line {number}"
            words = line.split()
            if not words:
                continue
            class_id = self._class(where, words[0])
            polygons = Polygons(
                parts=(_points(where, words[1:], size),), height=size[0], width=size[1]
            )
            id = f"{image.name}/{number}"
            annotation = annotation_of_polygons(polygons, id=id, category_id=class_id)
            if annotation is None:
                self._empty.append(where)
            else:
                annotations.append(annotation)
        return ImageRecord(
            id=image.name,
            file_name=image.name.removesuffix(image.path.suffix) + image.path.suffix,
            height=size[0],
            width=size[1],
            source=FileSource(path=image.path),
            annotations=tuple(annotations),
        )

    def warn(self) -> None:
        """Say how many outlines were left out."""
        if self._empty:
            warnings.warn(
                f"{self._path}: {len(self._empty)} outlines without a pixel are left out; the "
                f"first: {self._empty[0]}",
                stacklevel=3,
            )

    def _class(self, where: str, word: str) -> int:
        try:
            number = float(word)
        except ValueError:
            number = -1.0
        if number % 1 or int(number) not in self._class_ids:
            raise InputError(
                f"{where} has the class {word}, which is not among the names of {self._path} "
                f"(0 to {max(self._class_ids)}); add the name or correct the line"
            )
        return int(number)


def _points(
    where: str, words: Sequence[str], size: tuple[int, int]
) -> Float64[np.ndarray, " coordinate"]:
    """Return the points of a line of a label file in pixels; `size` is (height, width)."""
    if len(words) == 4:
        raise InputError(
            f"{where} has boxes, no polygons (a class and 4 numbers); masks are needed: export "
            "the labels for segmentation"
        )
    if len(words) < 6 or len(words) % 2:
        raise InputError(
            f"{where} has {len(words)} coordinates; a polygon has x and y of 3 points or more: "
            "correct or remove the line"
        )
    try:
        points = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{where}: {error}; write numbers, with a point for fractions") from error
    points = np.round(points * np.tile([size[1], size[0]], len(points) // 2), _DIGITS)
    if far_outside(points, size):
        raise InputError(
            f"{where} has coordinates outside the image; they are fractions of its width and "
            "height, from 0 to 1: divide pixels by them"
        )
    return points


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
