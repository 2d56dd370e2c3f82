"""Videos as INPUT of `fcis predict`: a job a frame, decoded when its turn comes."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from fcis.core.errors import InputError
from fcis.imaging.strips.picture import ArrayPicture, Picture
from fcis.imaging.video import VideoInfo, VideoWriter, read_frames, read_info
from fcis.inference.inputs import Job
from fcis.inference.results.jsonl import Moment
from fcis.recipe.types import ModelRecipe

VIDEO_OVERLAY = ".overlay.mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInput:
    """A video that is an INPUT.

    Attributes:
        name: what its results are called, without suffix.
        path: the file.
        info: what its header says.
    """

    name: str
    path: Path
    info: VideoInfo


def find_videos(inputs: Sequence[str], taken: Collection[str] = ()) -> list[VideoInput]:
    """Return the videos that are named, each with a name that no other input has.

    Raises:
        InputError: one cannot be read, or PyAV is not installed.
    """
    names = set(taken)
    videos = []
    for path in dict.fromkeys(Path(item) for item in inputs):
        name, number = path.stem, 1
        while name in names or any(other.startswith(f"{name}/") for other in names):
            number += 1
            name = f"{path.stem}~{number}"
        names.add(name)
        videos.append(VideoInput(name=name, path=path, info=read_info(path)))
    return videos


def frame_jobs(video: VideoInput, model: ModelRecipe, max_pixels: int) -> Iterator[Job]:
    """Yield a job for each frame; one that raises takes the place of frames that are damaged."""
    make = partial(_job, video, (0, *model.category_ids))
    index = 0
    try:
        for frame in read_frames(video.path):
            height, width = frame.image.shape[:2]
            if height * width > max_pixels:
                raise InputError(
                    f"{video.path}: {width} x {height} pixels (width x height) are more than the "
                    f"limit of {max_pixels:,}; raise it with --max-pixels {width * height}"
                )
            index = frame.index + 1
            yield make(Moment(frame=frame.index, seconds=frame.seconds), frame.image)
    except InputError as error:
        yield make(Moment(frame=index, seconds=0.0), error)


class Overlays:
    """The overlays of a run's videos; one is open at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""
        self._writer: VideoWriter | None = None

    def write(self, video: VideoInput, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        """Add a frame to the overlay of a video; the frames of a video must come together.

        Raises:
            InputError: it cannot be written.
        """
        if self._name != video.name or self._writer is None:
            self.close()
            self._name = video.name
            path = self._folder / f"{video.name}{VIDEO_OVERLAY}"
            self._writer = VideoWriter(path, rate=video.info.rate)
        self._writer.write(picture)

    def close(self) -> None:
        """Finish the video that is open.

        Raises:
            InputError: it cannot be written.
        """
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _job(
    video: VideoInput,
    category_ids: tuple[int, ...],
    moment: Moment,
    image: UInt8[np.ndarray, "height width 3"] | InputError,
) -> Job:
    name = f"{video.name}/{moment.frame:06d}"
    read = partial(_pixels, image)

    def open_frame() -> Picture:
        return ArrayPicture(read())

    return Job(
        name=name,
        image_id=name,
        file_name=str(video.path),
        read=read,
        open=open_frame,
        category_ids=category_ids,
        moment=moment,
    )


def _pixels(
    image: UInt8[np.ndarray, "height width 3"] | InputError,
) -> UInt8[np.ndarray, "height width 3"]:
    if isinstance(image, InputError):
        raise image
    return image
