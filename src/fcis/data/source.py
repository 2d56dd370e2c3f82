"""The DATA argument of a command -> `Dataset`.

PATH:SPLIT names a part of what has several: a COCO, SBD, VOC or Cityscapes root, a `data.yaml`.
"""

import os
import re
import warnings
from pathlib import Path

from fcis.core.errors import InputError
from fcis.data.checks.check import refuse
from fcis.data.checks.raw import RawDataset, raw_of
from fcis.data.dataset import Dataset
from fcis.data.formats.classes_file import CLASSES_FILE
from fcis.data.formats.coco import raw_coco
from fcis.data.formats.coco_root import coco_splits, raw_coco_root
from fcis.data.formats.folders import no_split, split_data
from fcis.data.formats.labelme import is_labelme
from fcis.data.formats.mask_folder import is_map_folder
from fcis.data.formats.table import open_format
from fcis.data.scenes.shape_scenes import scene_dataset

DEFAULT_SCENES = 64
DEFAULT_SEED = 0

_SCENES = re.compile(r"scenes(?::(?P<count>\d+)(?::(?P<seed>\d+)(?P<apart>:apart)?)?)?")
_KINDS = (
    "a COCO .json, a YOLO data.yaml[:SPLIT], a root of COCO, SBD, VOC or Cityscapes as "
    "ROOT:SPLIT, a folder of LabelMe files, a folder with images/ and masks/, or synthetic scenes, "
    "scenes[:N[:seed[:apart]]]"
)


def open_dataset(
    data: str,
    images_dir: str | Path | None = None,
    *,
    require_annotations: bool = True,
) -> Dataset:
    """Return the dataset that a DATA argument names, to train on or evaluate.

    Args:
        data: a COCO annotation file (`.json`), a YOLO `data.yaml`, a COCO, SBD, VOC or Cityscapes
            root, a folder of LabelMe files, a folder of images and masks, or
            `scenes[:N[:seed[:apart]]]`, synthetic scenes, with `apart` those in which no two
            objects of one category touch. `:SPLIT` after a path names a part of it.
        images_dir: where the images of a COCO annotation file lie, if not beside it.
        require_annotations: refuse COCO files, YOLO sets and folders of masks without annotations.

    Raises:
        InputError: none of these, or one that cannot be read, or has a fault.
    """
    return refuse(open_raw(data, images_dir, require_annotations=require_annotations))


def open_raw(
    data: str,
    images_dir: str | Path | None = None,
    *,
    require_annotations: bool = True,
) -> RawDataset:
    """Return what a DATA argument names as its files hold it; see `open_dataset`.

    Raises:
        InputError: none of the kinds of data, or one that cannot be read at all.
    """
    scenes = _parse_scenes(data)
    if scenes is not None:
        if images_dir is not None:
            raise InputError(f"{data}: scenes have no image files; leave out --images")
        count, seed, apart = scenes
        return raw_of(scene_dataset(count, seed, apart=apart))
    if not data:
        raise InputError(f"DATA is empty; give {_KINDS}")
    path, split = split_data(data)
    file = _coco_file(path)
    if file is not None:
        no_split(path, split, "a COCO annotation file")
        return raw_coco(file, images_dir, require_annotations=require_annotations)
    if coco_splits(path):
        return raw_coco_root(path, split, images_dir, require_annotations=require_annotations)
    dataset = open_format(path, split, require_annotations=require_annotations)
    if dataset is None:
        what = "not a known kind of data" if path.exists() else "no such file or folder"
        raise InputError(f"{data}: {what}; give {_KINDS}")
    if images_dir is not None:
        raise InputError(f"{data}: says itself where its images lie; leave out --images")
    return dataset


def _coco_file(path: Path) -> Path | None:
    """Return the annotation file that a path is, or the only file in the folder that it is."""
    if path.suffix.lower() == ".json" and not path.is_dir():
        return path
    if not path.is_dir() or is_map_folder(path):
        return None
    files = [f for f in path.glob("*.json") if f.name != CLASSES_FILE and f.name[0] != "."]
    return files[0] if len(files) == 1 and not is_labelme(path) else None


def check_distinct(train: str, val: str) -> None:
    """Refuse to validate on the scenes that are trained on; warn if it is the same file.

    A file may serve twice, as a check whether a model can learn a handful of images by heart.

    Raises:
        InputError: both are scenes of one seed, or malformed.
    """
    train_scenes, val_scenes = _parse_scenes(train), _parse_scenes(val)
    are_files = train_scenes is None and val_scenes is None
    if train_scenes is not None and val_scenes is not None:
        if train_scenes[1] == val_scenes[1]:
            raise InputError(
                f"{val}: training and validation scenes both have seed {val_scenes[1]}, so they "
                f"are the same; give one another seed, as in scenes:{val_scenes[0]}:"
                f"{val_scenes[1] + 1}"
            )
    elif are_files and os.path.realpath(train) == os.path.realpath(val):
        warnings.warn(
            f"{val}: is used for training and for validation; the figures say how well it "
            "was memorised, not how well the model generalises",
            stacklevel=2,
        )


def _parse_scenes(data: str) -> tuple[int, int, bool] | None:
    """Return count, seed and apart of a scenes argument, None if it is something else."""
    if data != "scenes" and not data.startswith("scenes:"):
        return None
    match = _SCENES.fullmatch(data)
    count = int(match["count"] or DEFAULT_SCENES) if match else 0
    if match is None or count == 0:
        raise InputError(
            f"{data}: expected scenes[:N[:seed[:apart]]] with N of 1 or more and whole numbers, "
            "as in scenes:64:0"
        )
    return count, int(match["seed"] or DEFAULT_SEED), match["apart"] is not None
