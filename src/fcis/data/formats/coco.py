"""COCO annotation files (JSON) -> `Dataset`, refusing what training would stumble over.

All problems of a file are collected before it is refused, so that the message can say how many
there are. Masks stay as the file holds them until they are asked for; only those that look as if
they had no pixel are encoded while reading.
"""

import json
import os
import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fcis.core.errors import InputError
from fcis.core.masks import rle_area, rle_box
from fcis.data.dataset import Annotation, Category, Dataset, FileSource, ImageRecord, Polygons
from fcis.data.formats.coco_masks import Problem, read_area, read_box, read_mask, whole_number

# Nobody should have to edit COCO train2017 for its very few objects without extent. One in 100,000
# is left out with a warning; more, and any in a smaller set, are refused.
_TOLERATED_EMPTY = 1e-5
_MOST_PIXELS = 2**31  # runs are counted in 32 bits
_PROBED_FILES = 20


@dataclass(slots=True)
class _Problems:
    """What is wrong with a file, in the order found."""

    path: Path
    messages: list[str] = field(default_factory=list)

    def raise_if_any(self) -> None:
        """Refuse the file with its first problem and the number of the others."""
        if self.messages:
            more = len(self.messages) - 1
            rest = f" (and {more} more such problem{'s' * (more > 1)})" if more else ""
            raise InputError(f"{self.path}: {self.messages[0]}{rest}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """An entry of the list of images."""

    id: int | str
    file_name: str
    height: int
    width: int


def read_coco(
    json_path: str | Path,
    images_dir: str | Path | None = None,
    *,
    require_annotations: bool = True,
) -> Dataset:
    """Read a COCO annotation file.

    Masks may be polygons or run-length encodings, compressed or not. Boxes are clipped to their
    image, which they may pass by up to 1 px; a missing one, and a missing or zero area, come
    from the mask. Images without objects and categories without use are kept. Annotations
    without a single pixel are left out with a warning if they are at most one in 100,000.

    Args:
        json_path: the file.
        images_dir: where the images lie; if not given, the folders `images/`, `../<split>/` and
            `../images/<split>/` beside the file are tried, and the file's own, where <split> is
            the last word of its name (`instances_train2017.json`: `train2017`).
        require_annotations: refuse a file without categories or annotations; if false, both may
            be missing, but what is there is read and checked.

    Raises:
        InputError: the file cannot be read, contradicts itself, or names missing images.
    """
    path = Path(json_path)
    document = load_document(path)
    images = _read_images(path, _entries(path, document, "images", required=True))
    categories = _read_categories(
        path, _entries(path, document, "categories", required=require_annotations)
    )
    entries = _entries(path, document, "annotations", required=require_annotations)
    objects = _read_annotations(path, entries, images, {c.id for c in categories})
    files = _find_files(path, list(images.values()), images_dir)
    return Dataset(
        name=path.stem,
        categories=tuple(sorted(categories, key=lambda category: category.id)),
        images=tuple(
            ImageRecord(
                id=image.id,
                file_name=image.file_name,
                height=image.height,
                width=image.width,
                source=FileSource(path=file),
                annotations=tuple(objects.get(image.id, ())),
            )
            for image, file in zip(images.values(), files, strict=True)
        ),
    )


def load_document(path: Path) -> Mapping[str, object]:
    """Return the dictionary that a JSON file holds.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such annotation file; check the spelling") from error
    except OSError as error:
        raise InputError(
            f"{path}: the annotation file cannot be read ({error.strerror}); name a COCO .json"
        ) from error
    if not text:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or export it again")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); copy or export it again") from error
    if not isinstance(document, dict):
        raise InputError(
            f"{path}: expected a COCO dictionary with images, annotations and categories, got a "
            f"{type(document).__name__}; a list of results is no annotation file"
        )
    return document


def _entries(
    path: Path, document: Mapping[str, object], key: str, *, required: bool
) -> list[Mapping[str, object]]:
    """Return the list of dictionaries under a key; an absent one is empty if not required."""
    entries = document.get(key)
    if entries is None and not required:
        return []
    if entries is None:
        raise InputError(
            f"{path}: no {key!r} in it (it has {', '.join(map(repr, document)) or 'nothing'}); "
            "export the annotations in COCO format"
        )
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: {key!r} is not a list of dictionaries; export it again")
    if required and not entries:
        raise InputError(f"{path}: {key!r} is empty; name a file with {key}")
    return entries


def _read_images(path: Path, entries: Sequence[Mapping[str, object]]) -> dict[int | str, _Image]:
    """Return the images by id, in the order of the file."""
    problems = _Problems(path)
    images: dict[int | str, _Image] = {}
    for index, entry in enumerate(entries):
        try:
            id = _id(entry, "image", index, images)
            file_name = entry.get("file_name")
            if not isinstance(file_name, str) or not file_name:
                raise Problem(f"image {id!r} has no 'file_name'; add it")
            height, width = whole_number(entry.get("height")), whole_number(entry.get("width"))
            if not height or not width or not 0 < height * width < _MOST_PIXELS or width < 0:
                raise Problem(
                    f"image {id!r} ({file_name}) needs a positive 'height' and 'width', got "
                    f"{entry.get('height')!r} and {entry.get('width')!r}; correct them"
                )
            images[id] = _Image(id=id, file_name=file_name, height=height, width=width)
        except Problem as problem:
            problems.messages.append(str(problem))
    problems.raise_if_any()
    return images


