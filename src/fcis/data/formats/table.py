"""The formats of annotated images that say themselves where their images are, in one table.

Whoever adds one writes a module beside this and puts a row here. A COCO file, which may need a
folder of images, and the drawn scenes are told apart in `data/source.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fcis.data.checks.raw import RawDataset
from fcis.data.formats.cityscapes import is_cityscapes, raw_cityscapes
from fcis.data.formats.folders import no_split
from fcis.data.formats.labelme import is_labelme, raw_labelme
from fcis.data.formats.mask_folder import (
    is_map_folder,
    is_object_folder,
    raw_map_folder,
    raw_object_folder,
)
from fcis.data.formats.sbd import raw_sbd, sbd_root
from fcis.data.formats.voc import raw_voc, voc_root
from fcis.data.formats.yolo import find_yolo, raw_yolo


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format.

    Attributes:
        about: what a path of it is, for messages.
        recognise: something true for a path of this format.
        read: takes the path, then the split where there are any, and `require_annotations` where
            a set without annotations makes sense.
        has_splits: a part of it can be named, as in PATH:SPLIT.
        may_lack_annotations: images alone are of this format too.
    """

    about: str
    recognise: Callable[[Path], object]
    read: Callable[..., RawDataset]
    has_splits: bool = False
    may_lack_annotations: bool = False

    def open(self, path: Path, split: str | None, *, require_annotations: bool) -> RawDataset:
        """Return the dataset as its files hold it.

        Raises:
            InputError: it cannot be read, or there is no such split.
        """
        if not self.has_splits:
            no_split(path, split, self.about)
        options = {"require_annotations": require_annotations} if self.may_lack_annotations else {}
        return self.read(path, *([split] if self.has_splits else []), **options)


FORMATS = (
    Format(
        about="a YOLO data.yaml",
        recognise=find_yolo,
        read=raw_yolo,
        has_splits=True,
        may_lack_annotations=True,
    ),
    Format(about="a VOC root", recognise=voc_root, read=raw_voc, has_splits=True),
    Format(about="an SBD root", recognise=sbd_root, read=raw_sbd, has_splits=True),
    Format(
        about="a Cityscapes root", recognise=is_cityscapes, read=raw_cityscapes, has_splits=True
    ),
    Format(
        about="a folder of images and masks",
        recognise=is_map_folder,
        read=raw_map_folder,
        may_lack_annotations=True,
    ),
    Format(about="a folder of LabelMe files", recognise=is_labelme, read=raw_labelme),
    Format(
        about="a folder of images and masks",
        recognise=is_object_folder,
        read=raw_object_folder,
        may_lack_annotations=True,
    ),
)
"""In the order in which they are tried: the first that recognises a path is taken."""


def open_format(path: Path, split: str | None, *, require_annotations: bool) -> RawDataset | None:
    """Return the dataset of the format that recognises a path, None if none does.

    Raises:
        InputError: it cannot be read, or there is no such split.
    """
    for each in FORMATS:
        if each.recognise(path):
            return each.open(path, split, require_annotations=require_annotations)
    return None
