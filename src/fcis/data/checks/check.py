"""A raw dataset -> everything that is wrong with it, and the dataset without that.

Reading for a training refuses the first finding of a quick check, which looks only for what no
training could use and opens no image. `fcis data check` lists those of a whole one, and `--fix`
writes the dataset that is left.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from fcis.core.errors import InputError
from fcis.data.checks.faults import Finding
from fcis.data.checks.raw import Entry, RawDataset
from fcis.data.checks.walk import FactorOf, Walk
from fcis.data.dataset import Dataset, ImageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found.

    Attributes:
        findings: the faults: of lists, of categories, of images with their objects.
        dataset: what is left when they are repaired.
        counts: of images, objects and categories before that.
        document: of a COCO file, the same as `dataset`, with all else that the file says.
    """

    findings: tuple[Finding, ...]
    dataset: Dataset
    counts: tuple[int, int, int]
    document: Entry | None = None

    def count(self, severity: str) -> int:
        """Return the number of findings of that severity."""
        return sum(finding.kind.severity == severity for finding in self.findings)


class FaultsFound(InputError):
    """A dataset is refused for what `fcis data check` lists."""


def refuse(raw: RawDataset) -> Dataset:
    """Return a dataset in which a quick check finds nothing.

    Objects without a pixel are left out with a warning, if they are few enough.

    Raises:
        FaultsFound: the first finding, with the number of others; or images are missing.
    """
    checked = check(raw, is_quick=True)
    empty = [finding for finding in checked.findings if finding.problem.is_empty]
    faults = [finding for finding in checked.findings if not finding.problem.is_empty]
    left_out = dict.fromkeys(finding.where for finding in empty)
    if len(left_out) > raw.tolerated_empty * checked.counts[1]:
        faults += empty
    if faults:
        more = len({finding.where for finding in faults}) - 1
        rest = f" (and {more} more such problem{'s' * (more > 1)})" if more else ""
        raise FaultsFound(f"{raw.prefix}{faults[0].refusal}{rest}")
    if raw.looked_in:
        _check_folder(raw, checked.dataset.images)
    if left_out:
        warnings.warn(
            f"{raw.prefix or f'{raw.name}: '}{len(left_out)} {raw.empty} are left out; the first: "
            f"{empty[0].where}",
            stacklevel=3,
        )
    return checked.dataset


def _check_folder(raw: RawDataset, images: Sequence[ImageRecord]) -> None:
    """Refuse a folder that lacks images: probably it is the wrong one."""
    missing = [i for i in images if not os.path.isfile(str(i.source))]
    if missing:
        all_missing = len(missing) == len(images)
        tried = raw.looked_in if all_missing else raw.looked_in[:1]
        raise FaultsFound(
            f"{raw.prefix}{len(missing)} of {len(images)} image files are missing, the first is "
            f"{missing[0].file_name} (looked in {', '.join(map(str, tried))}); name the folder "
            "with --images DIR"
        )


def check(
    raw: RawDataset,
    *,
    is_quick: bool = False,
    val: RawDataset | None = None,
    factor_of: FactorOf | None = None,
) -> Checked:
    """Return all faults of a dataset, and what is left when they are repaired.

    Args:
        raw: the dataset.
        is_quick: look only for what no training could use, and open no image.
        val: the validation set, to find images that are in both.
        factor_of: by how much a network enlarges an image of (height, width); None: not at all.
    """
    walk = Walk(raw, is_quick=is_quick)
    if is_quick:
        records = [walk.record(image) for image in raw.images]
    else:
        records = walk.all_records(list(raw.images), val)
        walk.remark(factor_of)
    images = tuple(record for record in records if record is not None)
    return Checked(
        findings=(*raw.findings, *walk.findings),
        dataset=Dataset(name=raw.name, categories=walk.categories, images=images),
        counts=raw.counts or (walk.images, walk.objects, len(raw.categories)),
        document=raw.document and {**raw.document, **walk.document()},
    )
