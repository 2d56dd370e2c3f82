"""The faults that can be found in a moment before a training: no pixel and no mask is decoded.

What the readers refuse is not looked for again.
"""

import os
from collections.abc import Iterator

from fcis.core.errors import InputError
from fcis.data.checks.faults import (
    IN_TRAIN_AND_VAL,
    MISSING_FILE,
    ROTATED,
    UNREADABLE_FILE,
    UNUSED_CATEGORY,
    WRONG_SIZE,
    Finding,
    Issue,
    Kind,
    image_finding,
)
from fcis.data.dataset import Dataset, FileSource, ImageRecord
from fcis.imaging.reading import image_size


def check_files(dataset: Dataset) -> Iterator[Finding]:
    """Yield images whose files are missing or, by their headers, no image of the stated size."""
    for record in dataset.images:
        if isinstance(record.source, FileSource):
            issue = _file_issue(record, record.source)
            if issue is not None:
                yield image_finding(issue, record.id, record.file_name)


def check_categories_used(dataset: Dataset) -> Iterator[Finding]:
    """Yield categories that no object has."""
    used = {a.category_id for record in dataset.images for a in record.annotations}
    for category in dataset.categories:
        if category.id not in used:
            yield Finding(
                kind=UNUSED_CATEGORY,
                where=f"category {category.id} ({category.name})",
                text="has no object",
                repair="left as it is",
            )


def check_apart(train_set: Dataset, val_set: Dataset) -> Iterator[Finding]:
    """Yield images of the training set whose file is one of the validation set's."""
    files = {
        os.path.realpath(record.source.path): record.file_name
        for record in val_set.images
        if isinstance(record.source, FileSource)
    }
    for record in train_set.images if files else ():
        if isinstance(record.source, FileSource):
            other = files.get(os.path.realpath(record.source.path))
            if other is not None:
                issue = _issue(IN_TRAIN_AND_VAL, f"is in the validation set too, as {other}")
                yield image_finding(issue, record.id, record.file_name)


def _file_issue(record: ImageRecord, source: FileSource) -> Issue | None:
    """Return what the header of a file shows to be wrong."""
    if not source.path.is_file():
        return _issue(MISSING_FILE, f"has no file {source.path}")
    try:
        # Pillow decodes a PNG to look for EXIF behind its pixels; PNGs are hardly ever turned
        height, width = image_size(source.path, exif=source.path.suffix.lower() != ".png")
    except InputError as error:
        reason = str(error).removeprefix(f"{source}: ").partition("; ")[0]
        return _issue(UNREADABLE_FILE, f"cannot be read: {reason}")
    if (height, width) == (record.height, record.width):
        return None
    kind = ROTATED if (width, height) == (record.height, record.width) else WRONG_SIZE
    return _issue(
        kind,
        f"is {width} x {height} (width x height), but the dataset says {record.width} x "
        f"{record.height}",
    )


def _issue(kind: Kind, text: str) -> Issue:
    return Issue(kind, text, "see `fcis data check`")
