import sys
from fractions import Fraction

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.imaging.video import VideoWriter, is_video, read_frames, read_info


def scene(number, height=48, width=64):
    """A grey image with a bright bar that moves."""
    image = np.full((height, width, 3), 60, dtype=np.uint8)
    image[:, (number * 2) % (width - 16) : (number * 2) % (width - 16) + 16] = 200
    return image


def write(path, count=12, rate=10, **size):
    writer = VideoWriter(path, rate=Fraction(rate))
    for number in range(count):
        writer.write(scene(number, **size))
    writer.close()
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_frames_come_back_in_order(tmp_path, suffix):
    path = write(tmp_path / f"x{suffix}")
    info = read_info(path)
    assert info.rate == 10 and info.num_frames == 12
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(12))
    np.testing.assert_allclose([f.seconds for f in frames], np.arange(12) / 10, atol=0.02)
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
        assert np.abs(frame.image.astype(int) - scene(frame.index)).mean() < 6


def test_frames_are_decoded_one_by_one(tmp_path):
    frames = read_frames(write(tmp_path / "x.mp4", count=40))
    assert next(frames).index == 0
    frames.close()


@pytest.mark.parametrize("size", [(47, 63), (48, 63), (1, 64)])
def test_odd_sizes(tmp_path, size):
    path = write(tmp_path / "x.mp4", count=2, height=size[0], width=size[1])
    shape = next(read_frames(path)).image.shape
    assert shape == (max(2, size[0] // 2 * 2), size[1] // 2 * 2, 3)


def test_frames_that_change_their_size(tmp_path):
    writer = VideoWriter(tmp_path / "x.mp4", rate=Fraction(10))
    writer.write(scene(0))
    with pytest.raises(InputError, match=r"x\.mp4: the frames of the video change their size"):
        writer.write(scene(0, 96, 64))
    writer.close()
    assert len(list(read_frames(tmp_path / "x.mp4"))) == 1


def test_a_writer_without_frames_leaves_no_file(tmp_path):
    VideoWriter(tmp_path / "x.mp4", rate=Fraction(10)).close()
    assert not (tmp_path / "x.mp4").exists()


def test_rotated_videos_are_turned_upright(tmp_path):
    """A telephone that was held upright: the file says so beside the frames."""
    import av

    plain = write(tmp_path / "plain.mp4", count=1)
    data = bytearray(plain.read_bytes())
    one, none, w = (n.to_bytes(4, "big", signed=True) for n in (1 << 16, 0, 1 << 30))
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    identity = one + none * 3 + one + none * 3 + w
    quarter = none + one + none + minus + none * 4 + w  # 90 degrees, clockwise
    place = data.index(identity, data.index(b"tkhd"))
    data[place : place + 36] = quarter
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    with av.open(str(turned)) as container:
        assert next(container.decode(video=0)).rotation == -90
    (frame,), (upright,) = read_frames(turned), read_frames(plain)
    assert frame.image.shape == (64, 48, 3)
    np.testing.assert_array_equal(frame.image, np.rot90(upright.image, -1))


def test_videos_by_name():
    assert is_video("a/b.MP4") and is_video("x.webm")
    assert not is_video("x.png") and not is_video("mp4")


def test_missing_damaged_and_no_videos(tmp_path):
    for read in (read_info, lambda path: list(read_frames(path))):
        with pytest.raises(InputError, match=r"y\.mp4: no such file"):
            read(tmp_path / "y.mp4")
        (tmp_path / "z.mp4").write_bytes(b"no video")
        with pytest.raises(InputError, match=r"z\.mp4: truncated, damaged or not a video"):
            read(tmp_path / "z.mp4")


def test_sound_alone_is_no_video(tmp_path):
    import av

    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono"
        )
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match=r"x\.mkv: has no pictures, only sound"):
        read_info(path)


def test_a_place_that_cannot_be_written(tmp_path):
    writer = VideoWriter(tmp_path / "missing" / "x.mp4", rate=Fraction(10))
    with pytest.raises(InputError, match=r"x\.mp4: cannot be written \(.*\); make room or choose"):
        writer.write(scene(0))


def test_without_the_library(tmp_path, monkeypatch):
    path = write(tmp_path / "x.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    message = r'videos need PyAV, which is not installed; pip install "fcis-torch\[video\]"'
    with pytest.raises(InputError, match=message):
        read_info(path)
    with pytest.raises(InputError, match=message):
        VideoWriter(path, rate=Fraction(10)).write(scene(0))
