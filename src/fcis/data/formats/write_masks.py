"""`Dataset` -> images and pictures of their objects.

One 16-bit picture an image, `masks/CLASS/NAME.png`, whose values are the numbers of the objects;
or, where objects of a class overlap, so that a pixel has two numbers, one picture an object,
`NAME/masks/CLASS/NUMBER.png`. Without folders of classes if there is only one.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt
from PIL import Image

from fcis.core.masks import MaskCrop, crop_from_rle
from fcis.data.dataset import Annotation, Dataset, ImageRecord
from fcis.data.formats.classes_file import write_classes
from fcis.data.formats.copied_images import safe_path, write_image
from fcis.data.formats.folders import watched

_MOST_OBJECTS = 2**16 - 1


def write_masks(dataset: Dataset, names: Sequence[str], out: Path) -> Path:
    """Write a dataset into a folder and return it. Crowds are left out.

    Args:
        dataset: what to write.
        names: of the image files, as `output_names` gives them.
        out: an empty folder.

    Raises:
        InputError: an image cannot be read.
        OSError: something cannot be written.
    """
    folders = _class_folders(dataset)
    pairs = list(zip(dataset.images, names, strict=True))
    fits = all(
        _fits_one_picture(record, category_id)
        for record in watched(dataset.images, "looking for overlaps")
        for category_id in folders
    )
    for record, name in watched(pairs, "writing"):
        if fits:
            write_image(record, out / "images" / name)
            _write_maps(record, out / "masks", Path(name).with_suffix(".png"), folders)
        else:
            item = out / Path(name).with_suffix("")
            write_image(record, item / "images" / Path(name).name)
            _write_objects(record, item / "masks", folders)
    listed = list(folders.values()) if len(folders) > 1 else [dataset.categories[0].name]
    write_classes(out, listed, dataset.categories)
    return out


def _class_folders(dataset: Dataset) -> dict[int, str]:
    """Return the folder of each category; of the only one, none."""
    if len(dataset.categories) == 1:
        return {dataset.categories[0].id: ""}
    folders: dict[int, str] = {}
    for category in dataset.categories:
        folder = safe_path([category.name.replace("/", "_").replace("\\", "_")])
        if not folder or folder.lower() in map(str.lower, folders.values()):
            folder = f"{folder}~{category.id}"
        folders[category.id] = folder
    return folders


def _objects(record: ImageRecord, category_id: int) -> list[Annotation]:
    return [a for a in record.annotations if a.category_id == category_id and not a.is_crowd]


def _fits_one_picture(record: ImageRecord, category_id: int) -> bool:
    """Return whether no two objects of a category share a pixel."""
    objects = _objects(record, category_id)
    if len(objects) < 2:
        return True
    if len(objects) > _MOST_OBJECTS:
        return False
    taken = np.zeros((record.height, record.width), dtype=bool)
    for crop in _crops(objects):
        rows, columns = crop.bits.shape
        window = taken[crop.top : crop.top + rows, crop.left : crop.left + columns]
        if (window & crop.bits).any():
            return False
        window |= crop.bits
    return True


def _crops(objects: Iterable[Annotation]) -> Iterable[MaskCrop]:
    return (crop_from_rle(annotation.rle) for annotation in objects)


def _write_maps(record: ImageRecord, masks: Path, name: Path, folders: dict[int, str]) -> None:
    for category_id, folder in folders.items():
        objects = _objects(record, category_id)
        if len(folders) > 1 and not objects:
            continue
        ids = np.zeros((record.height, record.width), dtype=np.uint16)
        for number, crop in enumerate(_crops(objects), start=1):
            rows, columns = crop.bits.shape
            window = ids[crop.top : crop.top + rows, crop.left : crop.left + columns]
            window[crop.bits] = number
        _save(ids, masks / folder / name)


def _write_objects(record: ImageRecord, masks: Path, folders: dict[int, str]) -> None:
    number = 0
    for category_id, folder in folders.items():
        for crop in _crops(_objects(record, category_id)):
            number += 1
            rows, columns = crop.bits.shape
            mask = np.zeros((record.height, record.width), dtype=np.uint8)
            mask[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.bits * 255
            _save(mask, masks / folder / f"{number:05d}.png")


def _save(values: UInt[np.ndarray, "height width"], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
