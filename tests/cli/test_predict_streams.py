"""`fcis predict`: videos, lines as they are done, and what is left when it is stopped."""

import gc
import json
import signal
import subprocess
import sys
import weakref
from fractions import Fraction

import numpy as np
import pytest
from tests.cli.outputs import lines_of, written

from fcis.cli.main import main
from fcis.imaging.video import VideoWriter, read_frames
from fcis.inference.predictor import Predictor


@pytest.fixture
def film(tmp_path):
    """Write a video of noisy frames."""

    def write(name="film.mp4", count=40):
        rng = np.random.default_rng(0)
        writer = VideoWriter(tmp_path / name, rate=Fraction(10))
        scene = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        for number in range(count):
            writer.write(np.roll(scene, number, axis=1))
        writer.close()
        return tmp_path / name

    return write


def test_a_video(predict, film, tmp_path):
    code, out, err, results = predict(film())
    assert (code, results) == (0, None)
    assert "fcis:" not in err  # there may be a bar
    lines = [json.loads(line) for line in lines_of(tmp_path / "out")]
    assert [line["image_id"] for line in lines] == [f"film/{i:06d}" for i in range(40)]
    assert [line["frame"] for line in lines] == list(range(40))
    assert lines[7]["seconds"] == pytest.approx(0.7)
    count = sum(len(line["instances"]) for line in lines)
    assert count > 600
    assert out == f"{count} instances in 40 images: {tmp_path / 'out'}\n"
    assert written(tmp_path / "out") == ["film.overlay.mp4", "predictions.jsonl"]
    frames = list(read_frames(tmp_path / "out" / "film.overlay.mp4"))
    assert len(frames) == 40 and frames[0].image.shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl,overlay"])
def test_an_interrupted_video_goes_on(predict, film, tmp_path, monkeypatch, interruptible, kind):
    """The same lines, and the same overlay, as without the interruption."""
    path = film(count=12)
    predict(path, "--save", kind)
    expected = written(tmp_path / "out")
    lines = lines_of(tmp_path / "out")
    overlay = tmp_path / "out" / "film.overlay.mp4"
    frames = [f.image for f in read_frames(overlay)] if overlay.exists() else []
    calls = []
    detect = Predictor.detect

    def fifth_time(self, images):
        calls.append(1)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", fifth_time)
    code, _, err, _ = predict(path, "--save", kind)
    assert code == 130 and err.endswith("fcis: interrupted after 4 images\n")
    assert lines_of(tmp_path / "out") == lines[:4]
    if frames:
        assert len(list(read_frames(overlay))) == 4  # it can be played
    with (tmp_path / "out" / "predictions.jsonl").open("a") as file:
        file.write(lines[4][:50])  # as a run that was killed leaves it
    code, out, err, _ = predict(path, "--save", kind, "--resume")
    assert (code, len(calls)) == (0, 5 + 8) and "fcis:" not in err
    assert "in 8 images (4 were done before)" in out
    assert lines_of(tmp_path / "out") == lines
    assert written(tmp_path / "out") == expected
    for one, two in zip(read_frames(overlay) if frames else (), frames, strict=True):
        np.testing.assert_array_equal(one.image, two)
    code, out, _, _ = predict(path, "--save", "jsonl", "--resume")
    assert "0 instances in 0 images (12 were done before)" in out


def test_a_folder_as_a_stream(predict, save, tmp_path):
    for i in range(5):
        save(tmp_path / "in" / f"{i}.png", seed=i)
    predict(tmp_path / "in", "--save", "jsonl,overlay")
    lines = lines_of(tmp_path / "out")
    assert [json.loads(line)["image_id"] for line in lines] == list("01234")
    assert "frame" not in json.loads(lines[0])
    path = tmp_path / "out" / "predictions.jsonl"
    path.write_text(f"{lines[0]}\n{lines[1]}\n{lines[2][:30]}")
    code, out, _, _ = predict(tmp_path / "in", "--save", "jsonl", "--resume")
    assert code == 0 and "in 3 images (2 were done before)" in out
    assert lines_of(tmp_path / "out") == lines


def test_videos_and_images_together(predict, film, save, tmp_path):
    path = film(count=3)
    image = save(tmp_path / "film.png")
    code, _, _, _ = predict(path, image, "--save", "jsonl,masks,coco", "--tile", 64)
    assert code == 0
    assert [json.loads(line)["image_id"] for line in lines_of(tmp_path / "out")] == [
        "film", "film~2/000000", "film~2/000001", "film~2/000002",
    ]  # fmt: skip
    assert written(tmp_path / "out") == [
        "film.masks.png", "film~2/000000.masks.png", "film~2/000001.masks.png",
        "film~2/000002.masks.png", "predictions.json", "predictions.jsonl",
    ]  # fmt: skip


@pytest.mark.slow
def test_few_frames_are_alive(predict, film, monkeypatch):
    alive, most = [], []
    detect = Predictor.detect

    def spy(self, images):
        gc.collect()
        alive.extend(weakref.ref(image.image) for image in images)
        most.append(sum(ref() is not None for ref in alive))
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    assert predict(film())[0] == 0
    assert len(most) == 40 and max(most) <= 4


@pytest.mark.slow
def test_a_long_video_needs_no_more_memory(film, tiny_weights, tmp_path):
    """The most memory of a process that sees 500 frames, and of one that sees 60."""
    path = film(count=500)
    short = film("short.mp4", count=60)
    peaks = []

    def command(video):
        out = ["--out", str(tmp_path / video.stem), "--score-threshold", "0"]
        return ["predict", str(video), "--weights", str(tiny_weights), *out]

    for video in (short, path):
        script = (
            "import resource, sys; from fcis.cli.main import main; code = main(sys.argv[1:]); "
            "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, *command(video)],
            capture_output=True,
            text=True,
            check=True,
        )
        code, peak = map(int, done.stdout.split()[-2:])
        assert code == 0
        peaks.append(peak)
    assert len(lines_of(tmp_path / "film")) == 500
    assert peaks[1] - peaks[0] < 60_000  # kB; the frames alone would take no less, all at once
    # lines and overlay are as good after an interruption in the middle
    lines = lines_of(tmp_path / "film")
    (tmp_path / "film" / "predictions.jsonl").write_text(
        "\n".join(lines[:200]) + "\n" + lines[200][:9]
    )
    assert main([*command(path), "--resume"]) == 0
    assert lines_of(tmp_path / "film") == lines


def test_interrupt_keeps_what_was_found(predict, save, tmp_path, monkeypatch, interruptible):
    for i in range(4):
        save(tmp_path / "in" / f"{i}.png", seed=i)
    calls = []
    detect = Predictor.detect

    def third_time(self, images):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", third_time)
    code, out, err, results = predict(tmp_path / "in")
    assert code == 130
    assert {r["image_id"] for r in results} == {"0", "1"}
    assert "instances in 2 images" in out
    assert err == "fcis: interrupted after 2 of 4 images\n"


def test_a_bug_keeps_what_was_found(predict, save, tmp_path, monkeypatch):
    for i in range(2):
        save(tmp_path / "in" / f"{i}.png", seed=i)
    detect = Predictor.detect
    calls = []

    def second_time(self, images):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("a bug")
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", second_time)
    with pytest.raises(RuntimeError, match="a bug"):
        predict(tmp_path / "in")
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {r["image_id"] for r in results} == {"0"}
