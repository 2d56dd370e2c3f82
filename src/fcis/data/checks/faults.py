"""The faults that a dataset can have, each with how bad it is and what helps.

An error is what reading refuses, or what makes training learn something wrong; a warning is what
deserves a look; a note is good to know. What is wrong with a thing is a `Problem`, and that
problem in its place a `Finding`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from fcis.core.coco_types import ImageId

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

LOOK = "look at it with `fcis data preview`"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        severity: how bad it is.
        name: a short name for reports.
        meaning: what all findings of the kind have in common.
        remedy: what a person does about it.
    """

    severity: Severity
    name: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A corrected copy has the thing as it is."""

    def __str__(self) -> str:
        return "left as it is"


@dataclass(frozen=True, slots=True)
class Changed:
    """A corrected copy has the thing repaired; `how` says how."""

    how: str

    def __str__(self) -> str:
        return self.how


@dataclass(frozen=True, slots=True)
class Dropped:
    """A corrected copy lacks the thing; `more` says what else goes, or stays."""

    more: str = ""

    def __str__(self) -> str:
        return f"dropped{self.more}"


Fix = Kept | Changed | Dropped


def dropped_with(count: int, of_it: str = "its {}") -> Dropped:
    """Return that a thing is dropped with a number of annotations, if there are any."""
    what = of_it.format(f"{count} annotation{'s' * (count != 1)}")
    return Dropped(f" with {what}" if count else "")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a thing that is not named yet.

    Attributes:
        kind: of the fault.
        text: what the thing does or has; completes the sentence that begins with its place.
        remedy: what a person does about this one; empty: what helps with the kind.
        fix: what a corrected copy does about it.
        is_empty: no more is wrong than that an object has no pixel.
    """

    kind: Kind
    text: str
    remedy: str = ""
    fix: Fix = Dropped()  # it is frozen
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a dataset.

    Attributes:
        where: the thing that has it, by its file and all its names.
        problem: what is wrong with it.
        image_id: the image, if it is one's fault.
        file_name: of the image; empty if it is not known.
        annotation_id: the annotation, if it is one's fault.
    """

    where: str
    problem: Problem
    image_id: ImageId | None = None
    file_name: str = ""
    annotation_id: ImageId | None = None

    def __str__(self) -> str:
        return f"{self.where} {self.problem.text}"

    @property
    def kind(self) -> Kind:
        """Return the kind of the fault."""
        return self.problem.kind

    @property
    def fix(self) -> Fix:
        """Return what a corrected copy does about it."""
        return self.problem.fix

    @property
    def refusal(self) -> str:
        """Return the sentence with the remedy."""
        return f"{self}; {self.problem.remedy or self.kind.remedy}"


def place_of(image_id: object, file_name: str) -> str:
    """Return the place of an image that is known by its id and, perhaps, its file."""
    return f"image {image_id!r}" + (f" ({file_name})" if file_name else "")


_error, _warning, _note = (partial(Kind, severity) for severity in SEVERITIES)

BAD_IMAGE = _error(
    "bad-image",
    "entries of 'images' that cannot be used",
    "give each an id (a whole number or text), a 'file_name', and a positive 'height' and 'width'",
)
BAD_CATEGORY = _error(
    "bad-category",
    "entries of 'categories' that cannot be used",
    "give each a whole number as id and a 'name'",
)
BAD_ANNOTATION = _error(
    "bad-annotation",
    "entries of 'annotations' with values that cannot be used",
    "give each an id (a whole number or text) and an 'iscrowd' of 0 or 1",
)
MISSING_FILE = _error(
    "missing-file",
    "images without a file",
    "name their folder with --images DIR, add the files or remove the images",
)
UNREADABLE_FILE = _error(
    "unreadable-file",
    "image files that cannot be read",
    "copy or export them again, or remove the images",
)
WRONG_SIZE = _error(
    "wrong-size",
    "images whose file has another size than 'width' and 'height' say",
    "correct the size, or use the files that were annotated",
)
ROTATED = _error(
    "rotated",
    "images whose sides are swapped, as a file's EXIF rotation does",
    "annotate images as viewers show them, or remove the EXIF rotation from the files",
)
DUPLICATE_IMAGE_ID = _error(
    "duplicate-image-id", "image ids that occur more than once", "give each image its own"
)
DUPLICATE_ANNOTATION_ID = _error(
    "duplicate-annotation-id",
    "annotation ids that occur more than once",
    "give each annotation its own",
)
DUPLICATE_CATEGORY_ID = _error(
    "duplicate-category-id",
    "category ids that occur more than once",
    "give each category its own",
)
DUPLICATE_CATEGORY_NAME = _error(
    "duplicate-category-name",
    "categories of the same name",
    "make them one category, or give them different names",
)
UNKNOWN_IMAGE = _error(
    "unknown-image",
    "annotations of images that are not in the list",
    "add the images or remove the annotations",
)
UNKNOWN_CATEGORY = _error(
    "unknown-category",
    "annotations of categories that are not in the list",
    "add the categories or correct the annotations",
)
BAD_BOX = _error(
    "bad-box",
    "boxes that are none, have no extent, or lie outside the image",
    "use [x, y, width, height] in pixels, or leave 'bbox' out: it then comes from the mask",
)
NO_MASK = _error(
    "no-mask",
    "objects without a mask",
    "add the outlines or pictures: boxes alone are not enough",
)
BAD_POLYGON = _error(
    "bad-polygon",
    "outlines that are not lists of numbers",
    "use [[x0, y0, x1, y1, ...], ...]",
)
ODD_POLYGON = _error(
    "odd-polygon", "outlines of an odd number of values", "use pairs of x and y, or remove them"
)
NAN_COORDINATES = _error(
    "nan-coordinates", "outlines with NaN or infinite values", "draw or export them again"
)
SHORT_POLYGON = _error("short-polygon", "outlines of fewer than 3 points", "correct or remove them")
NORMALISED_POLYGON = _error(
    "normalised-polygon",
    "outlines in fractions of the image, not in pixels",
    "multiply x by the image's width and y by its height",
)
FAR_POLYGON = _error(
    "far-polygon",
    "outlines that run far outside the image",
    "check the units and the image's size; correct or remove them",
)
EMPTY_MASK = _error("empty-mask", "masks without a pixel", "remove the annotations")
RLE_SIZE = _error(
    "rle-size",
    "encodings and pictures of masks of another size than their image",
    "make them as large as the image that the file shows",
)
DAMAGED_RLE = _error(
    "damaged-rle", "encodings and pictures of masks that cannot be read", "export them again"
)
BAD_AREA = _error(
    "bad-area",
    "areas that are not positive numbers",
    "leave 'area' out: it then comes from the mask",
)
IN_TRAIN_AND_VAL = _error(
    "in-train-and-val",
    "images that are in the validation set too",
    "remove them from one of the two: figures would say how well they were memorised",
)

DUPLICATE_FILE = _warning(
    "duplicate-file",
    "files that occur as several images",
    "make them one image with the objects of all: each lacks those of the others",
)
UNUSED_CATEGORY = _warning(
    "unused-category", "categories without an object", "annotate some, or remove the categories"
)
BOX_MASK = _warning(
    "box-mask",
    "boxes that disagree with the mask",
    "use [x, y, width, height] around the mask, or leave 'bbox' out",
)
AREA_MASK = _warning(
    "area-mask",
    "areas that disagree with the mask",
    "use the number of pixels of the mask, or leave 'area' out",
)
FLAT_POLYGON = _warning("flat-polygon", "outlines without an area", "remove them")
OUTSIDE_MASK = _warning(
    "outside-mask",
    "outlines that leave the image",
    f"check that they were drawn on this image: {LOOK}",
)
DUPLICATE_OBJECT = _warning(
    "duplicate-object", "objects with the mask of another", "remove all but one"
)
EXIF_UNSURE = _warning(
    "exif-unsure",
    "files whose EXIF rotation does not change their size",
    f"images are turned as viewers do; if masks lie wrong, remove the rotation: {LOOK}",
)

NO_OBJECTS = _note(
    "no-objects", "images without an object", "fine for background; training leaves them out"
)
DEEP_IMAGE = _note(
    "deep-image",
    "images of 16 bits or floats",
    "their 0.1 to 99.9 percentiles become 0 and 255; recipes change that with high_depth",
)
SMALL_OBJECTS = _note(
    "small-objects", "objects that are hard to find", "choose a recipe with a larger scale"
)
SAME_NAME = _note(
    "same-name",
    "other images under the name of one in the validation set",
    "check that they are not the same picture",
)
