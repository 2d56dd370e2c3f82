"""An image of a raw dataset, and its file -> what is wrong with it, and what its objects mean.

Where an image and its objects were not made for each other, what the objects say decides what is
repaired; what cannot be decided is dropped.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fcis.data.checks import limits
from fcis.data.checks.faults import (
    DEEP_IMAGE,
    EXIF_UNSURE,
    IN_TRAIN_AND_VAL,
    ROTATED,
    SAME_NAME,
    WRONG_SIZE,
    Changed,
    Kept,
    Problem,
)
from fcis.data.checks.image_facts import ImageFacts, same_content
from fcis.data.checks.raw import RawImage, RawObject, Size
from fcis.data.dataset import FileSource, ImageSource, UnturnedSource
from fcis.data.formats.json_values import is_flat, is_number

_SWAPS_SIDES = range(5, 9)
_Evidence = Literal["file", "stated", "either"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What an image is to its objects.

    Attributes:
        source: of a corrected copy; None if the image cannot be read.
        size: (height, width) in a corrected copy.
        stated: (height, width) that the masks were made for.
        is_known: whether anything says what that is.
    """

    source: ImageSource | None
    size: Size
    stated: Size
    is_known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ValImages:
    """Which images of a dataset the validation set has too, by their index.

    Attributes:
        same: index -> name in the validation set, for files of the same content.
        names: file names that occur there.
    """

    same: Mapping[int, str]
    names: frozenset[str]

    def problems(self, index: int, name: str) -> list[Problem]:
        """Return what is wrong with an image that the validation set has, or another so called."""
        if index in self.same:
            text = f"is in the validation set too, as {self.same[index]}"
            return [Problem(IN_TRAIN_AND_VAL, text)]
        if name in self.names:
            return [Problem(SAME_NAME, "is another file in the validation set", fix=Kept())]
        return []


def compare_images(images: Sequence[RawImage], val: Sequence[RawImage]) -> ValImages:
    """Return which images of a dataset the validation set has too."""
    same = same_content([i.source for i in images], [i.source for i in val])
    names = [image.file_name for image in val]
    return ValImages(
        same={index: names[other] for index, other in same.items()}, names=frozenset(names)
    )


def settle(image: RawImage, facts: ImageFacts) -> tuple[Frame, list[Problem]]:
    """Return what an image is to its objects, and what is wrong with its file and size."""
    size, stated = facts.size, image.stated or facts.size
    if stated is None:
        frame = Frame(source=image.source, size=(1, 1), stated=(1, 1), is_known=False)
    else:
        frame = Frame(source=image.source, size=stated, stated=stated)
    if size is None:
        return frame, [facts.problem] if facts.problem else []
    problems: list[Problem] = []
    if facts.is_deep:
        problems.append(Problem(DEEP_IMAGE, "has 16 bits or floats", fix=Kept()))
    if stated != size:
        frame, problem = _settle_size(image, frame, facts)
        problems.append(problem)
    elif facts.orientation > 1 and facts.stored == size:
        text = f"has the EXIF orientation {facts.orientation}, which its size does not show"
        problems.append(Problem(EXIF_UNSURE, text, fix=Kept()))
    return frame, problems


def size_problem(size: Size, stated: Size) -> Problem:
    """Return that a file has another size than the dataset states."""
    kind = ROTATED if size == stated[::-1] else WRONG_SIZE
    text = f"is {_shown(size)} (width x height), but the dataset says {_shown(stated)}"
    return Problem(kind, text)


def _settle_size(image: RawImage, frame: Frame, facts: ImageFacts) -> tuple[Frame, Problem]:
    """Return what is done about an image whose file has another size than the dataset states."""
    size, stated = facts.size, frame.stated
    assert size is not None
    problem = size_problem(size, stated)
    evidence = _made_for(image.objects(stated), stated, size)
    corrected = replace(frame, size=size, stated=size)
    if problem.kind is ROTATED:
        if evidence == "file":
            return corrected, replace(problem, fix=Changed("'height' and 'width' exchanged"))
        if facts.orientation in _SWAPS_SIDES and facts.stored == stated:
            assert isinstance(image.source, FileSource)
            text = f"which is its size before the EXIF rotation ({facts.orientation})"
            fix = Changed("saved without the rotation, as it was annotated")
            unturned = replace(frame, source=UnturnedSource(path=image.source.path))
            return unturned, replace(problem, text=f"{problem.text}, {text}", fix=fix)
        return frame, problem
    if evidence != "file" and _is_same_picture(stated, size):
        return replace(frame, size=size), replace(
            problem, fix=Changed("annotations scaled to the file")
        )
    if evidence != "stated":
        return corrected, replace(problem, fix=Changed("size taken from the file"))
    return frame, problem


def _made_for(objects: Iterable[RawObject], stated: Size, size: Size) -> _Evidence:
    """Return which of two sizes the masks were made for, by what fits into one of them only."""
    votes: Counter[_Evidence] = Counter()
    for raw in objects:
        segmentation = raw.segmentation
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


def numbers_of(part: object) -> Sequence[float]:
    """Return the finite numbers of an outline, none if it is something else."""
    values = part.tolist() if isinstance(part, np.ndarray) else part
    return [float(v) for v in values if is_number(v)] if is_flat(values) else ()


def _fits(parts: Sequence[Sequence[float]], size: Size) -> bool:
    """Return whether outlines stay within an image."""
    height, width = size
    return all(
        max(part[0::2], default=0) <= width + limits.FITS
        and max(part[1::2], default=0) <= height + limits.FITS
        for part in parts
    )


def _is_same_picture(a: Size, b: Size) -> bool:
    """Return whether one size is the other resized, sides rounded to whole pixels."""
    small, large = sorted((a, b))
    factor = large[0] / small[0]
    return abs(small[1] * factor - large[1]) <= max(1.0, factor)


def _shown(size: Size) -> str:
    return f"{size[1]} x {size[0]}"
