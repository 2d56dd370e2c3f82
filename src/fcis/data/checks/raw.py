"""A dataset as a COCO file holds it, faults included: what is checked and repaired.

Unlike `Dataset` it may contradict itself. Every format comes here, COCO files unread, others as
what their reader made of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcis.core.coco_types import ImageId
from fcis.core.errors import InputError
from fcis.data.dataset import Annotation, Dataset, FileSource, ImageSource, Polygons
from fcis.data.formats.coco import fullest, image_folders, load_document
from fcis.data.source import open_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDataset:
    """The lists of a COCO file, whose entries may be anything.

    Attributes:
        name: how the user calls it.
        document: the whole file.
        images: its list of images.
        annotations: its list of annotations.
        categories: its list of categories.
        sources: where the pixels of each image come from; None if it names no file.
    """

    name: str
    document: Mapping[str, object]
    images: Sequence[object]
    annotations: Sequence[object]
    categories: Sequence[object]
    sources: tuple[ImageSource | None, ...]


def open_raw(data: str, images_dir: str | Path | None = None) -> RawDataset:
    """Return what a DATA argument names, as little checked as its format allows.

    Args:
        data: as for `open_dataset`.
        images_dir: where the images of an annotation file lie, if not beside it.

    Raises:
        InputError: nothing that could be checked.
    """
    if not data.lower().endswith(".json"):
        return from_dataset(open_dataset(data, images_dir), data)
    path = Path(data)
    document = load_document(path)
    images, annotations, categories = (
        _entries(path, document, key) for key in ("images", "annotations", "categories")
    )
    names = [
        file_name(entry.get("file_name")) if isinstance(entry, dict) else None for entry in images
    ]
    folder = fullest(image_folders(path, images_dir), [name for name in names if name])
    return RawDataset(
        name=data,
        document=document,
        images=images,
        annotations=annotations,
        categories=categories,
        sources=tuple(FileSource(path=folder / name) if name else None for name in names),
    )


def from_dataset(dataset: Dataset, name: str) -> RawDataset:
    """Return a dataset that was read as a COCO file would hold it, under its own ids."""
    annotations = [_entry(a, r.id) for r in dataset.images for a in r.annotations]
    images = [
        {"id": r.id, "file_name": r.file_name, "height": r.height, "width": r.width}
        for r in dataset.images
    ]
    categories = [{"id": c.id, "name": c.name} for c in dataset.categories]
    document = {"images": images, "annotations": annotations, "categories": categories}
    return RawDataset(
        name=name,
        document=document,
        images=images,
        annotations=annotations,
        categories=categories,
        sources=tuple(record.source for record in dataset.images),
    )


def file_name(value: object) -> str | None:
    """Return a 'file_name' with forward slashes, None if it is none."""
    # exporters on Windows write backslashes
    return value.replace("\\", "/") if isinstance(value, str) and value else None


def _entry(annotation: Annotation, image_id: ImageId) -> dict[str, object]:
    """Return an annotation as a COCO file holds it."""
    x0, y0, x1, y1 = annotation.box
    mask = annotation.mask
    if isinstance(mask, Polygons):
        segmentation: object = [part.tolist() for part in mask.parts]
    else:
        segmentation = {"size": list(mask["size"]), "counts": mask["counts"].decode("ascii")}
    return {
        "id": annotation.id,
        "image_id": image_id,
        "category_id": annotation.category_id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": annotation.area,
        "iscrowd": int(annotation.is_crowd),
        "segmentation": segmentation,
    }


def _entries(path: Path, document: Mapping[str, object], key: str) -> list[object]:
    """Return a list of the file."""
    entries = document.get(key)
    if not isinstance(entries, list) or not entries:
        has = ", ".join(map(repr, document)) or "nothing"
        raise InputError(
            f"{path}: {key!r} is not a list with entries (the file has {has}); export the "
            "annotations in COCO format"
        )
    return entries
