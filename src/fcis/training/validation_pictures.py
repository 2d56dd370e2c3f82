"""A few validation images at every validation: what is annotated beside what was found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from fcis.core.masks import crop_from_rle
from fcis.core.output_files import put_file
from fcis.data.dataset import Dataset, ImageRecord
from fcis.imaging.drawing import contact_sheet
from fcis.imaging.instances import Instances
from fcis.training.folder import REMEDY

PICTURES = "pictures"
_MOST_SIDE = 512  # px of a picture in a sheet; larger ones are shrunk
_COLUMNS = 2  # pairs in a row of a sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One image twice, with its annotated and with its found instances, and the titles."""

    name: str
    annotated: Image.Image
    found: Image.Image
    titles: tuple[str, str]


def chosen_records(dataset: Dataset, count: int) -> tuple[ImageRecord, ...]:
    """Return records spread evenly over those with objects, always the same; at most `count`."""
    records = [r for r in dataset.images if r.annotations] or list(dataset.images)
    count = min(count, len(records))
    return tuple(records[i * len(records) // count] for i in range(count))


def compare(record: ImageRecord, dataset: Dataset, found: Instances) -> Pair:
    """Return a record's objects, crowd regions left out, beside what was found in it.

    Args:
        record: of the dataset.
        dataset: whose categories `found` has, too.
        found: with its image.
    """
    objects = [a for a in record.annotations if not a.is_crowd]
    label_of = dataset.label_of
    truth = replace(
        found,
        scores=np.ones(len(objects), dtype=np.float32),
        labels=np.array([label_of[a.category_id] for a in objects], dtype=np.int64),
        crops=tuple(crop_from_rle(a.rle) for a in objects),
    )
    return Pair(
        name=record.file_name,
        annotated=_shrunk(truth.draw(text=False)),
        found=_shrunk(found.draw()),
        titles=(f"{record.file_name}: {len(truth)} annotated", f"{len(found)} found"),
    )


def write_sheet(folder: Path, step: int, pairs: Sequence[Pair]) -> Path:
    """Write all pairs as one picture in the run's folder of pictures; return its path.

    Raises:
        InputError: it cannot be written.
    """
    path = sheet_path(folder, step)
    pictures = [picture for pair in pairs for picture in (pair.annotated, pair.found)]
    titles = [title for pair in pairs for title in pair.titles]
    sheet = contact_sheet(pictures, 2 * min(_COLUMNS, len(pairs)) or 1, titles)
    put_file(path, lambda file: sheet.save(file, format="PNG"), remedy=REMEDY)
    return path


def sheet_path(folder: Path, step: int) -> Path:
    """Return where the pictures of a step lie in a run's folder."""
    return folder / PICTURES / f"step-{step:06}.png"


def _shrunk(picture: Image.Image) -> Image.Image:
    picture.thumbnail((_MOST_SIDE, _MOST_SIDE))
    return picture
