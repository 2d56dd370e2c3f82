"""PASCAL VOC with instance segmentation (palette PNGs) -> `RawDataset`.

A root holds `JPEGImages/`, `SegmentationClass/`, `SegmentationObject/` and the lists
`ImageSets/Segmentation/*.txt`, whose names are the splits.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Integer

from fcis.core.errors import InputError
from fcis.core.masks import rle_from_crop
from fcis.data.checks.faults import MISSING_FILE, UNKNOWN_CATEGORY, Problem
from fcis.data.checks.raw import FileProblem, RawDataset, RawImage, RawObject
from fcis.data.dataset import Category, FileSource
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


def raw_voc(path: Path, split: str | None) -> RawDataset:
    """Read a split of a VOC root. Every map of objects is decoded once.

    An object's class is that of most of its pixels. Pixels of value 255 belong to none; objects
    are neither difficult nor crowds.

    Args:
        path: as `voc_root` takes it.
        split: the name of a list, or None if there is only one.

    Raises:
        InputError: a folder or the lists are missing, or there is no such split.

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
    return RawDataset(
        name=f"{path.name}:{split}",
        categories=CATEGORIES,
        only_read="VOC",
        images=(_raw_image(root, name) for name in watched(names, "reading masks")),
    )


def _raw_image(root: Path, name: str) -> RawImage:
    class_file, object_file = (root / folder / f"{name}.png" for folder in _FOLDERS[1:])
    return image_of_maps(root / _FOLDERS[0] / f"{name}.jpg", object_file, class_file, read_ids)


def image_of_maps(
    image: Path,
    object_file: Path,
    class_file: Path,
    read: Callable[[Path], Int32[np.ndarray, "height width"]],
) -> RawImage:
    """Return an image with the objects of its two maps, or what is wrong with a file.

    Args:
        image: its file.
        object_file: the map of objects.
        class_file: the map of classes.
        read: gives a map.
    """
    raw = RawImage(id=image.stem, file_name=image.name, source=FileSource(path=image))
    try:
        if not os.path.isfile(image):
            text = "no such image, though a list names it"
            raise FileProblem(image, MISSING_FILE, text, "restore it")
        numbers, values = read(object_file), read(class_file)
        check_size(object_file, numbers.shape, class_file, values.shape)
    except FileProblem as error:
        return replace(raw, where=error.where, problems=(error.problem,))
    found = tuple(objects_of_maps(numbers, values, image.stem, object_file))
    return replace(raw, stated=numbers.shape, objects=lambda size: found)


def objects_of_maps(
    objects: Integer[np.ndarray, "height width"],
    classes: Integer[np.ndarray, "height width"],
    image_id: str,
    path: Path,
) -> Iterator[RawObject]:
    """Yield the objects of an image from its map of objects and its map of classes.

    Args:
        objects: 0 is background, `VOID` open.
        classes: the VOC id of each pixel, or 0, or `VOID`.
        image_id: ids of objects begin with it.
        path: the file of the objects.
    """
    for number, crop in crops_of(objects):
        if number == VOID:
            continue
        rows, columns = crop.bits.shape
        window = classes[crop.top : crop.top + rows, crop.left : crop.left + columns]
        votes = np.bincount(window[crop.bits])
        votes[:1] = votes[VOID:] = 0
        problems = ()
        if not votes.any() or votes.argmax() > len(CATEGORIES):
            shown = ", ".join(str(value) for value in np.unique(window[crop.bits])[:5])
            text = f"lies on the class values {shown}"
            remedy = f"a class is 1 to {len(CATEGORIES)}: correct the map of classes"
            problems = (Problem(UNKNOWN_CATEGORY, text, remedy),)
        where, own = f"{path}: object {number}", f"{image_id}/{number}"
        mask = rle_from_crop(crop, *objects.shape)
        yield RawObject(where, own, int(votes.argmax()), mask, problems=problems)
