"""The DATA argument of a command -> `Dataset`."""

import os
import re
import warnings
from pathlib import Path

from fcis.data.coco import read_coco
from fcis.data.dataset import Dataset
from fcis.data.scenes import scene_dataset
from fcis.errors import InputError

DEFAULT_SCENES = 64
DEFAULT_SEED = 0

_SCENES = re.compile(r"scenes(?::(?P<count>\d+)(?::(?P<seed>\d+))?)?")


def open_dataset(
    data: str,
    images_dir: str | Path | None = None,
    *,
    require_annotations: bool = True,
) -> Dataset:
    """Return the dataset that a DATA argument names.

    Args:
        data: a COCO annotation file (`.json`), or `scenes[:N[:seed]]`, synthetic scenes.
        images_dir: where the images of an annotation file lie, if not beside it.
        require_annotations: refuse annotation files without annotations.

    Raises:
        InputError: neither of the two, or one that cannot be read.
    """
    scenes = _parse_scenes(data)
    if scenes is not None:
        if images_dir is not None:
            raise InputError(f"{data}: scenes have no image files; leave out --images")
        return scene_dataset(*scenes)
    if data.lower().endswith(".json"):
        return read_coco(data, images_dir, require_annotations=require_annotations)
    raise InputError(
        f"{data}: not a known kind of data; give a COCO annotation file (.json) or synthetic "
        "scenes, scenes[:N[:seed]]"
    )


def check_distinct(train: str, val: str) -> None:
    """Refuse to validate on the scenes that are trained on; warn if it is the same file.

    A file may serve twice, as a check whether a model can learn a handful of images by heart.

    Raises:
        InputError: both are scenes of one seed, or malformed.
    """
    train_scenes, val_scenes = _parse_scenes(train), _parse_scenes(val)
    if train_scenes is not None and val_scenes is not None:
        if train_scenes[1] == val_scenes[1]:
            raise InputError(
                f"{val}: training and validation scenes both have seed {val_scenes[1]}, so they "
                f"are the same; give one another seed, as in scenes:{val_scenes[0]}:"
                f"{val_scenes[1] + 1}"
            )
    elif train_scenes is None and val_scenes is None:
        if os.path.realpath(train) == os.path.realpath(val):
            warnings.warn(
                f"{val}: is used for training and for validation; the figures say how well it "
                "was memorised, not how well the model generalises",
                stacklevel=2,
            )


def _parse_scenes(data: str) -> tuple[int, int] | None:
    """Return (count, seed) of a scenes argument, None if it is something else."""
    if data != "scenes" and not data.startswith("scenes:"):
        return None
    match = _SCENES.fullmatch(data)
    count = int(match["count"] or DEFAULT_SCENES) if match else 0
    if match is None or count == 0:
        raise InputError(
            f"{data}: expected scenes[:N[:seed]] with N of 1 or more and whole numbers, "
            "as in scenes:64:0"
        )
    return count, int(match["seed"] or DEFAULT_SEED)
