"""`Dataset` -> `annotations.json` (COCO) and `images/`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fcis.data.dataset import Dataset
from fcis.data.formats.copied_images import write_image
from fcis.data.formats.folders import watched

ANNOTATIONS = "annotations.json"


def write_coco(dataset: Dataset, names: Sequence[str], out: Path) -> Path:
    """Write a dataset into a folder and return the annotation file.

    Ids of images and categories stay; masks are run-length encodings, so that holes and pieces
    do, too.

    Args:
        dataset: what to write.
        names: of the image files, as `output_names` gives them.
        out: an empty folder.

    Raises:
        InputError: an image cannot be read.
        OSError: something cannot be written.
    """
    for record, name in watched(list(zip(dataset.images, names, strict=True)), "writing"):
        write_image(record, out / "images" / name)
    records = zip(dataset.images, names, strict=True)
    renamed = replace(dataset, images=tuple(replace(r, file_name=n) for r, n in records))
    path = out / ANNOTATIONS
    path.write_text(json.dumps(renamed.to_coco()) + "\n", encoding="utf-8")
    return path
