"""`predictions.jsonl`: one line an image, written as it is done, so that a run can go on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fcis.core.coco_types import ImageId
from fcis.core.errors import InputError
from fcis.core.masks import RLE, crop_from_rle
from fcis.core.output_files import cannot_write
from fcis.imaging.instances import Instances

LINES = "predictions.jsonl"
_KEYS = ("image_id", "file_name", "height", "width", "instances")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where in a video a frame is: its number from 0, and seconds."""

    frame: int
    seconds: float


class LineFile:
    """The lines of a run; those of an interrupted one may be kept."""

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self._path = path
        self._places: dict[ImageId, int] = {}
        try:
            path.touch()
            self._file: BinaryIO = path.open("r+b" if resume else "w+b")
        except OSError as error:
            raise cannot_write(self._path, error) from None
        if resume:
            self._read_places()

    @property
    def done(self) -> Mapping[ImageId, int]:
        """Return where the line of each image that is done begins."""
        return self._places

    def write(self, shown: Instances, moment: Moment | None = None) -> None:
        """Append the line of an image.

        Raises:
            InputError: it cannot be written.
        """
        height, width = shown.size
        entry: dict[str, object] = {
            "image_id": shown.image_id,
            "file_name": shown.file_name,
            "height": height,
            "width": width,
        }
        if moment is not None:
            entry |= {"frame": moment.frame, "seconds": round(moment.seconds, 6)}
        entry["instances"] = [
            {
                "category_id": found["category_id"],
                "category": shown.class_names[label],
                "bbox": found["bbox"],
                "score": found["score"],
                "segmentation": found["segmentation"],
            }
            for found, label in zip(shown.to_coco(), shown.labels.tolist(), strict=True)
        ]
        try:
            self._file.seek(0, 2)
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(self._path, error) from None

    def read(
        self, image_id: ImageId, class_names: tuple[str, ...], category_ids: tuple[int, ...]
    ) -> Instances:
        """Return the instances of an image that is done.

        Args:
            image_id: one of `done`.
            class_names: by label, background first.
            category_ids: by label, background first.

        Raises:
            InputError: the line is of other categories.
        """
        self._file.seek(self._places[image_id])
        entry = json.loads(self._file.readline())
        label_of = {category: label for label, category in enumerate(category_ids)}
        found = entry["instances"]
        if any(one["category_id"] not in label_of for one in found):
            raise InputError(
                f"{self._path}: was written with weights of other categories; leave out --resume"
            )
        return Instances(
            size=(entry["height"], entry["width"]),
            scores=np.array([one["score"] for one in found], dtype=np.float32),
            labels=np.array([label_of[one["category_id"]] for one in found], dtype=np.int64),
            crops=tuple(crop_from_rle(_rle(one["segmentation"])) for one in found),
            class_names=class_names,
            category_ids=category_ids,
            image_id=image_id,
            file_name=entry["file_name"],
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_places(self) -> None:
        """Note where lines begin; drop what a run that was killed left of its last one."""
        place = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                image_id, *_ = (json.loads(line)[key] for key in _KEYS)
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"{self._path}: line {number} is not one of fcis predict; leave out --resume "
                    "to write the file anew"
                ) from None
            self._places[image_id] = place
            place += len(line)
        self._file.truncate(place)


def _rle(segmentation: Mapping[str, object]) -> RLE:
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list) or not isinstance(counts, str):
        raise ValueError(f"segmentation: expected a size and counts, got {segmentation}")
    return {"size": size, "counts": counts.encode("ascii")}
