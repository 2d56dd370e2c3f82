"""The Semantic Boundaries Dataset (SBD, MATLAB files) -> `RawDataset`.

A root holds `img/`, `cls/` and `inst/`, and lists of images: `*.txt` in it or in
`ImageSets/Main/`. Their names are the splits, and `trainval` is all of `train` and `val`.

The protocol of SDS, which the paper follows, has splits of its own: 5623 images for training and
5732 for validation (reference: 7.1). A root with its lists in place of SBD's, like the release's
VOCSDS, has them as `train` and `val`. Beside SBD's lists, the usual file `train_noval.txt` (5623
images) gives them as `sds_train` and `sds_val`, the latter being all other images.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from fcis.core.errors import InputError
from fcis.data.checks.faults import DAMAGED_RLE, NO_MASK
from fcis.data.checks.raw import FileProblem, RawDataset, RawImage
from fcis.data.formats.folders import check_folders, choose_split, find_root, read_list, watched
from fcis.data.formats.instance_map import LARGEST_ID
from fcis.data.formats.mat_file import read_field
from fcis.data.formats.voc import CATEGORIES, image_of_maps

_FOLDERS = ("img", "cls", "inst")
_BELOW = ("dataset", "benchmark_RELEASE/dataset", "benchmark/benchmark_RELEASE/dataset")
_LISTS = (".", "ImageSets/Main")


def sbd_root(path: Path) -> Path | None:
    """Return the SBD root that a folder is or holds, None if there is none."""
    for missing in ("", *_FOLDERS):  # one may be, and is then missed by name
        root = find_root(path, _BELOW, [name for name in _FOLDERS if name != missing])
        if root is not None:
            return root
    return None


def raw_sbd(path: Path, split: str | None) -> RawDataset:
    """Read a split of an SBD root. Every MATLAB file is decoded once.

    An object's class is that of most of its pixels in `cls/`; pixels of value 255 belong to none.

    Args:
        path: as `sbd_root` takes it.
        split: see above; None if there is only one.

    Raises:
        InputError: a folder or the lists are missing, or there is no such split.

    Official: lib/dataset/pascal_voc.py:153-200 @309f6c9.
    """
    root = sbd_root(path)
    if root is None:
        raise InputError(f"{path}: no {', '.join(_FOLDERS)} in it; name an SBD root")
    check_folders(root, _FOLDERS)
    splits = _splits(root)
    split = choose_split(path, split, list(splits))
    names = watched(splits[split], "reading masks")
    return RawDataset(
        name=f"{path.name}:{split}",
        categories=CATEGORIES,
        only_read="SBD",
        images=(_raw_image(root, name) for name in names),
    )


def _splits(root: Path) -> Mapping[str, list[str]]:
    """Return the names of the images of every split."""
    files = [file for folder in _LISTS for file in sorted((root / folder).glob("*.txt"))]
    splits = {file.stem: read_list(file) for file in files}
    if not splits:
        raise InputError(
            f"{root}: no lists of images in it; put train.txt and val.txt there, the name of an "
            "image in each line"
        )
    if "train" in splits and "val" in splits:
        every = list(dict.fromkeys(splits["train"] + splits["val"]))
        splits.setdefault("trainval", every)
        if "train_noval" in splits:
            chosen = set(splits["train_noval"])
            splits["sds_train"] = splits["train_noval"]
            splits["sds_val"] = [name for name in every if name not in chosen]
    return dict(sorted(splits.items()))


def _raw_image(root: Path, name: str) -> RawImage:
    class_file, object_file = (root / folder / f"{name}.mat" for folder in _FOLDERS[1:])
    return image_of_maps(root / "img" / f"{name}.jpg", object_file, class_file, _segmentation)


def _segmentation(path: Path) -> Int32[np.ndarray, "height width"]:
    """Return the field Segmentation of the one structure in a MATLAB file, GTcls or GTinst."""
    variable = f"GT{path.parent.name}"
    if not os.path.isfile(path):
        text = "no such file, though a list names it"
        raise FileProblem(path, NO_MASK, text, "restore it")
    try:
        values = read_field(path, variable, "Segmentation")
        if values.min() < 0 or values.max() > LARGEST_ID:
            raise InputError(f"{path}: it holds {values.min()} to {values.max()}")
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        text = f"no map of pixels {variable}.Segmentation can be read from it ({reason})"
        raise FileProblem(path, DAMAGED_RLE, text, "copy or download it again") from error
    return values.astype(np.int32)
