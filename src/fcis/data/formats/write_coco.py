"""`Dataset` -> `annotations.json` (COCO) and `images/`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from fcis.core.output_files import write_text
from fcis.data.dataset import Dataset
from fcis.data.formats.copied_images import write_image
from fcis.data.formats.folders import watched

ANNOTATIONS = "annotations.json"


def write_coco(
    dataset: Dataset,
    names: Sequence[str],
    out: Path,
    document: Mapping[str, object] | None = None,
) -> Path:
    """Write a dataset into a folder and return the annotation file.

    Ids of images and categories stay; masks are run-length encodings, so that holes and pieces
    do, too.

    Args:
        dataset: what to write.
        names: of the image files, as `output_names` gives them.
        out: an empty folder.
        document: the same as a COCO file; if given it is written, with new names of the images.

    Raises:
        InputError: an image cannot be read.
        OSError: something cannot be written.
    """
    for record, name in watched(list(zip(dataset.images, names, strict=True)), "writing"):
        write_image(record, out / "images" / name)
    content = dataset.to_coco() if document is None else document
    images = cast(Sequence[Mapping[str, object]], content["images"])
    renamed = [{**e, "file_name": name} for e, name in zip(images, names, strict=True)]
    # last, and in one step: a folder with annotations is a whole one
    write_text(out / ANNOTATIONS, json.dumps({**content, "images": renamed}) + "\n")
    return out / ANNOTATIONS
