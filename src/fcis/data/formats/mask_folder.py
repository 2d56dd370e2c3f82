"""Images and pictures of their objects -> `RawDataset`; two layouts.

One picture an image: `images/NAME.jpg` and `masks/NAME.png`, where each object has a number of its
own and 0 is background. One picture an object, as in the 2018 Data Science Bowl:
`NAME/images/*.png` (one) and `NAME/masks/*.png`, not black where the object is.

There is one class, `object`, unless `masks/` has folders inside, each a class: then it is
`masks/CLASS/NAME.png` or `NAME/masks/CLASS/*.png`. A `classes.json` says more, see
`fcis.data.formats.classes_file`.
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fcis.core.errors import InputError
from fcis.core.masks import rle_from_crop, rle_from_mask
from fcis.core.outlines import pieces_of
from fcis.data.checks.faults import BAD_IMAGE, MISSING_FILE, UNKNOWN_IMAGE, Finding, Problem
from fcis.data.checks.raw import FileProblem, RawDataset, RawImage, RawObject, Size
from fcis.data.dataset import Category, FileSource
from fcis.data.formats.classes_file import folder_classes
from fcis.data.formats.folders import watched
from fcis.data.formats.instance_map import (
    check_size,
    crops_of,
    read_foreground,
    read_ids,
)
from fcis.imaging.finding import SUFFIXES, FoundImage, find_images
from fcis.imaging.reading import image_size

_IMAGES, _MASKS = "images", "masks"


def is_map_folder(path: Path) -> bool:
    """Return whether a folder has one picture of masks an image."""
    return (path / _IMAGES).is_dir() and (path / _MASKS).is_dir()


def is_object_folder(path: Path) -> bool:
    """Return whether a folder has one picture an object, in a folder for each image."""
    return bool(_items(path))


def raw_map_folder(path: Path, *, require_annotations: bool = True) -> RawDataset:
    """Read a folder with one picture of masks an image. Every picture is decoded once.

    An image without masks has no objects. Ids are the images' paths below `images/`, without
    suffix. Masks that hold one value, though the object would be in several pieces, are warned of:
    they probably only tell objects from background.

    Raises:
        InputError: classes are not told apart, or there are no masks and `require_annotations` is
            set.
    """
    images = find_images([path / _IMAGES])
    masks = path / _MASKS
    # folders that both have are parts of names
    folders = [name for name in _folders(masks) if not (path / _IMAGES / name).is_dir()]
    classes = folder_classes(path, folders)
    _check_beside(masks, folders)
    found = {folder: _named(masks / folder) for folder in classes}
    if require_annotations and not any(found.values()):
        raise InputError(f"{masks}: no masks in it; put NAME.png there for NAME.jpg")
    names = {image.name for image in images}
    lonely = [item for files in found.values() for item in files.items() if item[0] not in names]
    return RawDataset(
        name=path.name,
        categories=tuple(sorted(classes.values(), key=lambda category: category.id)),
        images=_images_of_maps(images, found, classes, masks),
        findings=tuple(_lonely(file, name, path / _IMAGES) for name, file in lonely),
        to="masks",
    )


def raw_object_folder(path: Path, *, require_annotations: bool = True) -> RawDataset:
    """Read a folder with one picture an object. Every picture is decoded once.

    An image's id is the path of its folder. A folder without masks has no objects.

    Raises:
        InputError: classes are not told apart, or there are no masks and `require_annotations` is
            set.
    """
    items = _items(path)
    folders = {name for item in items for name in _folders(item / _MASKS)}
    classes = folder_classes(path, folders)
    for item in items:
        _check_beside(item / _MASKS, sorted(folders))
    pictures = {
        item: [
            (file, category.id)
            for folder, category in classes.items()
            for file in _pictures(item / _MASKS / folder)
        ]
        for item in items
    }
    if require_annotations and not any(pictures.values()):
        raise InputError(f"{path}: no masks in any NAME/{_MASKS}/; add the pictures of the objects")
    return RawDataset(
        name=path.name,
        categories=tuple(sorted(classes.values(), key=lambda category: category.id)),
        images=(
            _image_of_objects(item.relative_to(path).as_posix(), item, pictures[item])
            for item in watched(items, "reading masks")
        ),
        to="masks",
        empty="masks without a pixel",
    )


def _check_beside(masks: Path, folders: Sequence[str]) -> None:
    """Refuse masks beside the folders of classes: of which class would they be?"""
    if folders and _pictures(masks):
        raise InputError(
            f"{masks}: holds masks beside the folders {', '.join(folders)}; move the masks into "
            "the folders of their classes"
        )


def _lonely(file: Path, name: str, images: Path) -> Finding:
    """Return that masks belong to no image: probably the two are called differently."""
    problem = Problem(UNKNOWN_IMAGE, f"no image {name}.* in {images}", "give both one name")
    return Finding(f"{file}:", problem)


def _images_of_maps(
    images: Sequence[FoundImage],
    files: Mapping[str, Mapping[str, Path]],
    classes: Mapping[str, Category],
    masks: Path,
) -> Iterator[RawImage]:
    """Yield images with the objects of their maps; at last warn if no map tells objects apart.

    Args:
        images: the images.
        files: the maps of each class by the name of their image.
        classes: by their folders.
        masks: the folder of all.
    """
    is_binary, in_pieces = True, None
    for image in watched(images, "reading masks"):
        raw = RawImage(
            id=image.name,
            file_name=image.name.removesuffix(image.path.suffix) + image.path.suffix,
            source=FileSource(path=image.path),
        )
        objects: list[RawObject] = []
        try:
            size = image_size(image.path)
            for folder, category in classes.items():
                file = files[folder].get(image.name)
                if file is None:
                    continue
                ids = read_ids(file)
                check_size(file, ids.shape, image.path, size)
                crops = crops_of(ids)
                is_binary &= len(crops) <= 1
                if is_binary and in_pieces is None and crops:
                    in_pieces = file if len(pieces_of(crops[0][1])) > 1 else None
                for number, crop in crops:
                    where, mask = f"{file}: object {number}", rle_from_crop(crop, *ids.shape)
                    own = f"{image.name}/{category.id}/{number}"
                    objects.append(RawObject(where, own, category.id, mask))
            yield replace(raw, stated=size, objects=lambda size, found=tuple(objects): found)
        except FileProblem as error:
            yield replace(raw, where=error.where, problems=(error.problem,))
        except InputError:
            yield raw  # what is wrong with an image is said when it is read
    if is_binary and in_pieces is not None:
        warnings.warn(
            f"{masks}: no mask holds more than one value, so each is one object, also those in "
            f"several pieces like {in_pieces.name}; give each object its own value",
            stacklevel=2,
        )


def _image_of_objects(id: str, item: Path, files: Sequence[tuple[Path, int]]) -> RawImage:
    """Return an image with the pictures of its objects, which are read for its size.

    Args:
        id: of the image.
        item: its folder.
        files: a picture and the category's id for each object.
    """
    folder = item / _IMAGES
    images = _pictures(folder)
    if len(images) != 1:
        text = f"holds {len(images)} images"
        remedy = "an image has a folder of its own: put one there"
        remedy = f"where each object has a picture of its own, {remedy}"
        problem = Problem(BAD_IMAGE if images else MISSING_FILE, text, remedy)
        return RawImage(id=id, file_name=id, source=None, where=f"{folder}:", problems=(problem,))

    def objects(size: Size) -> Iterator[RawObject]:
        for file, category_id in files:
            name = file.relative_to(item / _MASKS).with_suffix("").as_posix()
            raw = RawObject(f"{file}:", f"{id}/{name}", category_id, None)
            try:
                mask = read_foreground(file)
                check_size(file, mask.shape, images[0], size)
                yield raw._replace(segmentation=rle_from_mask(mask))
            except FileProblem as error:
                yield raw._replace(problems=(error.problem,))

    return RawImage(
        id=id,
        file_name=id + images[0].suffix,
        source=FileSource(path=images[0]),
        objects=objects,
    )


def _items(path: Path) -> list[Path]:
    """Return the folders below a path that have a folder of images in them, sorted."""
    items = []
    for parent, folders, _ in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if Path(parent) != path and _IMAGES in folders and set(folders) <= {_IMAGES, _MASKS}:
            items.append(Path(parent))
            folders.clear()
    return items


def _folders(path: Path) -> list[str]:
    """Return the names of the folders in a folder, which may be missing."""
    if not path.is_dir():
        return []
    return sorted(f.name for f in path.iterdir() if f.is_dir() and not f.name.startswith("."))


def _pictures(path: Path) -> list[Path]:
    """Return the pictures in a folder, which may be missing, sorted."""
    if not path.is_dir():
        return []
    files = [f for f in path.iterdir() if f.is_file() and not f.name.startswith(".")]
    return sorted(f for f in files if f.suffix.lower() in SUFFIXES)


def _named(path: Path) -> dict[str, Path]:
    """Return the pictures in and below a folder by their paths in it without suffix."""
    if not any(file.suffix.lower() in SUFFIXES for file in path.rglob("*")):
        return {}
    return {found.name: found.path for found in find_images([path])}
