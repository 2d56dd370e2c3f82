"""`Dataset` -> a YOLO segmentation set: `data.yaml`, `images/` and `labels/`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float64

from fcis.data.dataset import Dataset, ImageRecord
from fcis.data.formats.copied_images import write_image
from fcis.data.formats.folders import watched
from fcis.data.formats.outlines import one_outline

# After the point. Points come back as they were, rounded to the digits that the reader keeps, in
# images of up to 10,000 px.
_DIGITS = 10


def write_yolo(dataset: Dataset, names: Sequence[str], out: Path) -> Path:
    """Write a dataset into a folder and return its `data.yaml`.

    Classes are numbered from 0 in the order of their labels. Each object is one polygon, with
    cuts of no width to its holes and pieces. Crowds are left out.

    Args:
        dataset: what to write.
        names: of the image files, as `output_names` gives them.
        out: an empty folder.

    Raises:
        InputError: an image cannot be read.
        OSError: something cannot be written.
    """
    labels = dataset.label_of
    for record, name in watched(list(zip(dataset.images, names, strict=True)), "writing"):
        write_image(record, out / "images" / name)
        file = (out / "labels" / name).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(_lines(record, labels)), encoding="utf-8")
    content = {
        # both are asked for by programs that train
        "train": "images",
        "val": "images",
        "names": {n: category.name for n, category in enumerate(dataset.categories)},
    }
    path = out / "data.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _lines(record: ImageRecord, labels: dict[int, int]) -> list[str]:
    lines = []
    for annotation in record.annotations:
        if not annotation.is_crowd:
            points = _fractions(one_outline(annotation), record.height, record.width)
            words = (f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".") for value in points.tolist())
            lines.append(f"{labels[annotation.category_id] - 1} {' '.join(words)}\n")
    return lines


def _fractions(
    points: Float64[np.ndarray, " coordinate"], height: int, width: int
) -> Float64[np.ndarray, " coordinate"]:
    return points / np.tile([width, height], len(points) // 2)
