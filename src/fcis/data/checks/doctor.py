"""A raw dataset and its files -> `Diagnosis`: every fault, and the dataset without them.

Knows no file and draws nothing; `repair` writes what came out.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from fcis.core.coco_types import ImageId
from fcis.core.masks import rle_box
from fcis.data.checks.annotation_check import Frame, check_annotation
from fcis.data.checks.faults import (
    BAD_ANNOTATION,
    BAD_CATEGORY,
    DUPLICATE_ANNOTATION_ID,
    DUPLICATE_CATEGORY_ID,
    DUPLICATE_CATEGORY_NAME,
    DUPLICATE_OBJECT,
    NO_OBJECTS,
    SMALL_OBJECTS,
    UNKNOWN_CATEGORY,
    UNKNOWN_IMAGE,
    UNUSED_CATEGORY,
    Finding,
    Issue,
    annotation_finding,
    image_finding,
)
from fcis.data.checks.image_check import ValImages, check_images, is_id
from fcis.data.checks.image_facts import ImageFacts
from fcis.data.checks.mask_check import DROPPED
from fcis.data.checks.raw import RawDataset

SMALL = 8  # px; below, objects are mostly missed

Entry = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a check found.

    Attributes:
        findings: the faults: of the categories, of the images, of the annotations.
        frames: the images of a corrected copy, in the order of the dataset.
        annotations: those of a corrected copy.
        categories: those of a corrected copy.
    """

    findings: tuple[Finding, ...]
    frames: tuple[Frame, ...]
    annotations: tuple[Entry, ...]
    categories: tuple[Entry, ...]

    def count(self, severity: str) -> int:
        """Return the number of findings of that severity."""
        return sum(finding.kind.severity == severity for finding in self.findings)


def diagnose(
    raw: RawDataset,
    facts: Sequence[ImageFacts],
    *,
    val: ValImages | None = None,
    factor_of: Callable[[tuple[int, int]], float] | None = None,
) -> Diagnosis:
    """Return all faults of a dataset, and what is left when they are repaired.

    Args:
        raw: the dataset.
        facts: of each of its images' files.
        val: what the validation set has of its images.
        factor_of: by how much a network enlarges an image of (height, width); None: not at all.
    """
    findings: list[Finding] = []
    categories, category_of = _check_categories(raw, findings)
    frames, more = check_images(raw, facts, val)
    findings += more
    annotations = _AnnotationCheck(raw, frames, category_of, findings)
    for number, entry in enumerate(raw.annotations, start=1):
        annotations.add(number, entry)
    kept = tuple(frame for id, frame in frames.items() if frame.is_kept and frame.id == id)
    findings += _remarks(kept, annotations, factor_of)
    return Diagnosis(
        findings=tuple(findings),
        frames=kept,
        annotations=tuple(annotations.kept),
        categories=categories,
    )


def _check_categories(
    raw: RawDataset, findings: list[Finding]
) -> tuple[tuple[Entry, ...], dict[int, int]]:
    """Return the usable categories, and the one of them that every usable id stands for."""

    def say(issue: Issue, where: str) -> None:
        findings.append(Finding(kind=issue.kind, where=where, text=issue.text, repair=issue.repair))

    used = Counter(
        entry["category_id"]
        for entry in raw.annotations
        if isinstance(entry, dict) and is_id(entry.get("category_id"))
    )
    names_of: dict[int, set[str]] = {}
    usable: list[Entry] = []
    for number, entry in enumerate(raw.categories, start=1):
        entry = entry if isinstance(entry, dict) else {}
        id, name = entry.get("id"), entry.get("name")
        if not isinstance(id, int) or isinstance(id, bool) or not name or not isinstance(name, str):
            text = f"has the id {id!r} and the name {name!r}"
            lost = f"{DROPPED} with the {used[id]} annotations of its id" if is_id(id) else DROPPED
            say(Issue(BAD_CATEGORY, text, lost), f"category number {number}")
            continue
        names_of.setdefault(id, set()).add(name)
        usable.append(entry)
    kept: list[Entry] = []
    category_of: dict[int, int] = {}
    id_of: dict[str, int] = {}
    for entry in usable:
        id, name = entry["id"], entry["name"]
        assert isinstance(id, int) and isinstance(name, str)
        where = f"category {id} ({name})"
        if len(names_of[id]) > 1:
            lost = f"{DROPPED} with the {used[id]} annotations of its id"
            say(Issue(DUPLICATE_CATEGORY_ID, "shares its id with another name", lost), where)
        elif id in category_of:
            repair = "dropped; the category before it stays"
            say(Issue(DUPLICATE_CATEGORY_ID, "is there more than once", repair), where)
        elif name in id_of:
            category_of[id] = id_of[name]
            text = f"has the name of category {id_of[name]}"
            repair = f"merged with category {id_of[name]}"
            say(Issue(DUPLICATE_CATEGORY_NAME, text, repair), where)
        else:
            category_of[id] = id_of[name] = id
            kept.append(entry)
            if not used[id]:
                say(Issue(UNUSED_CATEGORY, "has no object", "left as it is"), where)
    return tuple(kept), category_of


