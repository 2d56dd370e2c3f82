from fractions import Fraction

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.imaging.strips.picture import ArrayPicture
from fcis.imaging.video import VideoWriter, read_frames
from fcis.inference.video_inputs import Overlays, find_videos, frame_jobs
from fcis.recipe.types import ModelRecipe

MODEL = ModelRecipe(class_names=("cat", "dog"), category_ids=(17, 18))


@pytest.fixture
def film(tmp_path):
    """Write a video of grey frames."""

    def write(name, count=5, levels=10):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = VideoWriter(path, rate=Fraction(10))
        for number in range(count):
            writer.write(np.full((32, 48, 3), number * levels % 256, dtype=np.uint8))
        writer.close()
        return path

    return write


def test_a_job_a_frame(film):
    path = film("a.mp4")
    (video,) = find_videos([str(path)])
    assert (video.name, video.info.num_frames) == ("a", 5)
    jobs = list(frame_jobs(video, MODEL, 10_000))
    assert [job.name for job in jobs] == [f"a/{i:06d}" for i in range(5)]
    assert [job.image_id for job in jobs] == [job.name for job in jobs]
    assert [job.moment.frame for job in jobs] == [0, 1, 2, 3, 4]
    assert jobs[3].moment.seconds == pytest.approx(0.3)
    assert {job.file_name for job in jobs} == {str(path)}
    assert jobs[0].category_ids == (0, 17, 18)
    image = jobs[4].read()
    assert abs(image.mean() - 40) < 4
    assert isinstance(jobs[4].open(), ArrayPicture)
    np.testing.assert_array_equal(jobs[4].open().read(), image)


def test_frames_are_decoded_when_their_turn_comes(film, monkeypatch):
    decoded = []

    def spy(path):
        for frame in read_frames(path):
            decoded.append(frame.index)
            yield frame

    monkeypatch.setattr("fcis.inference.video_inputs.read_frames", spy)
    jobs = frame_jobs(find_videos([str(film("a.mp4", 30))])[0], MODEL, 10_000)
    next(jobs)
    next(jobs)
    assert decoded == [0, 1]


def test_names_differ(film):
    paths = [str(film(name)) for name in ("x/a.mp4", "y/a.mp4", "b.mp4", "x/c.mp4")]
    videos = find_videos([*paths, paths[0]], ["b", "c/000001"])
    assert [video.name for video in videos] == ["a", "a~2", "b~2", "c~2"]


def test_too_many_pixels_and_damage_end_a_video(film):
    path = film("a.mp4", 40)
    (video,) = find_videos([str(path)])
    (job,) = frame_jobs(video, MODEL, 100)
    with pytest.raises(InputError, match=r"48 x 32 pixels .* limit of 100; raise it with --max-p"):
        job.read()
    with pytest.raises(InputError):
        job.open()
    path.write_bytes(b"gone")
    (job,) = frame_jobs(video, MODEL, 10_000)
    assert job.moment.frame == 0
    with pytest.raises(InputError, match=r"a\.mp4: truncated, damaged or not a video"):
        job.read()


def test_overlays_of_several_videos(film, tmp_path):
    videos = find_videos([str(film("a.mp4")), str(film("b.mp4"))])
    overlays = Overlays(tmp_path)
    for video in videos:
        for level in (50, 150, 250):
            overlays.write(video, np.full((32, 48, 3), level, dtype=np.uint8))
    overlays.close()
    overlays.close()
    for name in "ab":
        frames = list(read_frames(tmp_path / f"{name}.overlay.mp4"))
        assert [round(f.image.mean(), -1) for f in frames] == [50, 150, 250]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video(film):
    """Frames that have been looked at are let go."""
    import gc
    import weakref

    alive = []
    jobs = frame_jobs(find_videos([str(film("a.mp4", 40, 5))])[0], MODEL, 10_000)
    for job in jobs:
        alive.append(weakref.ref(job.read()))
        gc.collect()
        assert sum(ref() is not None for ref in alive) <= 3
