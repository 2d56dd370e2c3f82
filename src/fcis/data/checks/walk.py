"""Image after image of a raw dataset -> what is wrong with each, and what is left of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from fcis.core.coco_types import ImageId
from fcis.core.masks import rle_box
from fcis.core.progress import progress
from fcis.data.checks import limits
from fcis.data.checks.faults import (
    DUPLICATE_CATEGORY_NAME,
    DUPLICATE_FILE,
    DUPLICATE_OBJECT,
    NO_OBJECTS,
    SMALL_OBJECTS,
    UNKNOWN_CATEGORY,
    UNUSED_CATEGORY,
    Changed,
    Dropped,
    Finding,
    Kept,
    Problem,
    dropped_with,
)
from fcis.data.checks.image_check import Frame, compare_images, settle
from fcis.data.checks.image_facts import look_at
from fcis.data.checks.object_check import ObjectCheck, check_object, rescaled
from fcis.data.checks.raw import Entry, RawDataset, RawImage, RawObject, Size
from fcis.data.dataset import (
    Annotation,
    Category,
    FileSource,
    ImageRecord,
    ImageSource,
    Polygons,
)
from fcis.imaging.reading import image_size

FactorOf = Callable[[Size], float]
"""By how much a network enlarges an image of (height, width)."""


class Walk:
    """Image after image, object after object; keeps what came before."""

    def __init__(self, raw: RawDataset, *, is_quick: bool) -> None:
        self.findings: list[Finding] = []
        self.images = self.objects = 0
        self._raw = raw
        self._is_quick = is_quick
        self._category_of = {category.id: category.id for category in raw.categories}
        self._used: set[object] = set()
        self._background: list[RawImage] = []
        self._sides: list[tuple[Size, float]] = []  # of images, and of objects in them
        self._image_entries: list[Entry] = []
        self._object_entries: list[Entry] = []
        if not is_quick:
            self._merge_categories()

    @property
    def categories(self) -> tuple[Category, ...]:
        """Return the categories that are left."""
        kept = set(self._category_of.values())
        return tuple(category for category in self._raw.categories if category.id in kept)

    def document(self) -> Entry:
        """Return the lists of a COCO file that are left."""
        kept = {category.id for category in self.categories}
        entries = (self._raw.document or {}).get("categories") or ()
        assert isinstance(entries, Sequence)
        return {
            "images": self._image_entries,
            "annotations": self._object_entries,
            "categories": [entry for entry in entries if entry["id"] in kept],
        }

    def all_records(
        self, images: Sequence[RawImage], val: RawDataset | None
    ) -> list[ImageRecord | None]:
        """Return what is left of the images; those of one file become one."""
        same = compare_images(images, list(val.images)) if val is not None else None
        groups: dict[object, list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(image.source or index, []).append(index)
        records: list[ImageRecord | None] = []
        for index, *more in progress(groups.values(), total=len(groups), what="checking"):
            first, others = images[index], [images[i] for i in more]
            fix = Changed(f"its annotations given to image {first.id!r}")
            text = f"is the file of image {first.id!r} too"
            for image in others:
                self._say(image, image.place, Problem(DUPLICATE_FILE, text, fix=fix))
            self.images += len(others)
            found = same.problems(index, first.file_name) if same else ()
            records.append(self.record(first, others, found))
        return records

    def record(
        self, image: RawImage, others: Sequence[RawImage] = (), found: Sequence[Problem] = ()
    ) -> ImageRecord | None:
        """Return what is left of an image, None if it is dropped.

        Args:
            image: the image.
            others: images of the same file.
            found: what is wrong with it beside the others.
        """
        self.images += 1
        frame, problems = self._settle(image)
        named = [(image.where or image.place, problem) for problem in image.problems]
        named += [(image.place, problem) for problem in (*found, *problems)]
        is_lost = any(isinstance(problem.fix, Dropped) for _, problem in named)
        raws: list[RawObject] = []
        if not (self._is_quick and named):
            raws = [raw for each in (image, *others) for raw in each.objects(frame.stated)]
        for where, problem in named:
            if problem.fix == Dropped():
                problem = replace(problem, fix=dropped_with(len(raws)))
            self._say(image, where, problem)
        masks: dict[bytes, tuple[RawObject, int]] = {}
        if not frame.is_known:
            self.objects += len(raws)
            return None
        found_objects = [self._object(raw, image, frame, masks, is_lost=is_lost) for raw in raws]
        annotations = tuple(a for a in found_objects if a is not None)
        if is_lost:
            return None
        if not annotations:
            self._background.append(image)
        height, width = frame.size
        if image.entry is not None and not self._is_quick:
            self._image_entries.append({**image.entry, "height": height, "width": width})
        assert frame.source is not None
        return ImageRecord(
            id=image.id,
            file_name=image.file_name,
            height=height,
            width=width,
            source=frame.source,
            annotations=annotations,
        )

    def _settle(self, image: RawImage) -> tuple[Frame, Sequence[Problem]]:
        """Return what an image is to its objects, and what is wrong with its file."""
        if image.source is not None and not self._is_quick:
            return settle(image, look_at(image.source))
        size = image.stated
        if size is None:
            if image.source is None or image.problems:
                return Frame(source=None, size=(1, 1), stated=(1, 1), is_known=False), ()
            size = _size_of(image.source)
        return Frame(source=image.source, size=size, stated=size), ()

    def _object(
        self,
        raw: RawObject,
        image: RawImage,
        frame: Frame,
        masks: dict[bytes, tuple[RawObject, int]],
        *,
        is_lost: bool,
    ) -> Annotation | None:
        """Return what is left of an object; `masks` has those of the image that came before."""
        self.objects += 1
        category = raw.category_id
        known = self._category_of.get(category) if isinstance(category, int) else None
        done = check_object(raw, known or 0, frame.stated, is_quick=self._is_quick)
        problems = done.problems
        if self._is_quick and known is not None and not problems:
            return done.annotation
        if known is None and not raw.problems:
            text = f"refers to category {category!r}, which is not among the categories"
            remedy = "add the category or correct the annotation"
            lost = (replace(problem, fix=Dropped()) for problem in problems)
            problems = [Problem(UNKNOWN_CATEGORY, text, remedy), *lost]
        if not self._is_quick and known is not None:
            self._used.add(category)
            problems = [*problems, *_repeated(raw, known, done, masks)]
        for problem in problems:
            if is_lost:
                problem = replace(problem, fix=Dropped(" with its image"))
            self._say(image, raw.where, problem, raw.id)
        annotation = done.annotation
        is_dropped = any(isinstance(problem.fix, Dropped) for problem in problems)
        if annotation is None or is_lost or is_dropped or self._is_quick:
            return None if is_dropped else annotation
        return self._keep(raw, annotation, done, image, frame)

    def _keep(
        self,
        raw: RawObject,
        annotation: Annotation,
        done: ObjectCheck,
        image: RawImage,
        frame: Frame,
    ) -> Annotation:
        """Return an object for the image of a corrected copy, noting what it is there."""
        changed = done.changed
        if frame.size != frame.stated:
            annotation = rescaled(annotation, frame.stated, frame.size)
            changed = changed | {"bbox", "area", "segmentation"}
        if raw.entry is not None:
            entry = {**raw.entry, "id": annotation.id, "image_id": image.id}
            entry["category_id"] = annotation.category_id
            entry |= {k: v for k, v in _fields(annotation).items() if k in changed and k in entry}
            self._object_entries.append(entry)
        if not annotation.is_crowd:
            x0, y0, x1, y1 = rle_box(annotation.rle)
            self._sides.append((frame.size, ((x1 - x0) * (y1 - y0)) ** 0.5))
        return annotation

    def _merge_categories(self) -> None:
        """Make one category of those that share their name."""
        id_of: dict[str, int] = {}
        for category in self._raw.categories:
            first = id_of.setdefault(category.name, category.id)
            if first != category.id:
                self._category_of[category.id] = first
                text, fix = f"has the name of category {first}", f"merged with category {first}"
                problem = Problem(DUPLICATE_CATEGORY_NAME, text, fix=Changed(fix))
                self.findings.append(Finding(name_of(category), problem))

    def remark(self, factor_of: FactorOf | None) -> None:
        """Note what is good to know of what is left."""
        unused = (c for c in self.categories if c.id not in self._used)
        self.findings += map(unused_category, unused)
        for image in self._background:
            self._say(image, image.place, Problem(NO_OBJECTS, "has no object", fix=Kept()))
        factors = [factor_of(size) if factor_of else 1.0 for size, _ in self._sides]
        small = sum(
            side * factor < limits.SMALL
            for (_, side), factor in zip(self._sides, factors, strict=True)
        )
        if small:
            scale = "after resizing as the recipe says" if factor_of else "in their images"
            problem = Problem(SMALL_OBJECTS, f"are below {limits.SMALL} px {scale}", fix=Kept())
            where = f"{small} of {len(factors)} objects ({small / len(factors):.0%})"
            self.findings.append(Finding(where, problem))

    def _say(
        self, image: RawImage, where: str, problem: Problem, id: ImageId | None = None
    ) -> None:
        self.findings.append(Finding(where, problem, image.id, image.file_name, id))


def unused_category(category: Category) -> Finding:
    """Return that no object has a category."""
    problem = Problem(UNUSED_CATEGORY, "has no object", fix=Kept())
    return Finding(name_of(category), problem)


def name_of(category: Category) -> str:
    """Return the place of a category."""
    return f"category {category.id} ({category.name})"


def _size_of(source: ImageSource) -> Size:
    """Return (height, width) of an image of which nothing says it."""
    if isinstance(source, FileSource):
        return image_size(source.path)
    height, width, _ = source.read().shape
    return height, width


def _repeated(
    raw: RawObject, category: int, done: ObjectCheck, masks: dict[bytes, tuple[RawObject, int]]
) -> Iterator[Problem]:
    """Yield that another object of the image has the same mask."""
    if done.annotation is None or done.rle is None or done.annotation.is_crowd:
        return
    first, other = masks.setdefault(done.rle["counts"], (raw, category))
    if first is not raw:
        text = f"has the mask of {first.where}"
        if other == category:
            yield Problem(DUPLICATE_OBJECT, text)
        else:
            yield Problem(DUPLICATE_OBJECT, f"{text}, of another category", fix=Kept())


def _fields(annotation: Annotation) -> dict[str, object]:
    """Return an object as a COCO file holds it."""
    x0, y0, x1, y1 = annotation.box
    mask = annotation.mask
    if isinstance(mask, Polygons):
        segmentation: object = [part.tolist() for part in mask.parts]
    else:
        segmentation = {"size": list(mask["size"]), "counts": mask["counts"].decode("ascii")}
    return {
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": annotation.area,
        "iscrowd": int(annotation.is_crowd),
        "segmentation": segmentation,
    }
