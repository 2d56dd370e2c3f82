"""The records of an annotated set of images, whatever format it came from.

Every reader of `fcis.data` ends here. Dataset ids (of categories and images) exist only in
`fcis.data` and `fcis.evaluation`; everything else knows labels 1..C.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, UInt8

from fcis.core.coco_types import CocoAnnotation, CocoDataset, ImageId
from fcis.core.errors import InputError
from fcis.core.image_reading import RGB, ImageReading
from fcis.core.masks import RLE, rle_from_polygons
from fcis.imaging.multichannel import read_as
from fcis.imaging.reading import MAX_PIXELS, read_image
from fcis.imaging.strips.picture import ArrayPicture, Picture, open_picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A category under the id it has in the dataset."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Polygons:
    """The outline of an object: the union of polygons, each x0, y0, x1, y1, ... in pixels.

    Kept as it is until a mask is asked for: encoding all of COCO train2017 takes a minute, and
    a packed array of coordinates needs a quarter of the memory of a list.
    """

    parts: tuple[Float64[np.ndarray, " _"], ...]  # their lengths differ
    height: int
    width: int

    def encode(self) -> RLE:
        """Return the run-length encoding of the union within the image."""
        return rle_from_polygons([part.tolist() for part in self.parts], self.height, self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One annotated object.

    Attributes:
        id: as in the dataset.
        category_id: the category's id in the dataset, not its label.
        box: (x0, y0, x1, y1) in pixels of the image, right and bottom exclusive, inside it.
        mask: the object's pixels, encoded or as outlines; read it through `rle`.
        area: pixels, as the dataset states them (the COCO API sorts objects by it).
        is_crowd: the region holds several objects that were not told apart.
    """

    id: ImageId
    category_id: int
    box: tuple[float, float, float, float]
    mask: RLE | Polygons
    area: float
    is_crowd: bool = False

    @property
    def rle(self) -> RLE:
        """Return the encoded mask of the whole image; outlines are encoded at every call."""
        return self.mask.encode() if isinstance(self.mask, Polygons) else self.mask


@runtime_checkable
class ImageSource(Protocol):
    """Where the pixels of an image come from; must survive pickling for loader workers."""

    def read(self) -> UInt8[np.ndarray, "height width channel"]:
        """Return the image, RGB or of as many channels as it is asked for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """The pixels of an image file, decoded at each read.

    Attributes:
        path: the file.
        max_pixels: the most pixels that are accepted.
        reading: how they are read.
    """

    path: Path
    max_pixels: int = MAX_PIXELS
    reading: ImageReading = RGB

    def read(self) -> UInt8[np.ndarray, "height width channel"]:
        """Return the image as `fcis.imaging.multichannel` does.

        Raises:
            InputError: the file cannot be read as an image.
        """
        return read_as(self.path, self.reading, max_pixels=self.max_pixels)

    def open(self) -> Picture:
        """Return the same image, to be read row by row.

        Raises:
            InputError: the file cannot be read as an image.
        """
        return open_picture(self.path, self.reading, max_pixels=self.max_pixels)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnturnedSource:
    """The pixels of an image file without the rotation that its EXIF asks for."""

    path: Path

    def read(self) -> UInt8[np.ndarray, "height width channel"]:
        """Return the image as it is stored.

        Raises:
            InputError: the file cannot be read as an image.
        """
        return read_image(self.path, exif=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One image of a dataset and what is annotated in it.

    Attributes:
        id: as in the dataset.
        file_name: as in the dataset; made up by datasets without files.
        height: pixels, as the dataset states them.
        width: pixels, as the dataset states them.
        source: reads the pixels.
        annotations: the objects, crowd regions included; empty for a background image.
    """

    id: ImageId
    file_name: str
    height: int
    width: int
    source: ImageSource
    annotations: tuple[Annotation, ...] = ()

    def read(self) -> UInt8[np.ndarray, "height width channel"]:
        """Return the image, of the size that the dataset states.

        Raises:
            InputError: the image cannot be read, or has another size than the dataset states.
        """
        pixels = self.source.read()
        self._check_size((pixels.shape[0], pixels.shape[1]))
        return pixels

    def open(self) -> Picture:
        """Return the same image, to be read row by row.

        Raises:
            InputError: as for `read`; damaged pixels are found later.
        """
        if not isinstance(self.source, FileSource):
            return ArrayPicture(self.read())
        picture = self.source.open()
        self._check_size(picture.size)
        return picture

    def _check_size(self, size: tuple[int, int]) -> None:
        if size == (self.height, self.width):
            return
        remedy = "correct the dataset's width and height, or use the images it was made from"
        if size == (self.width, self.height):
            remedy = (
                "the sides are swapped, probably by the file's EXIF rotation: annotate the image "
                "as viewers show it, or remove the EXIF orientation from the file"
            )
        raise InputError(
            f"{self.source}: the image is {size[1]} x {size[0]} pixels (width x height), but the "
            f"dataset says {self.width} x {self.height} for image {self.id!r}; {remedy}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A set of images with their objects and categories.

    Attributes:
        name: a short name for messages and reports.
        categories: in ascending order of their ids; label n is the n-th of them, from 1.
        images: in the dataset's order.

    Raises:
        ValueError: the categories are not in strictly ascending order of their ids.
    """

    name: str
    categories: tuple[Category, ...]
    images: tuple[ImageRecord, ...]

    def __post_init__(self) -> None:
        ids = [category.id for category in self.categories]
        if any(a >= b for a, b in pairwise(ids)):
            raise ValueError(f"categories: expected strictly ascending ids, got {ids}")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def label_of(self) -> dict[int, int]:
        """Return the label, 1..C, of every category id. A new dictionary at each call."""
        return {category.id: label for label, category in enumerate(self.categories, start=1)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the name of every label; label 0 is "background"."""
        return ("background", *(category.name for category in self.categories))

    def first(self, count: int) -> "Dataset":
        """Return the first images, or all if there are fewer."""
        return replace(self, images=self.images[:count])

    def reading(self, how: ImageReading, *, max_pixels: int = MAX_PIXELS) -> "Dataset":
        """Return the same dataset with its image files read as a network asks for it.

        Args:
            how: as `ModelRecipe.image_reading` says.
            max_pixels: the most pixels that are accepted.
        """

        def changed(record: ImageRecord) -> ImageRecord:
            if not isinstance(record.source, FileSource):
                return record
            source = replace(record.source, reading=how, max_pixels=max_pixels)
            return replace(record, source=source)

        return replace(self, images=tuple(changed(record) for record in self.images))

    def to_coco(self) -> CocoDataset:
        """Return the dataset as a COCO annotation file holds it, ready for JSON or evaluation.

        Masks are compressed encodings. Annotations are numbered anew from 1, because the COCO
        API takes id 0 for "no match".
        """
        annotations: list[CocoAnnotation] = []
        for image in self.images:
            for a in image.annotations:
                x0, y0, x1, y1 = a.box
                rle = a.rle
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image.id,
                        "category_id": a.category_id,
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": a.area,
                        "iscrowd": int(a.is_crowd),
                        "segmentation": {
                            "size": list(rle["size"]),
                            "counts": rle["counts"].decode("ascii"),
                        },
                    }
                )
        return {
            "images": [
                {"id": i.id, "file_name": i.file_name, "height": i.height, "width": i.width}
                for i in self.images
            ],
            "annotations": annotations,
            "categories": [{"id": c.id, "name": c.name} for c in self.categories],
        }
