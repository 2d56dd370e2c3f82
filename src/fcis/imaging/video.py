"""Video files to frames and back, one frame at a time.

Needs PyAV, which is imported only where a video is opened.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import UInt8

from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

SUFFIXES = frozenset(".avi .m4v .mkv .mov .mp4 .webm".split())
_CODECS = ("libx264", "h264", "mpeg4")  # the first that this build of FFmpeg has
_USUAL_RATE = Fraction(25)
_HUNDREDTH = 100  # of a frame a second; containers cannot hold every fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What the header of a video says.

    Attributes:
        rate: frames a second.
        num_frames: as many as it should have; None where it does not say.
    """

    rate: Fraction
    num_frames: int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """A picture of a video.

    Attributes:
        index: from 0.
        seconds: since the beginning of the video.
        image: RGB, upright.
    """

    index: int
    seconds: float
    image: UInt8[np.ndarray, "height width 3"]


def is_video(path: str | Path) -> bool:
    """Return whether a name is that of a video, by its suffix."""
    return Path(path).suffix.lower() in SUFFIXES


def read_info(path: Path) -> VideoInfo:
    """Return what the header of a video file says.

    Raises:
        InputError: no such file, not a video, or PyAV is not installed.
    """
    av = _library()
    _check(path)
    with guarded(partial(_unreadable, path)), av.open(str(path)) as container:
        if not container.streams.video:
            raise InputError(f"{path}: has no pictures, only sound; give a video")
        stream = container.streams.video[0]
        rate = _rate(stream)
        num_frames = stream.frames
        if not num_frames and container.duration:
            num_frames = round(container.duration / av.time_base * rate)
        return VideoInfo(rate=rate, num_frames=num_frames or None)


def read_frames(path: Path) -> Iterator[Frame]:
    """Yield the frames of a video in order; each is decoded when its turn comes.

    Raises:
        InputError: the file cannot be read, or is damaged from here on; PyAV is not installed.
    """
    av = _library()
    _check(path)
    reading = partial(guarded, partial(_unreadable, path))
    with ExitStack() as stack:
        with reading():
            container = stack.enter_context(av.open(str(path)))
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(_rate(stream))
            timed = container.format.name != "avi"  # which holds the order of decoding alone
            frames = container.decode(stream)
        for index in count():
            with reading():
                frame = next(frames, None)
                if frame is None:
                    return
                image = frame.to_ndarray(format="rgb24")
                turns = round(frame.rotation / 90) % 4  # telephones are held in every way
                seconds = float(frame.time) if timed and frame.time is not None else index / rate
            upright = np.ascontiguousarray(np.rot90(image, turns))
            yield Frame(index=index, seconds=seconds, image=upright)


class VideoWriter:
    """Writes frames of one size to a video file; `close` makes it one that can be played."""

    def __init__(self, path: Path, *, rate: Fraction) -> None:
        self._path = path
        self._rate = rate.limit_denominator(_HUNDREDTH)
        self._open: tuple[OutputContainer, VideoStream] | None = None
        self._size = (0, 0)

    def write(self, image: UInt8[np.ndarray, "height width 3"]) -> None:
        """Add a frame.

        Frames of an odd width or height lose their last column or row, as usual codecs store
        colours for pairs of pixels.

        Raises:
            InputError: the file cannot be written, or PyAV is not installed.
        """
        av = _library()
        height, width = (max(2, n // 2 * 2) for n in image.shape[:2])
        try:
            if self._open is None:
                self._path.touch()  # the library opens it after some frames only
                container: OutputContainer = av.open(str(self._path), "w")
                codec = next(name for name in _CODECS if name in av.codecs_available)
                stream = cast("VideoStream", container.add_stream(codec, rate=self._rate))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                self._open = container, stream
                self._size = (height, width)
            container, stream = self._open
            if (height, width) != self._size:
                raise InputError(f"{self._path}: the frames of the video change their size")
            pad = [(0, max(0, 2 - n)) for n in image.shape[:2]]
            even = np.pad(image, [*pad, (0, 0)], mode="edge")[:height, :width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            container.mux(stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Write what the codec still holds, and end the file.

        Raises:
            InputError: the file cannot be written.
        """
        if self._open is None:
            return
        av = _library()
        (container, stream), self._open = self._open, None
        try:
            container.mux(stream.encode(None))
            container.close()
        except (av.error.FFmpegError, OSError) as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: BaseException) -> InputError:
        return InputError(
            f"{self._path}: cannot be written ({error}); make room or choose another --out"
        )


def _library() -> ModuleType:
    """Return PyAV."""
    try:
        import av
        import av.error
    except ImportError:
        raise InputError(
            'videos need PyAV, which is not installed; pip install "fcis-torch[video]"'
        ) from None
    return av


def _rate(stream: "VideoStream") -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or _USUAL_RATE)


def _check(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the spelling")


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: truncated, damaged or not a video ({reason_of(error)}); copy it again"
    )
