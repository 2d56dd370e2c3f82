"""Images and pictures of their objects -> `Dataset`; two layouts.

One picture an image: `images/NAME.jpg` and `masks/NAME.png`, where each object has a number of its
own and 0 is background. One picture an object, as in the 2018 Data Science Bowl:
`NAME/images/*.png` (one) and `NAME/masks/*.png`, not black where the object is.

There is one class, `object`, unless `masks/` has folders inside, each a class: then it is
`masks/CLASS/NAME.png` or `NAME/masks/CLASS/*.png`. A `classes.json` says more, see
`fcis.data.formats.classes_file`.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from fcis.core.errors import InputError
from fcis.core.masks import crop_from_mask
from fcis.core.outlines import pieces_of
from fcis.data.dataset import Annotation, Category, Dataset, FileSource, ImageRecord
from fcis.data.formats.annotate import annotation_of_crop
from fcis.data.formats.classes_file import folder_classes
from fcis.data.formats.folders import watched
from fcis.data.formats.instance_map import (
    check_size,
    crops_of,
    read_foreground,
    read_ids,
)
from fcis.imaging.finding import SUFFIXES, find_images
from fcis.imaging.reading import image_size

_IMAGES, _MASKS = "images", "masks"


def is_map_folder(path: Path) -> bool:
    """Return whether a folder has one picture of masks an image."""
    return (path / _IMAGES).is_dir() and (path / _MASKS).is_dir()


def is_object_folder(path: Path) -> bool:
    """Return whether a folder has one picture an object, in a folder for each image."""
    return bool(_items(path))


def read_map_folder(path: Path, *, require_annotations: bool = True) -> Dataset:
    """Read a folder with one picture of masks an image. Every picture is decoded once.

    An image without masks has no objects. Ids are the images' paths below `images/`, without
    suffix. Masks that hold one value, though the object would be in several pieces, are warned of:
    they probably only tell objects from background.

    Raises:
        InputError: a picture cannot be read or has another size than its image, a mask has no
            image, or there are no masks and `require_annotations` is set.
    """
    images = find_images([path / _IMAGES])
    masks = path / _MASKS
    # folders that both have are parts of names
    folders = [name for name in _folders(masks) if not (path / _IMAGES / name).is_dir()]
    classes = folder_classes(path, folders)
    _check_beside(masks, folders)
    found = {folder: _named(masks / folder) for folder in classes}
    _check_names(found, {image.name for image in images}, path / _IMAGES)
    if require_annotations and not any(found.values()):
        raise InputError(f"{masks}: no masks in it; put NAME.png there for NAME.jpg")
    reader = _MapReader(found, classes)
    records = []
    for image in watched(images, "reading masks"):
        size = image_size(image.path)
        records.append(
            ImageRecord(
                id=image.name,
                file_name=image.name.removesuffix(image.path.suffix) + image.path.suffix,
                height=size[0],
                width=size[1],
                source=FileSource(path=image.path),
                annotations=reader.annotations(image.name, image.path, size),
            )
        )
    reader.warn(masks)
    return _dataset(path, classes, records)


def read_object_folder(path: Path, *, require_annotations: bool = True) -> Dataset:
    """Read a folder with one picture an object. Every picture is decoded once.

    An image's id is the path of its folder. A folder without masks has no objects; pictures that
    are all black are left out with a warning.

    Raises:
        InputError: a folder does not have one image, a picture cannot be read or has another
            size than its image, or there are no masks and `require_annotations` is set.
    """
    items = _items(path)
    folders = {name for item in items for name in _folders(item / _MASKS)}
    classes = folder_classes(path, folders)
    for item in items:
        _check_beside(item / _MASKS, sorted(folders))
    pictures = {
        (item, folder): _pictures(item / _MASKS / folder) for item in items for folder in classes
    }
    if require_annotations and not any(pictures.values()):
        raise InputError(f"{path}: no masks in any NAME/{_MASKS}/; add the pictures of the objects")
    empty: list[Path] = []
    records = []
    for item in watched(items, "reading masks"):
        files = [
            (file, category.id)
            for folder, category in classes.items()
            for file in pictures[item, folder]
        ]
        records.append(_object_record(item.relative_to(path).as_posix(), item, files, empty))
    if empty:
        warnings.warn(
            f"{path}: {len(empty)} masks without a pixel are left out; the first: {empty[0]}",
            stacklevel=2,
        )
    return _dataset(path, classes, records)


def _check_beside(masks: Path, folders: Sequence[str]) -> None:
    """Refuse masks beside the folders of classes: of which class would they be?"""
    if folders and _pictures(masks):
        raise InputError(
            f"{masks}: holds masks beside the folders {', '.join(folders)}; move the masks into "
            "the folders of their classes"
        )


def _check_names(found: Mapping[str, Mapping[str, Path]], names: set[str], images: Path) -> None:
    """Refuse masks that belong to no image: probably the two are called differently."""
    for files in found.values():
        for name, file in files.items():
            if name not in names:
                raise InputError(f"{file}: no image {name}.* in {images}; give both one name")


def _dataset(
    path: Path, classes: Mapping[str, Category], records: Sequence[ImageRecord]
) -> Dataset:
    categories = tuple(sorted(classes.values(), key=lambda category: category.id))
    return Dataset(name=path.name, categories=categories, images=tuple(records))


class _MapReader:
    """Reads maps of objects, and notices those that only tell objects from background."""

    def __init__(
        self, files: Mapping[str, Mapping[str, Path]], classes: Mapping[str, Category]
    ) -> None:
        self._files = files
        self._classes = classes
        self._is_binary = True
        self._in_pieces: Path | None = None

    def annotations(self, name: str, image: Path, size: tuple[int, int]) -> tuple[Annotation, ...]:
        """Return the objects of an image; `size` is (height, width)."""
        found: list[Annotation] = []
        for folder, category in self._classes.items():
            file = self._files[folder].get(name)
            if file is None:
                continue
            ids = read_ids(file)
            check_size(file, ids.shape, image, size)
            crops = crops_of(ids)
            self._is_binary &= len(crops) <= 1
            if self._is_binary and self._in_pieces is None and crops:
                self._in_pieces = file if len(pieces_of(crops[0][1])) > 1 else None
            found += [
                annotation_of_crop(
                    crop, size, id=f"{name}/{category.id}/{number}", category_id=category.id
                )
                for number, crop in crops
            ]
        return tuple(found)

    def warn(self, masks: Path) -> None:
        """Say that no mask tells objects apart."""
        if self._is_binary and self._in_pieces is not None:
            warnings.warn(
                f"{masks}: no mask holds more than one value, so each is one object, also those "
                f"in several pieces like {self._in_pieces.name}; give each object its own value",
                stacklevel=3,
            )


def _object_record(
    id: str, item: Path, files: Sequence[tuple[Path, int]], empty: list[Path]
) -> ImageRecord:
    """Return an image from the pictures of its objects; notes in `empty` those that are black.

    Args:
        id: of the image.
        item: its folder.
        files: a picture and the category's id for each object.
        empty: is added to.
    """
    image = _only_image(item / _IMAGES)
    size = image_size(image)
    annotations: list[Annotation] = []
    for file, category_id in files:
        mask = read_foreground(file)
        check_size(file, mask.shape, image, size)
        if mask.any():
            name = file.relative_to(item / _MASKS).with_suffix("").as_posix()
            annotations.append(
                annotation_of_crop(
                    crop_from_mask(mask), size, id=f"{id}/{name}", category_id=category_id
                )
            )
        else:
            empty.append(file)
    return ImageRecord(
        id=id,
        file_name=id + image.suffix,
        height=size[0],
        width=size[1],
        source=FileSource(path=image),
        annotations=tuple(annotations),
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


def _only_image(folder: Path) -> Path:
    files = _pictures(folder)
    if len(files) != 1:
        raise InputError(
            f"{folder}: holds {len(files)} images; where each object has a picture of its own, "
            "an image has a folder of its own: put one there"
        )
    return files[0]
