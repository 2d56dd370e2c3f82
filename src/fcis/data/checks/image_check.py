"""The list of images of a raw dataset, and its files -> what is wrong, and what annotations mean.

Where an image and its annotations were not made for each other, what the annotations say decides
what is repaired; what cannot be decided is dropped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

from fcis.core.coco_types import ImageId
from fcis.data.checks.annotation_check import Frame
from fcis.data.checks.faults import (
    BAD_IMAGE,
    DEEP_IMAGE,
    DUPLICATE_FILE,
    DUPLICATE_IMAGE_ID,
    EXIF_UNSURE,
    IN_TRAIN_AND_VAL,
    MISSING_FILE,
    ROTATED,
    SAME_NAME,
    UNREADABLE_FILE,
    WRONG_SIZE,
    Finding,
    Issue,
    image_finding,
)
from fcis.data.checks.image_facts import ImageFacts, same_content
from fcis.data.checks.mask_check import DROPPED, numbers_of
from fcis.data.checks.raw import RawDataset, file_name
from fcis.data.formats.coco_masks import whole_number

_SLACK = 1.0  # px that a coordinate may pass the border
_SWAPS_SIDES = range(5, 9)
_MOST_PIXELS = 2**31  # of an image; runs are counted in 32 bits

Size = tuple[int, int]
_Evidence = Literal["file", "stated", "either"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValImages:
    """Which images of a dataset the validation set has too, by their index.

    Attributes:
        same: index -> name in the validation set, for files of the same content.
        names: file names that occur there.
    """

    same: Mapping[int, str]
    names: frozenset[str]


def compare_images(raw: RawDataset, val: RawDataset) -> ValImages:
    """Return which images of a dataset the validation set has too."""
    names = [
        file_name(entry.get("file_name")) if isinstance(entry, dict) else None
        for entry in val.images
    ]
    same = same_content(raw.sources, val.sources)
    return ValImages(
        same={index: names[other] or "an image without a name" for index, other in same.items()},
        names=frozenset(name for name in names if name),
    )


def check_images(
    raw: RawDataset, facts: Sequence[ImageFacts], val: ValImages | None
) -> tuple[dict[ImageId, Frame], list[Finding]]:
    """Return what every usable image id stands for, and what is wrong with the images.

    Images of one file stand for the first of them.

    Args:
        raw: the dataset.
        facts: of each of its images' files.
        val: what the validation set has.
    """
    check = _ImageCheck(raw, val)
    for index, (entry, fact) in enumerate(zip(raw.images, facts, strict=True)):
        check.add(index, entry, fact)
    return check.frames, check.findings


class _ImageCheck:
    """Image after image; keeps what came before."""

    def __init__(self, raw: RawDataset, val: ValImages | None) -> None:
        self.frames: dict[ImageId, Frame] = {}
        self.findings: list[Finding] = []
        self._raw = raw
        self._val = val
        self._first_of: dict[str, ImageId] = {}
        self._files_of: dict[ImageId, set[str]] = {}
        for entry in raw.images:
            if isinstance(entry, dict) and is_id(entry.get("id")):
                self._files_of.setdefault(entry["id"], set()).add(str(entry.get("file_name")))
        self._annotations_of = group_by_image(raw.annotations)

    def add(self, index: int, entry: object, fact: ImageFacts) -> None:
        """Check one image."""
        if not isinstance(entry, dict):
            self._say(Issue(BAD_IMAGE, "is not a dictionary", DROPPED), f"number {index + 1}", "")
            return
        id, name = entry.get("id"), file_name(entry.get("file_name"))
        issue = self._check_names(id, name)
        if issue:
            self._say(issue, id, name)
        if not is_id(id) or not name or (issue and issue.repair.startswith(DROPPED)):
            return
        if issue:  # another name for an image that was there before
            self.frames[id] = self.frames[self._first_of[name]]
            return
        self._first_of[name] = id
        frame, issues = self._settle(index, entry, fact)
        self.frames[id] = frame
        for issue in issues:
            self._say(issue, id, name)

    def _say(self, issue: Issue, id: object, name: object) -> None:
        self.findings.append(image_finding(issue, id, name))

    def _check_names(self, id: object, name: str | None) -> Issue | None:
        """Return what is wrong with an image's id and file name."""
        if not is_id(id):
            return Issue(BAD_IMAGE, "has no usable 'id'", DROPPED)
        lost = self._dropped(id)
        if not name:
            return Issue(BAD_IMAGE, "has no 'file_name'", lost)
        others = len(self._files_of[id]) - 1
        if others:
            text = f"shares its id with {others} other file{'s' * (others > 1)}"
            return Issue(DUPLICATE_IMAGE_ID, text, lost)
        if id in self.frames:
            text = "has the id and the file of an image before it"
            return Issue(DUPLICATE_IMAGE_ID, text, "dropped; the image before it stays")
        if name in self._first_of:
            first = self._first_of[name]
            text = f"is the file of image {first!r} too"
            return Issue(DUPLICATE_FILE, text, f"its annotations given to image {first!r}")
        return None

    def _dropped(self, id: ImageId) -> str:
        """Return the repair of an image that cannot be repaired."""
        count = len(self._annotations_of.get(id, ()))
        return f"{DROPPED} with its {count} annotation{'s' * (count != 1)}" if count else DROPPED

    def _settle(
        self, index: int, entry: Mapping[str, object], fact: ImageFacts
    ) -> tuple[Frame, list[Issue]]:
        """Return what an image is to its annotations, and what is wrong with its file and size."""
        id, name = entry["id"], file_name(entry["file_name"])
        assert is_id(id) and name
        lost = self._dropped(id)
        stated = _stated_size(entry)
        size = stated or fact.size or (1, 1)
        frame = Frame(id=id, file_name=name, size=size, stated=size, index=index)
        if fact.size is None:
            kind = MISSING_FILE if fact.is_missing else UNREADABLE_FILE
            return replace(frame, is_kept=False), [Issue(kind, fact.problem, lost)]
        issues = self._compare_with_val(index, name, lost)
        frame = replace(frame, is_kept=not issues or issues[0].kind is not IN_TRAIN_AND_VAL)
        if fact.is_deep:
            issues.append(Issue(DEEP_IMAGE, "has 16 bits or floats", "left as it is"))
        if stated is None:
            values = f"{entry.get('height')!r} and {entry.get('width')!r}"
            text = f"has the 'height' and 'width' {values}"
            return frame, [*issues, Issue(BAD_IMAGE, text, "size taken from the file")]
        if stated == fact.size:
            if fact.orientation > 1 and fact.stored == fact.size:
                text = f"has the EXIF orientation {fact.orientation}, which its size does not show"
                issues.append(Issue(EXIF_UNSURE, text, "left as it is"))
            return frame, issues
        issue, changes = _settle_size(frame, fact, self._annotations_of.get(id, ()), lost)
        return replace(changes, is_kept=frame.is_kept and changes.is_kept), [*issues, issue]

    def _compare_with_val(self, index: int, name: str, lost: str) -> list[Issue]:
        """Return an issue if the validation set has the image, or another of its name."""
        if self._val is None:
            return []
        if index in self._val.same:
            text = f"is in the validation set too, as {self._val.same[index]}"
            return [Issue(IN_TRAIN_AND_VAL, text, lost)]
        if name in self._val.names:
            return [Issue(SAME_NAME, "is another file in the validation set", "left as it is")]
        return []