def _read_categories(path: Path, entries: Sequence[Mapping[str, object]]) -> list[Category]:
    """Return the categories in the order of the file."""
    problems = _Problems(path)
    categories: dict[int | str, Category] = {}
    for index, entry in enumerate(entries):
        try:
            id = _id(entry, "category", index, categories)
            name = entry.get("name")
            if isinstance(id, str):
                raise Problem(f"category id {id!r} is text; use whole numbers")
            if not isinstance(name, str) or not name:
                raise Problem(f"category {id} has no 'name'; add it")
            categories[id] = Category(id=id, name=name)
        except Problem as problem:
            problems.messages.append(str(problem))
    problems.raise_if_any()
    return list(categories.values())


def _read_annotations(
    path: Path,
    entries: Sequence[Mapping[str, object]],
    images: Mapping[int | str, _Image],
    category_ids: set[int],
) -> dict[int | str, list[Annotation]]:
    """Return the annotations by image id, those of an image in the order of the file."""
    problems, empty = _Problems(path), _Problems(path)
    seen: set[int | str] = set()
    objects: dict[int | str, list[Annotation]] = {}
    for index, entry in enumerate(entries):
        try:
            id = _id(entry, "annotation", index, seen)
            seen.add(id)
            image = _image_of(id, entry, images)
            objects.setdefault(image.id, []).append(_annotation(id, entry, image, category_ids))
        except Problem as problem:
            (empty if problem.is_empty else problems).messages.append(str(problem))
    if len(empty.messages) > _TOLERATED_EMPTY * len(entries):
        problems.messages += empty.messages
    problems.raise_if_any()
    if empty.messages:
        warnings.warn(
            f"{path}: {len(empty.messages)} of {len(entries)} annotations are left out; "
            f"the first: {empty.messages[0]}",
            stacklevel=3,
        )
    return objects


def _image_of(
    id: int | str, entry: Mapping[str, object], images: Mapping[int | str, _Image]
) -> _Image:
    """Return the image that an annotation belongs to."""
    image_id = entry.get("image_id")
    if not isinstance(image_id, int | str) or image_id not in images:
        raise Problem(
            f"annotation {id!r} refers to image {image_id!r}, which is not among the images; "
            "add the image or remove the annotation"
        )
    return images[image_id]


def _annotation(
    id: int | str, entry: Mapping[str, object], image: _Image, category_ids: set[int]
) -> Annotation:
    """Return one annotation, checked."""
    where = f"annotation {id!r} (image {image.id!r}, {image.file_name})"
    category_id = entry.get("category_id")
    if not isinstance(category_id, int) or category_id not in category_ids:
        raise Problem(
            f"{where} refers to category {category_id!r}, which is not among the categories; "
            "add the category or correct the annotation"
        )
    is_crowd = entry.get("iscrowd", 0)
    if is_crowd not in (0, 1):
        raise Problem(f"{where} has 'iscrowd' {is_crowd!r}; use 0 or 1")
    box = read_box(where, entry.get("bbox"), image.height, image.width)
    area = read_area(where, entry.get("area"))
    mask = read_mask(where, entry.get("segmentation"), image.height, image.width)
    if area == 0 or box is None:
        rle = mask.encode() if isinstance(mask, Polygons) else mask
        area = area or float(rle_area(rle))
        box = box or rle_box(rle)
    return Annotation(
        id=id,
        category_id=category_id,
        box=box,
        mask=mask,
        area=area,
        is_crowd=bool(is_crowd),
    )


def image_folders(path: Path, images_dir: str | Path | None) -> list[Path]:
    """Return where the images of an annotation file may lie.

    Raises:
        InputError: the given folder does not exist.
    """
    if images_dir is not None:
        if not Path(images_dir).is_dir():
            raise InputError(f"{images_dir}: the folder of the images of {path} does not exist")
        return [Path(images_dir)]
    split = path.stem.rsplit("_", 1)[-1]
    here = path.absolute().parent
    above = here.parent
    return [here / "images", above / split, above / "images" / split, here]


def fullest(folders: Sequence[Path], names: Sequence[str]) -> Path:
    """Return the folder that has most of the first files; of equal ones the first."""
    probed = names[:_PROBED_FILES]
    return max(folders, key=lambda f: sum(os.path.isfile(f / name) for name in probed))


def _find_files(path: Path, images: Sequence[_Image], images_dir: str | Path | None) -> list[Path]:
    """Return the file of every image."""
    folders = image_folders(path, images_dir)
    # exporters on Windows write backslashes
    names = [image.file_name.replace("\\", "/") for image in images]
    folder = fullest(folders, names)
    files = [folder / name for name in names]
    missing = [image for image, file in zip(images, files, strict=True) if not file.is_file()]
    if missing:
        tried = ", ".join(map(str, folders)) if len(missing) == len(images) else str(folder)
        raise InputError(
            f"{path}: {len(missing)} of {len(images)} image files are missing, the first is "
            f"{missing[0].file_name} (looked in {tried}); name the folder with --images DIR"
        )
    return files


def _id(
    entry: Mapping[str, object], kind: str, index: int, seen: Container[int | str]
) -> int | str:
    """Return the id of an entry, which must not have come up before."""
    id = entry.get("id")
    if not isinstance(id, int | str) or isinstance(id, bool):
        raise Problem(f"{kind} number {index + 1} has the id {id!r}; use a whole number or text")
    if id in seen:
        raise Problem(f"{kind} id {id!r} occurs more than once; give each its own")
    return id
