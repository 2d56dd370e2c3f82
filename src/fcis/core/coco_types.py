"""COCO files as Python objects: annotation files and results lists, as JSON holds them.

One set of types for what is read, written and evaluated. Ids are those of the data set; image ids
may be text. `bbox` is (x, y, width, height) in pixels, unlike boxes everywhere else.
"""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

ImageId = int | str
# JSON writes whole numbers without a point
Number = int | float


class CocoMask(TypedDict):
    """A run-length encoding: counts as a list (uncompressed), text or bytes; ours are text."""

    size: list[int]
    counts: list[int] | str | bytes


class CocoImage(TypedDict):
    """One image of an annotation file."""

    id: ImageId
    height: int
    width: int
    file_name: NotRequired[str]


class CocoAnnotation(TypedDict):
    """One annotated object: its outline as polygons or an encoding, `area` in pixels."""

    id: ImageId
    image_id: ImageId
    category_id: int
    bbox: Sequence[Number]
    segmentation: Sequence[Sequence[Number]] | CocoMask
    area: Number
    iscrowd: NotRequired[int]


class CocoCategory(TypedDict):
    """One category of an annotation file."""

    id: int
    name: str


class CocoDataset(TypedDict):
    """An annotation file."""

    images: Sequence[CocoImage]
    annotations: Sequence[CocoAnnotation]
    categories: Sequence[CocoCategory]


class CocoDetection(TypedDict):
    """One entry of a results list; without an image id where the image came from no data set."""

    image_id: ImageId | None
    category_id: int
    bbox: Sequence[Number]
    segmentation: CocoMask
    score: Number
    file_name: NotRequired[str]
