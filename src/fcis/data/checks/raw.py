"""A dataset as its files hold it, faults included: what readers return and one checker reads.

Readers raise for what makes a whole file useless. What is wrong with one image or one object they
note as a `Problem` of it, and what only `fcis.data.checks` can tell they leave as it stands.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from fcis.core.coco_types import ImageId
from fcis.core.errors import InputError
from fcis.data.checks.faults import Dropped, Finding, Kind, Problem, place_of
from fcis.data.dataset import Category, Dataset, ImageRecord, ImageSource, Polygons

Size = tuple[int, int]
"""(height, width)"""
Entry = Mapping[str, object]
FormatName = Literal["coco", "yolo", "labelme", "masks"]


class RawObject(NamedTuple):
    """An object as it stands in its file.

    Attributes:
        where: its file and its name in it.
        id: of its own.
        category_id: of a category, or anything.
        segmentation: outlines, lists or arrays of x0, y0, x1, y1, ... in pixels; or an encoding,
            checked only if its counts are not bytes; or anything.
        bbox: x, y, width and height; None if the format has none.
        area: in pixels; None if the format has none.
        is_crowd: 0 or 1, or anything.
        problems: what the reader has met.
        entry: all that a COCO file says of it.
    """

    where: str
    id: ImageId
    category_id: object
    segmentation: object
    bbox: object = None
    area: object = None
    is_crowd: object = 0
    problems: tuple[Problem, ...] = ()
    entry: Entry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage:
    """An image as the dataset has it.

    Attributes:
        id: of its own.
        file_name: in the dataset.
        source: reads the pixels; None if the reader found none.
        objects: gives those of the image, if it is of a size.
        stated: its size, if the dataset says so.
        where: what has the problems, if that is not the image itself.
        problems: what the reader has met.
        entry: all that a COCO file says of it.
    """

    id: ImageId
    file_name: str
    source: ImageSource | None
    objects: Callable[[Size], Iterable[RawObject]] = lambda size: ()
    stated: Size | None = None
    where: str = ""
    problems: tuple[Problem, ...] = ()
    entry: Entry | None = None

    @property
    def place(self) -> str:
        """Return its name for messages."""
        return place_of(self.id, self.file_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDataset:
    """A set of images and categories as files hold it.

    Attributes:
        name: a short name.
        categories: those that can be used, in ascending order of their ids.
        images: those that have an id and a name.
        to: the format of a corrected copy.
        only_read: what the format is called, if it is one that is not written.
        prefix: begins what is said of a fault, where places do not name a file.
        findings: what was wrong in lists.
        document: the COCO file.
        looked_in: the folders that images were looked for in, where no image says its own.
        counts: of images, objects and categories in the files, where faults hide some.
        empty: what objects without a pixel are called.
        tolerated_empty: the part of the objects that may have no pixel.
    """

    name: str
    categories: tuple[Category, ...]
    images: Iterable[RawImage]
    to: FormatName = "coco"
    only_read: str = ""
    prefix: str = ""
    findings: tuple[Finding, ...] = ()
    document: Entry | None = None
    looked_in: tuple[Path, ...] = ()
    counts: tuple[int, int, int] | None = None
    empty: str = "objects without a pixel"
    tolerated_empty: float = 1.0


class FileProblem(InputError):
    """What is wrong with one file of many: the `InputError` of it, and the values it is made of."""

    def __init__(self, path: Path, kind: Kind, text: str, remedy: str) -> None:
        super().__init__(f"{path}: {text}; {remedy}")
        self.where = f"{path}:"
        self.problem = Problem(kind, text, remedy)


def problem_of(error: InputError, place: object, kind: Kind) -> Problem:
    """Return what a reader of one file says of it, and loses by it; `place` begins that."""
    text, _, remedy = str(error).removeprefix(f"{place}: ").partition("; ")
    return Problem(kind, text, remedy, Dropped())


def raw_of(dataset: Dataset) -> RawDataset:
    """Return a dataset that was not read from files."""
    images = tuple(
        RawImage(
            id=record.id,
            file_name=record.file_name,
            source=record.source,
            stated=(record.height, record.width),
            objects=partial(_objects, record),
        )
        for record in dataset.images
    )
    return RawDataset(name=dataset.name, categories=dataset.categories, images=images)


def _objects(record: ImageRecord, size: Size) -> Iterator[RawObject]:
    for a in record.annotations:
        x0, y0, x1, y1 = a.box
        mask = list(a.mask.parts) if isinstance(a.mask, Polygons) else a.mask
        where = f"annotation {a.id!r} (image {record.id!r}, {record.file_name})"
        box = [x0, y0, x1 - x0, y1 - y0]
        yield RawObject(where, a.id, a.category_id, mask, box, a.area, int(a.is_crowd))
