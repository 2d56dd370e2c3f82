"""Images and videos in; overlays, COCO results, lines and mask pictures out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from fcis.core.coco_types import CocoDetection
from fcis.core.errors import InputError
from fcis.core.output_files import FullDiskError, make_folder, write_json
from fcis.core.progress import Watcher, progress
from fcis.imaging.instances import Instances
from fcis.imaging.reading import MAX_PIXELS, MAX_TILED_PIXELS
from fcis.imaging.strips.picture import ArrayPicture, Picture
from fcis.imaging.video import is_video
from fcis.inference.explain.scores import score_maps, with_score_maps
from fcis.inference.image_predictor import ImagePredictor
from fcis.inference.inputs import Job, find_jobs
from fcis.inference.results.jsonl import LINES, LineFile
from fcis.inference.results.result_pictures import (
    MAPS,
    OVERLAY,
    with_image,
    write_maps,
    write_masks,
    write_overlay,
)
from fcis.inference.video_inputs import Overlays, VideoInput, find_videos, frame_jobs

KINDS = ("overlay", "coco", "masks", "jsonl", "maps")
"""What can be written of an image."""

RESULTS = "predictions.json"
_MOST_NOTES = 10  # images of which it is said one by one that nothing was found


@dataclass(slots=True)
class Outcome:
    """What a run has found so far; masks are kept as run lengths, images not at all.

    Attributes:
        results: of all images, if they are asked for.
        instances: how many there are.
        done: images that were looked at.
        before: images that an earlier run had looked at.
        total: images that there are; None where videos are among them.
        failures: one line for each image that could not be.
        empty: images in which nothing reached the threshold.
        top_score: the highest score in all of those.
        full: images with as many instances as the network outputs at most.
        notes: one line for each of the first empty and the first full ones; at the end, how many
            there were if there were more.
    """

    results: list[CocoDetection] = field(default_factory=list)
    instances: int = 0
    done: int = 0
    before: int = 0
    total: int | None = None
    failures: list[str] = field(default_factory=list)
    empty: int = 0
    top_score: float = 0.0
    full: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What there is of one image.

    Attributes:
        found: its instances, or why there are none.
        picture: its pixels, where the instances do not hold them.
        is_known: an earlier run has looked at it, and written its line.
    """

    job: Job
    found: Instances | InputError
    picture: Picture | None = None
    is_known: bool = False


