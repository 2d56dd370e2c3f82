"""`fcis predict`: images in; overlays, COCO results and mask pictures out."""

import argparse
import sys
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt16
from PIL import Image

from fcis.coco_types import CocoDetection
from fcis.commands.common import make_folder, open_predictor, progress, write_json
from fcis.commands.inputs import MASKS, OVERLAY, Job, find_jobs
from fcis.errors import InputError
from fcis.instances import Instances
from fcis.predictor import Predictor

KINDS = ("overlay", "coco", "masks")
RESULTS = "predictions.json"
INTERRUPTED = 130
_MOST_NOTES = 10  # images of which it is said one by one that nothing was found


@dataclass(slots=True)
class _Outcome:
    """What a run has found so far; masks are kept as run lengths, images not at all.

    Attributes:
        results: of all images.
        done: images that were looked at.
        failures: one line for each image that could not be.
        empty: images in which nothing reached the threshold.
        notes: one line for each of the first of those.
        top_score: the highest score in all of those.
    """

    results: list[CocoDetection] = field(default_factory=list)
    done: int = 0
    failures: list[str] = field(default_factory=list)
    empty: int = 0
    notes: list[str] = field(default_factory=list)
    top_score: float = 0.0


def run(options: argparse.Namespace) -> int:
    """Predict every image; go on past those that cannot be read and list them at the end."""
    kinds = _kinds(options.save)
    threshold = options.score_threshold
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--score-threshold {threshold}: expected a number from 0 to 1")
    if options.max_pixels < 1:
        raise InputError(f"--max-pixels {options.max_pixels}: expected a number above 0")
    predictor = open_predictor(options.weights, options.size, options.device)
    jobs = find_jobs(
        options.input,
        predictor.info.model,
        images_dir=options.images,
        max_pixels=options.max_pixels,
        out=options.out,
    )
    make_folder(options.out)
    outcome = _Outcome()
    interrupted = False
    try:
        with closing(predictor.detect_each(job.read for job in jobs)) as detected:
            pairs = zip(jobs, detected, strict=True)
            for job, found in progress(pairs, total=len(jobs), what="predicting"):
                shown = _show(job, found, predictor, threshold, outcome)
                if shown is not None:
                    _keep(job, shown, options.out, kinds, outcome)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if "coco" in kinds:
            write_json(options.out / RESULTS, outcome.results)
    _report(outcome, len(jobs), options.out)
    if interrupted:
        print(f"fcis: interrupted after {outcome.done} of {len(jobs)} images", file=sys.stderr)
        return INTERRUPTED
    return 2 if outcome.failures else 0


def _kinds(text: str) -> set[str]:
    kinds = {k.strip() for k in text.split(",") if k.strip()}
    unknown = sorted(kinds - set(KINDS))
    if unknown or not kinds:
        raise InputError(f"--save {text}: expected some of {','.join(KINDS)}")
    return kinds


def _show(
    job: Job,
    found: Instances | InputError,
    predictor: Predictor,
    threshold: float | None,
    outcome: _Outcome,
) -> Instances | None:
    """Return what is shown of an image, None if it failed; take failures and notes down."""
    if isinstance(found, InputError):
        text = str(found)
        outcome.failures.append(text if job.file_name in text else f"{job.file_name}: {text}")
        return None
    shown = predictor.shown(found, threshold)
    if len(shown) == 0:
        _note_empty(job, found, outcome)
    return replace(
        shown, image_id=job.image_id, file_name=job.file_name, category_ids=job.category_ids
    )


def _keep(job: Job, shown: Instances, out: Path, kinds: set[str], outcome: _Outcome) -> None:
    """Write the pictures of an image and add its instances to the outcome."""
    _write_pictures(out, job.name, shown, kinds)
    outcome.results += shown.to_coco()
    outcome.done += 1


def _note_empty(job: Job, found: Instances, outcome: _Outcome) -> None:
    """Remember that nothing reached the threshold."""
    top = float(found.scores.max()) if len(found) else 0.0
    outcome.empty += 1
    outcome.top_score = max(outcome.top_score, top)
    if outcome.empty <= _MOST_NOTES:
        best = f"the top score is {top:.3f}" if len(found) else "there is no score at all"
        outcome.notes.append(f"{job.file_name}: nothing reaches the threshold; {best}")


def _report(outcome: _Outcome, num_jobs: int, out: Path) -> None:
    """Say what there is, and what is missing."""
    for note in outcome.notes:
        print(note, file=sys.stderr)
    if outcome.empty > _MOST_NOTES:
        print(
            f"{outcome.empty} images in which nothing reaches the threshold; the top score of "
            f"them all is {outcome.top_score:.3f}",
            file=sys.stderr,
        )
    print(f"{_count(len(outcome.results), 'instance')} in {_count(outcome.done, 'image')}: {out}")
    for failure in outcome.failures:
        print(f"fcis: {' '.join(failure.split())}", file=sys.stderr)
    if outcome.failures and num_jobs > 1:
        print(f"fcis: {len(outcome.failures)} of {num_jobs} images left out", file=sys.stderr)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _write_pictures(folder: Path, name: str, shown: Instances, kinds: set[str]) -> None:
    """Write the overlay and the picture of masks, both as large as the image."""
    try:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if "overlay" in kinds:
            shown.draw(scale=1).save(folder / f"{name}{OVERLAY}")
        if "masks" in kinds:
            Image.fromarray(number_image(shown)).save(folder / f"{name}{MASKS}")
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error}); make room or choose another --out"
        ) from None


def number_image(instances: Instances) -> UInt16[np.ndarray, "height width"]:
    """Return a picture whose value is the number of the instance at a pixel, 0 where none is.

    Instances count from 1 in their order, which is that of `predictions.json`. Where masks
    overlap, the one with the lower number is in front.
    """
    picture = np.zeros(instances.size, dtype=np.uint16)
    for i in range(len(instances) - 1, -1, -1):
        crop = instances.crops[i]
        rows, columns = crop.bits.shape
        window = picture[crop.top : crop.top + rows, crop.left : crop.left + columns]
        window[crop.bits] = i + 1
    return picture