class _AnnotationCheck:
    """Annotation after annotation; keeps what came before."""

    def __init__(
        self,
        raw: RawDataset,
        frames: Mapping[ImageId, Frame],
        category_of: Mapping[int, int],
        findings: list[Finding],
    ) -> None:
        self.kept: list[Entry] = []
        self.sizes: list[tuple[Frame, float]] = []
        self._frames = frames
        self._category_of = category_of
        self._findings = findings
        self._ids: set[ImageId] = set()
        self._masks: dict[tuple[ImageId, bytes], tuple[ImageId, object]] = {}
        # annotations of entries that were found unusable are dropped with them
        self._images, self._categories = _ids(raw.images), _ids(raw.categories)
        numbers = [id for id in _ids(raw.annotations) if isinstance(id, int)]
        self._new_ids = count(max(numbers, default=0) + 1)

    def add(self, number: int, entry: object) -> None:
        """Check one annotation."""
        if not isinstance(entry, dict):
            issue = Issue(BAD_ANNOTATION, "is not a dictionary", DROPPED)
            self._findings.append(annotation_finding(issue, f"number {number}", None, ""))
            return
        id, image_id = entry.get("id"), entry.get("image_id")
        frame = self._frames.get(image_id) if is_id(image_id) else None
        category = entry.get("category_id")
        known = self._category_of.get(category) if isinstance(category, int) else None
        name = frame.file_name if frame else ""

        lost = DROPPED if known is None else ""
        if frame is not None and not frame.is_kept:
            lost = f"{DROPPED} with its image"

        def say(issue: Issue) -> None:
            issue = issue._replace(repair=lost or issue.repair)
            self._findings.append(annotation_finding(issue, id, image_id, name))

        new_id, issue = self._own_id(id)
        if issue:
            say(issue)
        if frame is None:
            if not is_id(image_id) or image_id not in self._images:
                text = f"refers to image {image_id!r}, which is not among the images"
                say(Issue(UNKNOWN_IMAGE, text, DROPPED))
            return
        if known is None and (not is_id(category) or category not in self._categories):
            text = f"refers to category {category!r}, which is not among the categories"
            say(Issue(UNKNOWN_CATEGORY, text, DROPPED))
        checked = check_annotation(entry, frame)
        for issue in checked.issues:
            say(issue)
        if checked.entry is None or checked.rle is None or known is None:
            return
        is_crowd = checked.entry.get("iscrowd") == 1
        issue = None if is_crowd else self._repeated(frame.id, new_id, known, checked.rle["counts"])
        if issue:
            say(issue)
        if not frame.is_kept or (issue and issue.repair == DROPPED):
            return
        changed = {**checked.entry, "id": new_id, "image_id": frame.id, "category_id": known}
        self.kept.append(changed)
        if not is_crowd:
            x0, y0, x1, y1 = rle_box(checked.rle)
            self.sizes.append((frame, ((x1 - x0) * (y1 - y0)) ** 0.5))

    def _own_id(self, id: object) -> tuple[ImageId, Issue | None]:
        """Return an id that no other annotation has."""
        if isinstance(id, int | str) and is_id(id) and id not in self._ids:
            self._ids.add(id)
            return id, None
        new_id = next(self._new_ids)
        if is_id(id):
            text = "has the id of an annotation before it"
            return new_id, Issue(DUPLICATE_ANNOTATION_ID, text, f"given the id {new_id}")
        return new_id, Issue(BAD_ANNOTATION, "has no usable 'id'", f"given the id {new_id}")

    def _repeated(
        self, image_id: ImageId, id: ImageId, category: int, counts: bytes
    ) -> Issue | None:
        """Return whether another object of the image has the same mask."""
        first, known = self._masks.setdefault((image_id, counts), (id, category))
        if first == id:
            return None
        text = f"has the mask of annotation {first!r}"
        if known == category:
            return Issue(DUPLICATE_OBJECT, text, DROPPED)
        return Issue(DUPLICATE_OBJECT, f"{text}, of another category", "left as it is")


def _ids(entries: Sequence[object]) -> set[ImageId]:
    """Return the usable ids of a list."""
    ids = (entry.get("id") for entry in entries if isinstance(entry, dict))
    return {id for id in ids if is_id(id)}


def _remarks(
    frames: Sequence[Frame],
    annotations: _AnnotationCheck,
    factor_of: Callable[[tuple[int, int]], float] | None,
) -> list[Finding]:
    """Return what is good to know of what is left."""
    occupied = {entry["image_id"] for entry in annotations.kept}
    issue = Issue(NO_OBJECTS, "has no object", "left as it is")
    found = [image_finding(issue, f.id, f.file_name) for f in frames if f.id not in occupied]
    sides = [
        side * (factor_of(frame.size) if factor_of else 1.0) for frame, side in annotations.sizes
    ]
    small = sum(side < SMALL for side in sides)
    if small:
        scale = "after resizing as the recipe says" if factor_of else "in their images"
        found.append(
            Finding(
                kind=SMALL_OBJECTS,
                where=f"{small} of {len(sides)} objects ({small / len(sides):.0%})",
                text=f"are below {SMALL} px {scale}",
                repair="left as it is",
            )
        )
    return found
