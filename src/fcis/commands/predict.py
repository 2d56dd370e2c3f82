"""`fcis predict`: images in; overlays, COCO results and mask pictures out."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt16
from PIL import Image
from tqdm import tqdm

from fcis.commands.common import make_folder, open_predictor, write_json
from fcis.data.source import open_dataset
from fcis.errors import InputError
from fcis.images import find_images, read_image
from fcis.instances import Instances
from fcis.predictor import Predictor

KINDS = ("overlay", "coco", "masks")
RESULTS = "predictions.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One image to look at: `name` is the stem of what is written for it."""

    path: Path
    name: str
    image_id: int | str
    file_name: str


def run(options: argparse.Namespace) -> int:
    """Predict every image; go on past those that cannot be read and list them at the end."""
    kinds = _kinds(options.save)
    threshold = options.score_threshold
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--score-threshold {threshold}: expected a number from 0 to 1")
    predictor = open_predictor(options.weights, options.size, options.device)
    jobs = list(_jobs(options.input, options.images))
    make_folder(options.out)
    results: list = []
    failures: list[str] = []
    counts: list[int] = []
    try:
        for job in tqdm(jobs, desc="predicting", unit="image"):
            try:
                shown = _predict(predictor, job, options.max_pixels, threshold)
            except InputError as error:
                failures.append(str(error))
                continue
            counts.append(len(shown))
            results += shown.to_coco()
            _write_pictures(options.out, job, shown, kinds)
    finally:
        if "coco" in kinds:
            write_json(options.out / RESULTS, results)
    print(f"{sum(counts)} instances in {len(counts)} images: {options.out}")
    for failure in failures:
        print(f"fcis: {failure}", file=sys.stderr)
    if failures:
        print(f"fcis: {len(failures)} of {len(jobs)} images were left out", file=sys.stderr)
    return 2 if failures else 0


def _kinds(text: str) -> set[str]:
    kinds = {k.strip() for k in text.split(",") if k.strip()}
    unknown = sorted(kinds - set(KINDS))
    if unknown or not kinds:
        raise InputError(f"--save {text}: expected some of {', '.join(KINDS)}")
    return kinds


def _jobs(inputs: list[str], images_dir: Path | None) -> Iterator[Job]:
    """Yield the images of files, folders and globs, and of COCO annotation files."""
    plain = [i for i in inputs if not i.endswith(".json")]
    for data in (i for i in inputs if i.endswith(".json")):
        dataset = open_dataset(data, images_dir, require_annotations=False)
        for record in dataset.images:
            path = Path(str(record.source))
            name = Path(record.file_name).with_suffix("").as_posix()
            yield Job(path=path, name=name, image_id=record.id, file_name=record.file_name)
    if plain:
        for found in find_images(plain):
            yield Job(
                path=found.path, name=found.name, image_id=found.name, file_name=str(found.path)
            )


def _predict(predictor: Predictor, job: Job, max_pixels: int, threshold: float | None) -> Instances:
    """Return the instances of one image above the threshold; say so if there are none."""
    percentiles = predictor.info.model.preprocessing.high_depth
    image = read_image(job.path, max_pixels=max_pixels, percentiles=percentiles)
    (found,) = predictor.detect([image])
    shown = predictor.shown(found, threshold)
    if len(shown) == 0:
        best = f"the top score is {found.scores.max():.3f}" if len(found) else "nothing was found"
        tqdm.write(f"{job.file_name}: no instance above the threshold; {best}", file=sys.stderr)
    return replace(shown, image_id=job.image_id, file_name=job.file_name)


def _write_pictures(folder: Path, job: Job, shown: Instances, kinds: set[str]) -> None:
    """Write the overlay and the picture of masks."""
    try:
        if "overlay" in kinds:
            path = folder / f"{job.name}.overlay.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shown.draw().save(path)
        if "masks" in kinds:
            path = folder / f"{job.name}.masks.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(number_image(shown)).save(path)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error}); choose another --out") from None


def number_image(instances: Instances) -> UInt16[np.ndarray, "height width"]:
    """Return a picture whose value is the number of the instance at a pixel, 0 where none is.

    Where masks overlap, the instance with the higher score is in front.
    """
    picture = np.zeros(instances.size, dtype=np.uint16)
    for i in range(len(instances) - 1, -1, -1):
        crop = instances.crops[i]
        rows, columns = crop.bits.shape
        window = picture[crop.top : crop.top + rows, crop.left : crop.left + columns]
        window[crop.bits] = i + 1
    return picture
