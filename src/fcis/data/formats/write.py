"""`Dataset` -> a folder in a format of one's choice."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.data.formats.copied_images import output_names
from fcis.data.formats.write_coco import write_coco
from fcis.data.formats.write_labelme import write_labelme
from fcis.data.formats.write_masks import write_masks
from fcis.data.formats.write_yolo import write_yolo

Format = Literal["coco", "yolo", "labelme", "masks"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written: the DATA argument that opens it, and how many objects it holds.

    Attributes:
        path: to give to a command.
        objects: how many are in it.
        crowds: how many were left out, because the format cannot mark them.
    """

    path: Path
    objects: int
    crowds: int


def write_dataset(
    dataset: Dataset, out: Path, to: Format, *, document: Mapping[str, object] | None = None
) -> Written:
    """Write a dataset with copies of its images into a folder, which is made.

    Args:
        dataset: what to write.
        out: the folder.
        to: the format.
        document: the same as a COCO file, to be written in that format as it is.

    Raises:
        InputError: the folder is not empty or cannot be written, an image cannot be read, or two
            classes have one name and the format knows classes by their names.
    """
    names = [category.name for category in dataset.categories]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice and to == "labelme":
        raise InputError(
            f"{dataset.name}: several classes are called {twice[0]!r}, which LabelMe could not "
            "tell apart; rename them"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise InputError(f"{out}: is not empty; name a new folder, so that nothing is mixed")
        path = _write(dataset, out, to, document)
    except UnicodeEncodeError as error:  # JSON and file names can hold what is no text
        text = error.object[max(0, error.start - 40) : error.end]
        raise InputError(
            f"{dataset.name}: {text!r} in it cannot be written as UTF-8; rename the file or "
            f"class, or write another format than {to}"
        ) from error
    except OSError as error:
        place = error.filename or out
        raise InputError(
            f"{place}: cannot be written ({error.strerror or error}); make room or choose another "
            "folder"
        ) from error
    annotations = [a for image in dataset.images for a in image.annotations]
    keeps_crowds = to in ("coco", "labelme")
    crowds = 0 if keeps_crowds else sum(a.is_crowd for a in annotations)
    return Written(path=path, objects=len(annotations) - crowds, crowds=crowds)


def _write(dataset: Dataset, out: Path, to: Format, document: Mapping[str, object] | None) -> Path:
    names = output_names(dataset)
    match to:
        case "coco":
            return write_coco(dataset, names, out, document)
        case "yolo":
            return write_yolo(dataset, names, out)
        case "labelme":
            return write_labelme(dataset, names, out)
        case "masks":
            return write_masks(dataset, names, out)
