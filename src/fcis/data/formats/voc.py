"""PASCAL VOC with instance segmentation (palette PNGs) -> `Dataset`.

A root holds `JPEGImages/`, `SegmentationClass/`, `SegmentationObject/` and the lists
`ImageSets/Segmentation/*.txt`, whose names are the splits.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from fcis.core.errors import InputError
from fcis.data.dataset import Annotation, Category, Dataset, FileSource, ImageRecord
from fcis.data.formats.annotate import annotation_of_crop
from fcis.data.formats.folders import check_folders, choose_split, find_root, read_list, watched
from fcis.data.formats.instance_map import check_size, crops_of, read_ids

VOID = 255
"""The value of pixels that were left open, in maps of classes and of objects."""

_NAMES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
)
CATEGORIES: tuple[Category, ...] = tuple(
    Category(id=number, name=name) for number, name in enumerate(_NAMES.split(), start=1)
)
"""The twenty classes of PASCAL VOC, whose ids are their values in the maps (reference: 7.3)."""

_FOLDERS = ("JPEGImages", "SegmentationClass", "SegmentationObject")
_LISTS = "ImageSets/Segmentation"
_BELOW = ("VOC2012", "VOCdevkit/VOC2012", "VOC2007", "VOCdevkit/VOC2007")


def voc_root(path: Path) -> Path | None:
    """Return the VOC root that a folder is or holds, None if there is none."""
    return find_root(path, _BELOW, _FOLDERS[:1])


def read_voc(path: Path, split: str | None) -> Dataset:
    """Read a split of a VOC root. Every map of objects is decoded once.

    An object's class is that of most of its pixels. Pixels of value 255 belong to none; objects
    are neither difficult nor crowds.

    Args:
        path: as `voc_root` takes it.
        split: the name of a list, or None if there is only one.

    Raises:
        InputError: a file is missing or damaged, maps differ in size, or an object has no class.

    Official: lib/dataset/pascal_voc.py:153-200 @309f6c9.
    """
    root = voc_root(path)
    if root is None:
        raise InputError(f"{path}: no {_FOLDERS[0]}/ in it; name a VOC root")
    check_folders(root, _FOLDERS)
    lists = {file.stem: file for file in sorted((root / _LISTS).glob("*.txt"))}
    if not lists:
        raise InputError(f"{root / _LISTS}: no lists (.txt) of images in it; restore them")
    split = choose_split(path, split, list(lists))
    names = read_list(lists[split])
    return Dataset(
        name=f"{path.name}:{split}",
        categories=CATEGORIES,
        images=tuple(_record(root, name) for name in watched(names, "reading masks")),
    )


def _record(root: Path, name: str) -> ImageRecord:
    image = root / _FOLDERS[0] / f"{name}.jpg"
    if not image.is_file():
        raise InputError(f"{image}: no such image, though a list names it; restore it")
    class_file = root / _FOLDERS[1] / f"{name}.png"
    object_file = root / _FOLDERS[2] / f"{name}.png"
    objects, classes = read_ids(object_file), read_ids(class_file)
    check_size(object_file, objects.shape, class_file, classes.shape)
    return ImageRecord(
        id=name,
        file_name=image.name,
        height=objects.shape[0],
        width=objects.shape[1],
        source=FileSource(path=image),
        annotations=annotations_of_maps(objects, classes, name, object_file),
    )


def annotations_of_maps(
    objects: Integer[np.ndarray, "height width"],
    classes: Integer[np.ndarray, "height width"],
    image_id: str,
    path: Path,
) -> tuple[Annotation, ...]:
    """Return the objects of an image from its map of objects and its map of classes.

    Args:
        objects: 0 is background, `VOID` open.
        classes: the VOC id of each pixel, or 0, or `VOID`.
        image_id: ids of annotations begin with it.
        path: the file to name in messages.

    Raises:
        InputError: an object lies on no class, or on one that VOC does not have.
    """
    found: list[Annotation] = []
    for number, crop in crops_of(objects):
        if number == VOID:
            continue
        rows, columns = crop.bits.shape
        window = classes[crop.top : crop.top + rows, crop.left : crop.left + columns]
        votes = np.bincount(window[crop.bits])
        votes[:1] = votes[VOID:] = 0
        if not votes.any() or votes.argmax() > len(CATEGORIES):
            shown = ", ".join(str(value) for value in np.unique(window[crop.bits])[:5])
            raise InputError(
                f"{path}: object {number} lies on the class values {shown}; a class is 1 to "
                f"{len(CATEGORIES)}: correct the map of classes"
            )
        category_id = int(votes.argmax())
        id = f"{image_id}/{number}"
        found.append(annotation_of_crop(crop, objects.shape, id=id, category_id=category_id))
    return tuple(found)