class Interrupted(KeyboardInterrupt):
    """The user stopped while images were looked at; what was found until then is written.

    How, by Ctrl-C or SIGTERM, is the cause.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def predict_files(
    predictor: ImagePredictor,
    inputs: Sequence[str],
    out: Path,
    *,
    images_dir: Path | None = None,
    save: str | None = None,
    threshold: float | None = None,
    max_pixels: int | None = None,
    resume: bool = False,
    watch: Watcher | None = None,
) -> Outcome:
    """Predict every image and frame, in tiles if the predictor has a tiling, and write results.

    Images that cannot be read are left out and listed in what is returned.

    Args:
        predictor: finds the instances.
        inputs: image files, folders, globs, videos and datasets, as `fcis predict` takes them.
        out: folder of the results; made if it is not there.
        images_dir: where the images of annotation files lie, if not beside them.
        save: what to write, some of `KINDS` with commas; None: overlay,coco, with videos
            overlay,jsonl.
        threshold: least score of an instance; None: as stored in the weights.
        max_pixels: the most pixels that an image may have; None: the limit for whole images or
            tiles.
        resume: with lines: go on after the last image whose line is complete.
        watch: as `progress` takes it.

    Raises:
        InputError: an argument makes no sense, an input stands for no image, the network has no
            score maps, or results cannot be written.
        Interrupted: the user stopped.
    """
    kinds = check_request(
        inputs, save=save, score_threshold=threshold, max_pixels=max_pixels, resume=resume
    )
    most = max_pixels or (MAX_PIXELS if predictor.tiling is None else MAX_TILED_PIXELS)
    if "maps" in kinds:
        with_score_maps(predictor)
    videos = find_video_files(inputs)
    images = [item for item in inputs if item not in videos]
    model = predictor.info.model
    jobs: list[Job] = []
    if images or images_dir is not None:
        jobs = find_jobs(images, model, images_dir=images_dir, max_pixels=most, out=out)
    streams = find_videos(videos, [job.name for job in jobs])
    make_folder(out)
    work = _Work(predictor, out, kinds=kinds, threshold=threshold, watch=watch)
    work.outcome.total = None if streams else len(jobs)
    try:
        if "jsonl" in kinds:
            work.lines = LineFile(out / LINES, resume=resume)
        work.look(jobs)
        for video in streams:
            work.watch(video, frame_jobs(video, model, most))
    except KeyboardInterrupt as stop:
        raise Interrupted(work.outcome) from stop
    finally:
        work.close()
    return work.outcome


def find_video_files(inputs: Sequence[str]) -> list[str]:
    """Return the inputs that are videos."""
    return [item for item in inputs if is_video(item) and not Path(item).is_dir()]


def check_request(
    inputs: Sequence[str],
    *,
    save: str | None,
    score_threshold: float | None,
    max_pixels: int | None,
    resume: bool,
) -> set[str]:
    """Return what is to be written; refuse what makes no sense whatever the weights are.

    Arguments are as in `predict_files`.

    Raises:
        InputError: something makes none.
    """
    usual = "overlay,jsonl" if find_video_files(inputs) else "overlay,coco"
    text = usual if save is None else save
    kinds = {k.strip() for k in text.split(",") if k.strip()}
    if not kinds or not kinds <= set(KINDS):
        raise InputError(f"--save {text}: expected some of {','.join(KINDS)}")
    if score_threshold is not None and not 0 <= score_threshold <= 1:
        raise InputError(f"--score-threshold {score_threshold}: expected a number from 0 to 1")
    if max_pixels is not None and max_pixels < 1:
        raise InputError(f"--max-pixels {max_pixels}: expected a number above 0")
    if resume and "jsonl" not in kinds:
        raise InputError("--resume: goes on with the lines of a run; add --save jsonl")
    if resume and "coco" in kinds:
        raise InputError(
            f"--resume: {RESULTS} would lack what the earlier run found; leave coco out of --save"
        )
    return kinds


class _Work:
    """Takes images through the network and writes what is asked for."""

    def __init__(
        self,
        predictor: ImagePredictor,
        out: Path,
        *,
        kinds: set[str],
        threshold: float | None,
        watch: Watcher | None,
    ) -> None:
        self._predictor = predictor
        self._out = out
        self._kinds = kinds
        self._threshold = threshold
        self._watch = watch
        self._overlays = Overlays(out)
        self.outcome = Outcome()
        self.lines: LineFile | None = None

    def look(self, jobs: list[Job]) -> None:
        """Look at images that an earlier run has not looked at."""
        new = [job for job in jobs if not self._is_done(job)]
        self.outcome.before += len(jobs) - len(new)
        bar = partial(progress, watch=self._watch)
        for seen in bar(self._seen(new), total=len(new), what="predicting"):
            self._keep(seen, None)

    def watch(self, video: VideoInput, jobs: Iterable[Job]) -> None:
        """Look at the frames of a video; its overlay is written whole, whatever was done."""
        if "overlay" not in self._kinds:
            jobs = self._undone(jobs)
        frames = self._seen(jobs)
        total = video.info.num_frames
        bar = partial(progress, watch=self._watch)
        for seen in bar(frames, total=total, what=video.path.name, unit="frame"):
            self._keep(seen, video)
        self._overlays.close()

    def close(self) -> None:
        """Finish all files."""
        if "coco" in self._kinds:
            write_json(self._out / RESULTS, self.outcome.results)
        if self.lines is not None:
            self.lines.close()
        self._overlays.close()
        self._count_notes()

    def _count_notes(self) -> None:
        """Note how many images there were that were not named one by one."""
        outcome = self.outcome
        if outcome.empty > _MOST_NOTES:
            outcome.notes.append(
                f"{outcome.empty} images in which nothing reaches the threshold; the top score of "
                f"them all is {outcome.top_score:.3f}"
            )
        if outcome.full > _MOST_NOTES:
            outcome.notes.append(f"{outcome.full} images with the most instances at once")

    def _is_done(self, job: Job) -> bool:
        return self.lines is not None and job.image_id in self.lines.done

    def _undone(self, jobs: Iterable[Job]) -> Iterator[Job]:
        for job in jobs:
            if self._is_done(job):
                self.outcome.before += 1
            else:
                yield job

    def _seen(self, jobs: Iterable[Job]) -> Iterator[_Seen]:
        """Yield what there is of each image, in order."""
        for is_done, group in groupby(jobs, key=self._is_done):
            if is_done:
                yield from map(self._known, group)
            elif self._predictor.tiling is not None:
                yield from map(self._tiled, group)
            else:
                yield from self._plain(group)

    def _plain(self, jobs: Iterable[Job]) -> Iterator[_Seen]:
        waiting: deque[Job] = deque()  # read ahead: a few

        def reads() -> Iterator[Callable[[], UInt8[np.ndarray, "_ _ 3"]]]:
            for job in jobs:
                waiting.append(job)
                yield job.read

        with closing(self._predictor.detect_each(reads())) as detected:
            for found in detected:
                yield _Seen(job=waiting.popleft(), found=found)

    def _tiled(self, job: Job) -> _Seen:
        tiling = self._predictor.tiling
        if tiling is None:
            raise ValueError("tiling: expected one, got None")
        watch = partial(progress, what=job.name, unit="tile")
        try:
            picture = job.open()
            found = self._predictor.detect_picture(picture, tiling, watch=watch)
        except InputError as error:
            return _Seen(job=job, found=error)
        return _Seen(job=job, found=found, picture=picture)

    def _known(self, job: Job) -> _Seen:
        if self.lines is None:
            raise ValueError("lines: expected a file, got None")
        names = ("background", *self._predictor.info.model.class_names)
        found = self.lines.read(job.image_id, names, job.category_ids)
        return _Seen(job=job, found=found, picture=ArrayPicture(job.read()), is_known=True)

    def _keep(self, seen: _Seen, video: VideoInput | None) -> None:
        """Write the results of an image, or note why there are none; the next ones go on."""
        job = seen.job
        try:
            if isinstance(seen.found, InputError):
                raise seen.found
            self._write(seen, seen.found, video)
        except FullDiskError:
            raise
        except InputError as error:
            text = str(error)
            line = text if job.file_name in text else f"{job.file_name}: {text}"
            self.outcome.failures.append(line)

    def _write(self, seen: _Seen, found: Instances, video: VideoInput | None) -> None:
        """Write the pictures of an image, then its line; add its instances to the outcome.

        Raises:
            InputError: something cannot be written, or its pixels cannot be read again.
        """
        job, outcome = seen.job, self.outcome
        shown = found if seen.is_known else self._shown(job, found)
        if "overlay" in self._kinds:
            image = shown
            if shown.image is None and seen.picture is not None:
                image = with_image(shown, seen.picture)
            if video is None:
                write_overlay(self._out / f"{job.name}{OVERLAY}", image)
            else:
                self._overlays.write(video, np.asarray(image.draw(scale=1)))
        if seen.is_known:
            outcome.before += 1
            return
        if "masks" in self._kinds:
            write_masks(self._out, job.name, shown)
        if "maps" in self._kinds and len(shown):
            scores = score_maps(self._predictor, job.read())
            write_maps(self._out / f"{job.name}{MAPS}", scores, shown)
        if self.lines is not None:
            self.lines.write(shown, job.moment)
        if "coco" in self._kinds:
            outcome.results += shown.to_coco()
        outcome.instances += len(shown)
        outcome.done += 1

    def _shown(self, job: Job, found: Instances) -> Instances:
        shown = self._predictor.shown(found, self._threshold)
        if len(shown) == 0:
            _note_empty(job, found, self.outcome)
        most = self._predictor.info.model.detection.max_detections
        # whoever asks for low scores gets as many as there may be, and knows it
        if self._predictor.tiling is None and len(self._predictor.shown(shown)) >= most:
            _note_full(job, most, self.outcome)
        return replace(
            shown, image_id=job.image_id, file_name=job.file_name, category_ids=job.category_ids
        )


def _note_empty(job: Job, found: Instances, outcome: Outcome) -> None:
    """Remember that nothing reached the threshold."""
    top = float(found.scores.max()) if len(found) else 0.0
    outcome.empty += 1
    outcome.top_score = max(outcome.top_score, top)
    if outcome.empty <= _MOST_NOTES:
        best = f"the top score is {top:.3f}" if len(found) else "there is no score at all"
        outcome.notes.append(f"{job.file_name}: nothing reaches the threshold; {best}")


def _note_full(job: Job, most: int, outcome: Outcome) -> None:
    """Remember that there may be more instances than the network outputs."""
    outcome.full += 1
    if outcome.full <= _MOST_NOTES:
        outcome.notes.append(
            f"{job.file_name}: {most} instances, the most that these weights put out at once; "
            "for all there are, look in tiles: --tile SIZE"
        )
