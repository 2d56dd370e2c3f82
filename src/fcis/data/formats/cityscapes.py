"""Cityscapes with instance ids (gtFine) -> `RawDataset`.

A root holds `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` and
`gtFine/SPLIT/CITY/*_gtFine_instanceIds.png`.
"""

from dataclasses import replace
from pathlib import Path

from fcis.core.errors import InputError
from fcis.core.masks import rle_from_crop
from fcis.data.checks.raw import FileProblem, RawDataset, RawImage, RawObject
from fcis.data.dataset import Category, FileSource
from fcis.data.formats.folders import check_folders, choose_split, watched
from fcis.data.formats.instance_map import crops_of, read_ids

CATEGORIES: tuple[Category, ...] = (
    Category(id=24, name="person"),
    Category(id=25, name="rider"),
    Category(id=26, name="car"),
    Category(id=27, name="truck"),
    Category(id=28, name="bus"),
    Category(id=31, name="train"),
    Category(id=32, name="motorcycle"),
    Category(id=33, name="bicycle"),
)
"""The eight classes that Cityscapes evaluates by object, under its own ids."""

_IMAGES, _LABELS = "leftImg8bit", "gtFine"
_IMAGE_END, _LABEL_END = "_leftImg8bit.png", "_gtFine_instanceIds.png"
_OBJECTS_PER_CLASS = 1000  # object n of class c has the value 1000 c + n


def is_cityscapes(path: Path) -> bool:
    """Return whether a folder is a Cityscapes root."""
    return (path / _IMAGES).is_dir() or (path / _LABELS).is_dir()


def raw_cityscapes(path: Path, split: str | None) -> RawDataset:
    """Read a split of a Cityscapes root. Every map is decoded once.

    A value of 1000 or more is an object; a class's own id, below 1000, a group of objects that
    were not told apart, and a crowd here. Other classes than the eight are left out.

    Args:
        path: the root.
        split: a folder of `leftImg8bit/`, or None if there is only one.

    Raises:
        InputError: a folder is missing, or there is no such split.
    """
    check_folders(path, (_IMAGES, _LABELS))
    splits = sorted(f.name for f in (path / _IMAGES).iterdir() if f.is_dir())
    if not splits:
        raise InputError(f"{path / _IMAGES}: no folder of a split in it, like train; restore it")
    split = choose_split(path, split, splits)
    images = sorted((path / _IMAGES / split).glob(f"*/*{_IMAGE_END}"))
    if not images:
        raise InputError(
            f"{path / _IMAGES / split}: no images CITY/*{_IMAGE_END} in it; restore them"
        )
    labels = path / _LABELS / split
    return RawDataset(
        name=f"{path.name}:{split}",
        categories=CATEGORIES,
        only_read="Cityscapes",
        images=(_raw_image(image, labels) for image in watched(images, "reading masks")),
    )


def _raw_image(image: Path, labels: Path) -> RawImage:
    id = image.name.removesuffix(_IMAGE_END)
    file = labels / image.parent.name / f"{id}{_LABEL_END}"
    raw = RawImage(id=id, file_name=image.name, source=FileSource(path=image))
    try:
        ids = read_ids(file)
    except FileProblem as error:
        return replace(raw, where=error.where, problems=(error.problem,))
    known = {category.id for category in CATEGORIES}
    objects: list[RawObject] = []
    for value, crop in crops_of(ids):
        is_crowd = value < _OBJECTS_PER_CLASS
        category_id = value if is_crowd else value // _OBJECTS_PER_CLASS
        if category_id in known:
            where, mask = f"{file}: object {value}", rle_from_crop(crop, *ids.shape)
            raw_object = RawObject(where, f"{id}/{value}", category_id, mask)
            objects.append(raw_object._replace(is_crowd=int(is_crowd)))
    return replace(raw, stated=ids.shape, objects=lambda size: objects)
