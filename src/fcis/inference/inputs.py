"""The INPUT arguments of `fcis predict` -> a list of images, each with what its results are called.

Nothing is decoded here: a bad image is found when its turn comes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from fcis.core.coco_types import ImageId
from fcis.core.errors import InputError
from fcis.data.dataset import Dataset, FileSource
from fcis.data.source import open_dataset
from fcis.imaging.finding import find_images
from fcis.imaging.reading import MAX_PIXELS
from fcis.imaging.strips.picture import Picture
from fcis.inference.results.jsonl import Moment
from fcis.inference.results.result_pictures import MANY_MASKS, MAPS, MASKS, OVERLAY
from fcis.recipe.types import ModelRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One image to look at.

    Attributes:
        name: what its pictures are called, a path below the output folder without suffix.
        image_id: what `predictions.json` calls it.
        file_name: the file, or what the dataset calls it.
        read: returns its pixels.
        open: returns it as a picture to be read row by row.
        category_ids: the dataset's id of each label, background (0) first.
        moment: where in its video it is, if it is a frame of one.
    """

    name: str
    image_id: ImageId
    file_name: str
    read: Callable[[], UInt8[np.ndarray, "height width channel"]]
    open: Callable[[], Picture]
    category_ids: tuple[int, ...]
    moment: Moment | None = None


def find_jobs(
    inputs: Sequence[str],
    model: ModelRecipe,
    *,
    images_dir: Path | None = None,
    max_pixels: int = MAX_PIXELS,
    out: Path | None = None,
) -> list[Job]:
    """Return the images of datasets, then those of files, folders and globs.

    A dataset is an annotation file, `ROOT:SPLIT` or scenes; a folder stands for its images.

    Args:
        inputs: as the user wrote them.
        model: says how images are read, and the ids of the categories.
        images_dir: where the images of annotation files lie, if not beside them.
        max_pixels: the most pixels that an image may have.
        out: the pictures that an earlier run left in this folder are not taken for images,
            unless they are named one by one.

    Raises:
        InputError: an input stands for no image, or two images have one id.
    """
    named = [item for item in inputs if _is_dataset(item)]
    plain = [item for item in inputs if not _is_dataset(item)]
    if "" in inputs:
        raise InputError("an INPUT is empty, which would mean this folder; write . for that")
    if images_dir is not None and not named:
        raise InputError(f"--images {images_dir}: is for a COCO .json; leave it out")
    reading = model.image_reading
    jobs: list[Job] = []
    for item in named:
        dataset = open_dataset(item, images_dir, require_annotations=False)
        jobs += _dataset_jobs(dataset.reading(reading, max_pixels=max_pixels), model)
    for found in find_images(plain) if plain else ():
        if out is None or str(found.path) in plain or not _is_result(found.path, out):
            source = FileSource(path=found.path, max_pixels=max_pixels, reading=reading)
            jobs.append(
                Job(
                    name=found.name,
                    image_id=found.name,
                    file_name=str(found.path),
                    read=source.read,
                    open=source.open,
                    category_ids=(0, *model.category_ids),
                )
            )
    if not jobs:
        raise InputError(f"{', '.join(inputs)}: no images but the results of earlier runs")
    _check_ids(jobs)
    return _with_own_names(jobs)


def _is_dataset(item: str) -> bool:
    """Return whether `fcis.data` reads it; a file or folder may be called `scenes` too."""
    if item.lower().endswith((".json", ".yaml", ".yml")):
        return True
    if Path(item).exists():
        return False
    # ROOT:SPLIT; a drive letter of Windows is no folder that has a split
    root, colon, split = item.rpartition(":")
    has_split = bool(colon and split and len(root) > 1 and Path(root).exists())
    return item == "scenes" or item.startswith("scenes:") or has_split


def _dataset_jobs(dataset: Dataset, model: ModelRecipe) -> list[Job]:
    """Return the images of a dataset, with its own category ids if it has these categories."""
    ids = {category.name: category.id for category in dataset.categories}
    known = all(name in ids for name in model.class_names)
    category_ids = tuple(ids[n] for n in model.class_names) if known else model.category_ids
    return [
        Job(
            name=_picture_name(record.file_name),
            image_id=record.id,
            file_name=record.file_name,
            read=record.read,
            open=record.open,
            category_ids=(0, *category_ids),
        )
        for record in dataset.images
    ]


def _picture_name(file_name: str) -> str:
    """Return the name without suffix as a path that stays below any folder."""
    path = PurePosixPath(file_name.replace("\\", "/")).with_suffix("")
    parts = [part.strip(":/") for part in path.parts if part != ".."]
    return "/".join(part for part in parts if part) or "image"


def _is_result(path: Path, out: Path) -> bool:
    return (
        path.name.endswith((OVERLAY, MASKS, MANY_MASKS, MAPS))
        and out.resolve() in path.resolve().parents
    )


def _check_ids(jobs: Iterable[Job]) -> None:
    """Refuse images that the results could not tell apart."""
    seen: dict[ImageId, str] = {}
    for job in jobs:
        if job.image_id in seen:
            raise InputError(
                f"{job.file_name}: its image id {job.image_id!r} is that of {seen[job.image_id]} "
                "too; predict the two datasets one after the other, each with its own --out"
            )
        seen[job.image_id] = job.file_name


def _with_own_names(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs with numbers at those names that came before."""
    taken: set[str] = set()
    result: list[Job] = []
    for job in jobs:
        name, number = job.name, 1
        while name in taken:
            number += 1
            name = f"{job.name}~{number}"
        taken.add(name)
        result.append(replace(job, name=name))
    return result