def is_id(value: object) -> TypeGuard[ImageId]:
    """Return whether a JSON value can be an id."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def group_by_image(annotations: Sequence[object]) -> dict[ImageId, list[Mapping[str, object]]]:
    """Return the annotations that name an image, by its id."""
    groups: dict[ImageId, list[Mapping[str, object]]] = {}
    for entry in annotations:
        if isinstance(entry, dict) and is_id(entry.get("image_id")):
            groups.setdefault(entry["image_id"], []).append(entry)
    return groups


def _stated_size(entry: Mapping[str, object]) -> Size | None:
    """Return (height, width) as the dataset has it, if an image can have it."""
    height, width = whole_number(entry.get("height")), whole_number(entry.get("width"))
    if not height or not width or height < 0 or width < 0 or height * width >= _MOST_PIXELS:
        return None
    return height, width


def _settle_size(
    frame: Frame, fact: ImageFacts, entries: Sequence[Mapping[str, object]], lost: str
) -> tuple[Issue, Frame]:
    """Return what is done about an image whose file has another size than the dataset states."""
    size, stated = fact.size, frame.stated
    assert size is not None
    evidence = _made_for(entries, stated, size)
    text = f"is {size[1]} x {size[0]} (width x height), but the dataset says {_shown(stated)}"
    corrected = replace(frame, size=size, stated=size)
    if size == stated[::-1]:
        if evidence == "file":
            return Issue(ROTATED, text, "'height' and 'width' exchanged"), corrected
        if fact.orientation in _SWAPS_SIDES and fact.stored == stated:
            text += f", which is its size before the EXIF rotation ({fact.orientation})"
            repair = "saved without the rotation, as it was annotated"
            return Issue(ROTATED, text, repair), replace(frame, unturned=True)
        return Issue(ROTATED, text, lost), replace(frame, is_kept=False)
    if evidence != "file" and _is_same_picture(stated, size):
        repair = "annotations scaled to the file"
        return Issue(WRONG_SIZE, text, repair), replace(frame, size=size)
    if evidence != "stated":
        return Issue(WRONG_SIZE, text, "size taken from the file"), corrected
    return Issue(WRONG_SIZE, text, lost), replace(frame, is_kept=False)


def _made_for(entries: Sequence[Mapping[str, object]], stated: Size, size: Size) -> _Evidence:
    """Return which of two sizes the masks were made for, by what fits into one of them only."""
    votes: Counter[_Evidence] = Counter()
    for entry in entries:
        segmentation = entry.get("segmentation")
        if isinstance(segmentation, dict):
            made = segmentation.get("size")
            votes["file"] += made == list(size)
            votes["stated"] += made == list(stated)
        elif isinstance(segmentation, list):
            parts = [numbers_of(part) for part in segmentation]
            fits_stated, fits_file = (_fits(parts, s) for s in (stated, size))
            votes["file"] += fits_file and not fits_stated
            votes["stated"] += fits_stated and not fits_file
    if votes["file"] == votes["stated"]:
        return "either"
    return "file" if votes["file"] > votes["stated"] else "stated"


def _fits(parts: Sequence[Sequence[float]], size: Size) -> bool:
    """Return whether outlines stay within an image."""
    height, width = size
    return all(
        max(part[0::2], default=0) <= width + _SLACK
        and max(part[1::2], default=0) <= height + _SLACK
        for part in parts
    )


def _is_same_picture(a: Size, b: Size) -> bool:
    """Return whether one size is the other resized, sides rounded to whole pixels."""
    small, large = sorted((a, b))
    factor = large[0] / small[0]
    return abs(small[1] * factor - large[1]) <= max(1.0, factor)


def _shown(size: Size) -> str:
    return f"{size[1]} x {size[0]}"
