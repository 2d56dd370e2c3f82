"""The faults that can be found in a moment before a training: no pixel and no mask is decoded.

What reading refuses is not looked for again.
"""

import os
from collections.abc import Iterator

from fcis.data.checks.faults import IN_TRAIN_AND_VAL, Finding, Problem, place_of
from fcis.data.checks.image_check import size_problem
from fcis.data.checks.image_facts import look_at
from fcis.data.checks.walk import unused_category
from fcis.data.dataset import Dataset, FileSource, ImageRecord


def check_files(dataset: Dataset) -> Iterator[Finding]:
    """Yield images whose files are missing or, by their headers, no image of the stated size."""
    for record in dataset.images:
        if isinstance(record.source, FileSource):
            facts = look_at(record.source, is_quick=True)
            stated = record.height, record.width
            if facts.problem is not None:
                yield _finding(record, facts.problem)
            elif facts.size is not None and facts.size != stated:
                yield _finding(record, size_problem(facts.size, stated))


def check_categories_used(dataset: Dataset) -> Iterator[Finding]:
    """Yield categories that no object has."""
    used = {a.category_id for record in dataset.images for a in record.annotations}
    yield from (unused_category(c) for c in dataset.categories if c.id not in used)


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
                text = f"is in the validation set too, as {other}"
                yield _finding(record, Problem(IN_TRAIN_AND_VAL, text))


def _finding(record: ImageRecord, problem: Problem) -> Finding:
    place = place_of(record.id, record.file_name)
    return Finding(place, problem, record.id, record.file_name)
