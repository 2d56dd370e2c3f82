"""The lists of a COCO file -> raw images with their objects, and what is wrong with the lists.

Ids that are none or not their own, and references that lead nowhere; all else stays as it stands.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import cast

from fcis.core.coco_types import ImageId
from fcis.data.checks.faults import (
    BAD_ANNOTATION,
    BAD_CATEGORY,
    BAD_IMAGE,
    DUPLICATE_ANNOTATION_ID,
    DUPLICATE_CATEGORY_ID,
    DUPLICATE_IMAGE_ID,
    UNKNOWN_IMAGE,
    Changed,
    Dropped,
    Finding,
    Kind,
    Problem,
    dropped_with,
    place_of,
)
from fcis.data.checks.limits import LONGEST_SIDE
from fcis.data.checks.raw import Entry, RawImage, RawObject, Size
from fcis.data.dataset import Category, FileSource
from fcis.data.formats.json_values import image_size_of, is_id, short

_NO_ID = "use a whole number or text"
_TWICE, _OWN = "occurs more than once", "give each its own"


class CocoLists:
    """The lists of images, annotations and categories, whose entries may be anything.

    Attributes:
        findings: what is wrong with ids and references.
        categories: those that can be used, in ascending order of their ids.
        category_entries: the same in the file.
    """

    def __init__(
        self,
        images: Sequence[object],
        annotations: Sequence[object],
        categories: Sequence[object],
        folder: Path,
    ) -> None:
        self.findings: list[Finding] = []
        self._folder = folder
        self._annotations = annotations
        self._images: dict[ImageId, Entry] = {}
        self._objects: dict[ImageId, list[Entry]] = {}
        # by where an entry is in memory: its own id is what is wrong
        self._new_ids: dict[int, ImageId] = {}
        lost_images = self._read_images(images)
        found, lost_categories = self._read_categories(categories)
        self.category_entries = [entry for entry, _ in found]
        self.categories = tuple(sorted((c for _, c in found), key=lambda category: category.id))
        self._read_annotations(lost_images, lost_categories)

    def images(self) -> Iterator[RawImage]:
        """Yield the images that have an id and a file name of their own."""
        for image_id, entry in self._images.items():
            name, problems = str(entry["file_name"]), ()
            stated = image_size_of(entry.get("height"), entry.get("width"))
            if stated is None:
                got = f"{short(entry.get('height'))} and {short(entry.get('width'))}"
                text = f"needs a positive 'height' and 'width', got {got}"
                fix = Changed("size taken from the file")
                remedy = f"correct them; a side has at most {LONGEST_SIDE:,} px"
                problems = (Problem(BAD_IMAGE, text, remedy, fix),)
            yield RawImage(
                id=image_id,
                file_name=name,
                source=FileSource(path=self._folder / (file_name(entry) or name)),
                objects=partial(self._objects_of, image_id, f"image {image_id!r}, {name}"),
                stated=stated,
                problems=problems,
                entry=entry,
            )

    def _objects_of(self, image_id: ImageId, place: str, size: Size) -> Iterator[RawObject]:
        """Yield the objects of an image, whatever its size."""
        for entry in self._objects.get(image_id, ()):
            own = self._new_ids.get(id(entry)) or entry["id"]
            yield RawObject(
                f"annotation {own!r} ({place})",
                cast(ImageId, own),
                entry.get("category_id"),
                entry.get("segmentation"),
                entry.get("bbox"),
                entry.get("area"),
                entry.get("iscrowd", 0),
                (),
                entry,
            )

    def _read_images(self, entries: Sequence[object]) -> set[ImageId]:
        """Keep the images that can be told apart; return the ids of others."""
        lost: set[ImageId] = set()
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, dict):
                self._say_no_entry(BAD_IMAGE, "images", number, entry)
                continue
            own, name = entry.get("id"), file_name(entry)
            file = f"{name}: " if name else ""
            if not is_id(own):
                problem = Problem(BAD_IMAGE, f"has the id {own!r}", _NO_ID)
                self._say(f"{file}image number {number}", problem, name)
            elif not name:
                fix = dropped_with(self._counts["image_id"][own])
                self._say(f"image {own!r}", Problem(BAD_IMAGE, "has no 'file_name'", "add it", fix))
                lost.add(own)
            elif own not in self._images:
                self._images[own] = entry
            elif file_name(self._images[own]) == name:
                fix = Dropped("; the image before it stays")
                problem = Problem(DUPLICATE_IMAGE_ID, _TWICE, _OWN, fix)
                self._say(f"{file}image id {own!r}", problem, name, own)
            else:
                fix = dropped_with(self._counts["image_id"][own])
                problem = Problem(DUPLICATE_IMAGE_ID, _TWICE, _OWN, fix)
                first = file_name(self._images[own])
                for each in (name,) if own in lost else (first, name):
                    self._say(f"{each}: image id {own!r}", problem, each, own)
                lost.add(own)
        for own in lost:
            self._images.pop(own, None)
        return lost

    def _read_categories(
        self, entries: Sequence[object]
    ) -> tuple[list[tuple[Entry, Category]], set[ImageId]]:
        """Return the categories that can be told apart, and the ids of others."""
        lost: set[ImageId] = set()
        found: dict[ImageId, tuple[Entry, Category]] = {}
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, dict):
                self._say_no_entry(BAD_CATEGORY, "categories", number, entry)
                continue
            own, name = entry.get("id"), entry.get("name")
            if not is_id(own):
                problem = Problem(BAD_CATEGORY, f"has the id {own!r}", _NO_ID)
                self._say(f"category number {number}", problem)
                continue
            if own in found:
                first = found[own][1].name
                is_same = first == name
                fix = Dropped("; the category before it stays") if is_same else self._lost(own)
                for each in (name,) if is_same or own in lost else (first, name):
                    text = f"{_TWICE}, as {each!r}"
                    problem = Problem(DUPLICATE_CATEGORY_ID, text, _OWN, fix)
                    self._say(f"category id {own!r}", problem)
                lost |= set() if is_same else {own}
            elif isinstance(own, str):
                problem = Problem(BAD_CATEGORY, "is text", "use whole numbers", self._lost(own))
                self._say(f"category id {own!r}", problem)
                lost.add(own)
            elif not name or not isinstance(name, str):
                problem = Problem(BAD_CATEGORY, "has no 'name'", "add it", self._lost(own))
                self._say(f"category {own}", problem)
                lost.add(own)
            else:
                found[own] = entry, Category(id=own, name=name)
        return [each for own, each in found.items() if own not in lost], lost

    def _read_annotations(self, lost_images: set[ImageId], lost: set[ImageId]) -> None:
        """Sort the annotations by their images; those of lost ones, or categories, go with them."""
        seen: set[ImageId] = set()
        images, objects = self._images, self._objects
        for number, entry in enumerate(self._annotations, start=1):
            if not isinstance(entry, dict):
                self._say_no_entry(BAD_ANNOTATION, "annotations", number, entry)
                continue
            own, image_id = entry.get("id"), entry.get("image_id")
            if is_id(own) and own not in seen:
                seen.add(own)
            else:
                self._give_id(number, entry)
            if lost and is_id(entry.get("category_id")) and entry["category_id"] in lost:
                continue
            if is_id(image_id) and image_id in images:
                objects.setdefault(image_id, []).append(entry)
            elif not is_id(image_id) or image_id not in lost_images:
                text = f"refers to image {image_id!r}, which is not among the images"
                remedy = "add the image or remove the annotation"
                place = f"annotation {own!r}" if is_id(own) else f"annotation number {number}"
                self._say(place, Problem(UNKNOWN_IMAGE, text, remedy), None, image_id, own)

    def _give_id(self, number: int, entry: Entry) -> None:
        """Give an annotation an id that no other has."""
        own, image_id = entry.get("id"), entry.get("image_id")
        new = self._new_ids[id(entry)] = next(self._unused_ids)
        fix = Changed(f"given the id {new}")
        image = self._images.get(image_id) if is_id(image_id) else None
        name = file_name(image) if image else None
        place = f"{place_of(image_id, name)}: " if name else ""
        if is_id(own):
            problem = Problem(DUPLICATE_ANNOTATION_ID, _TWICE, _OWN, fix)
            self._say(f"{place}annotation id {own!r}", problem, name, image_id, own)
        else:
            problem = Problem(BAD_ANNOTATION, f"has the id {own!r}", _NO_ID, fix)
            self._say(f"{place}annotation number {number}", problem, name, image_id)

    @cached_property
    def _unused_ids(self) -> Iterator[int]:
        ids = (entry.get("id") for entry in self._annotations if isinstance(entry, dict))
        return count(max((i for i in ids if isinstance(i, int)), default=0) + 1)

    def _lost(self, category_id: ImageId) -> Dropped:
        return dropped_with(self._counts["category_id"][category_id], "the {} of its id")

    @cached_property
    def _counts(self) -> dict[str, Counter[ImageId]]:
        """Return how many annotations refer to each image, and to each category."""
        entries = [entry for entry in self._annotations if isinstance(entry, dict)]
        return {
            key: Counter(entry[key] for entry in entries if is_id(entry.get(key)))
            for key in ("image_id", "category_id")
        }

    def _say_no_entry(self, kind: Kind, key: str, number: int, entry: object) -> None:
        text = f"is not a list of dictionaries: number {number} is {short(entry)}"
        self._say(f"{key!r}", Problem(kind, text, "correct or remove it"))

    def _say(
        self,
        where: str,
        problem: Problem,
        name: str | None = None,
        image_id: object = None,
        annotation_id: object = None,
    ) -> None:
        ids = (each if is_id(each) else None for each in (image_id, annotation_id))
        self.findings.append(Finding(where, problem, next(ids), name or "", next(ids)))


def file_name(entry: object) -> str | None:
    """Return the 'file_name' of an entry with forward slashes, None if it has none."""
    value = entry.get("file_name") if isinstance(entry, dict) else None
    # exporters on Windows write backslashes
    return value.replace("\\", "/") if isinstance(value, str) and value else None
