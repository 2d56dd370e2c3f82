"""`Dataset` -> a folder of LabelMe files beside their images."""

import json
from collections.abc import Sequence
from pathlib import Path

from fcis.data.dataset import Dataset, ImageRecord
from fcis.data.formats.copied_images import write_image
from fcis.data.formats.folders import watched
from fcis.data.formats.labelme import CLASSES_FILE
from fcis.data.formats.labelme_shapes import CROWD
from fcis.data.formats.outlines import outlines

_VERSION = "5.5.0"  # of LabelMe, whose layout this is


def write_labelme(dataset: Dataset, names: Sequence[str], out: Path) -> Path:
    """Write a dataset into a folder and return it.

    Pieces of an object are polygons with one `group_id`; cuts of no width lead to holes. Crowds
    have the flag `crowd`. `labels.txt` has the classes in the order of their labels.

    Args:
        dataset: what to write.
        names: of the image files, as `output_names` gives them.
        out: an empty folder.

    Raises:
        InputError: an image cannot be read.
        OSError: something cannot be written.
    """
    class_of = {category.id: category.name for category in dataset.categories}
    for record, name in watched(list(zip(dataset.images, names, strict=True)), "writing"):
        write_image(record, out / name)
        document = {
            "version": _VERSION,
            "flags": {},
            "shapes": _shapes(record, class_of),
            "imagePath": Path(name).name,
            "imageData": None,
            "imageHeight": record.height,
            "imageWidth": record.width,
        }
        text = json.dumps(document, indent=1, ensure_ascii=False)
        (out / name).with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    lines = "".join(f"{category.name}\n" for category in dataset.categories)
    (out / CLASSES_FILE).write_text(lines, encoding="utf-8")
    return out


def _shapes(record: ImageRecord, class_of: dict[int, str]) -> list[dict[str, object]]:
    shapes: list[dict[str, object]] = []
    for number, annotation in enumerate(record.annotations, start=1):
        parts = outlines(annotation)
        shapes += [
            {
                "label": class_of[annotation.category_id],
                "points": part.reshape(-1, 2).tolist(),
                "group_id": number if len(parts) > 1 else None,
                "shape_type": "polygon",
                "flags": {CROWD: True} if annotation.is_crowd else {},
            }
            for part in parts
        ]
    return shapes
