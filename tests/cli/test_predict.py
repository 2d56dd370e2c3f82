"""`fcis predict`: what it writes, what it says, and what it does with every kind of bad input."""

import gc
import json
import signal
import struct
import subprocess
import sys
import weakref
import zlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from fcis.cli.main import main
from fcis.imaging.video import VideoWriter, read_frames
from fcis.inference.predictor import Predictor
from fcis.model.build import build_model
from fcis.weights.weights_file import (
    WeightsInfo,
    load_weights,
    read_info,
    rewrite_info,
    save_weights,
)


@pytest.fixture
def predict(fcis, tiny_weights, tmp_path):
    """Run `fcis predict`, showing everything; returns (code, out, err, results)."""

    def run(*arguments, everything=True):
        shown = ("--score-threshold", 0) if everything else ()
        out = tmp_path / "out"
        code, stdout, stderr = fcis(
            "predict", *arguments, "--weights", tiny_weights, "--out", out, *shown
        )
        path = out / "predictions.json"
        results = json.loads(path.read_text()) if path.is_file() else None
        return code, stdout, stderr, results

    return run


def written(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_folder_gives_results_and_overlays_by_path(predict, save, tmp_path):
    save(tmp_path / "in" / "a" / "1.png")
    save(tmp_path / "in" / "b" / "1.png", 40, 30, seed=1)
    code, out, err, results = predict(tmp_path / "in")
    assert (code, err) == (0, "")
    assert out == f"{len(results)} instances in 2 images: {tmp_path / 'out'}\n"
    assert written(tmp_path / "out") == [
        "a/1.overlay.png",
        "b/1.overlay.png",
        "predictions.json",
    ]
    assert {r["image_id"] for r in results} == {"a/1", "b/1"}
    assert {r["file_name"] for r in results} == {
        str(tmp_path / "in" / "a" / "1.png"),
        str(tmp_path / "in" / "b" / "1.png"),
    }
    for name, size in (("a/1", (64, 48)), ("b/1", (30, 40))):
        assert Image.open(tmp_path / "out" / f"{name}.overlay.png").size == size


def test_results_are_a_coco_list(predict, save, tmp_path):
    _, _, _, results = predict(save(tmp_path / "x.png"))
    assert len(results) == 20  # the recipe's maximum
    scores = [r["score"] for r in results]
    assert scores == sorted(scores, reverse=True)
    for r in results:
        assert r.keys() == {
            "image_id",
            "category_id",
            "bbox",
            "segmentation",
            "score",
            "file_name",
        }
        assert r["segmentation"]["size"] == [48, 64]
        assert isinstance(r["segmentation"]["counts"], str)
        assert r["bbox"] == coco_mask.toBbox(r["segmentation"]).tolist()
        assert 1 <= r["category_id"] <= 8


def test_inputs_may_be_files_and_globs(predict, save, tmp_path):
    for name in ("a.png", "b.png", "c.jpg"):
        save(tmp_path / "in" / name)
    _, _, _, results = predict(tmp_path / "in" / "*.png", tmp_path / "in" / "c.jpg")
    assert {r["image_id"] for r in results} == {"a", "b", "c"}


def test_save_chooses_what_is_written(predict, save, tmp_path):
    predict(save(tmp_path / "x.png"), "--save", "masks")
    assert written(tmp_path / "out") == ["x.masks.png"]
    numbers = np.asarray(Image.open(tmp_path / "out" / "x.masks.png"))
    assert numbers.dtype == np.uint16 and numbers.shape == (48, 64)
    assert 1 <= numbers.max() <= 20


def test_nothing_above_the_threshold_names_the_top_score(predict, save, tmp_path):
    path = save(tmp_path / "x.png")
    _, _, _, everything = predict(path)
    code, out, err, results = predict(path, everything=False)
    top = max(r["score"] for r in everything)
    assert (code, results) == (0, [])
    assert err == f"{path}: nothing reaches the threshold; the top score is {top:.3f}\n"
    assert out == f"0 instances in 1 image: {tmp_path / 'out'}\n"


def test_many_empty_images_are_counted_at_the_end(predict, save, tmp_path):
    for i in range(12):
        save(tmp_path / "in" / f"{i:02d}.png", 16, 16, seed=i)
    code, _, err, _ = predict(tmp_path / "in", everything=False)
    lines = err.splitlines()
    assert code == 0 and len(lines) == 11
    assert lines[-1].startswith("12 images in which nothing reaches the threshold; the top score")


@pytest.fixture
def eager_weights(tiny_weights, tmp_path):
    """Untrained weights that put out three instances at once, and show whatever they find."""
    info = read_info(tiny_weights)
    model = replace(info.model, detection=replace(info.model.detection, max_detections=3))
    path = tmp_path / "eager.safetensors"
    network = build_model(info.model)
    load_weights(tiny_weights, network)
    save_weights(path, network, replace(info, model=model, thresholds=(0.0,) * 8))
    return path


def test_as_many_as_the_weights_put_out_is_said(fcis, save, eager_weights, tmp_path):
    path = save(tmp_path / "x.png", 120, 160)
    command = ("predict", path, "--weights", eager_weights, "--out", tmp_path / "out")
    code, out, err = fcis(*command)
    assert (code, out) == (0, f"3 instances in 1 image: {tmp_path / 'out'}\n")
    assert err == (
        f"{path}: 3 instances, the most that these weights put out at once; for all there are, "
        "look in tiles: --tile SIZE\n"
    )
    # fewer than that; and tiles, which put out as many each
    assert "at once" not in fcis(*command, "--score-threshold", 0.99)[2]
    code, out, err = fcis(*command, "--tile", 64, "--overlap", 16)
    assert err == "" and int(out.split()[0]) > 3
    # nor where all three are shown because low scores were asked for
    rewrite_info(eager_weights, eager_weights, replace(read_info(eager_weights), thresholds=()))
    code, out, err = fcis(*command, "--score-threshold", 0)
    assert (code, err) == (0, "") and out.startswith("3 instances in 1 image")


def test_many_full_images_are_counted_at_the_end(fcis, save, eager_weights, tmp_path):
    for i in range(12):
        save(tmp_path / "in" / f"{i:02d}.png", 60, 80, seed=i)
    arguments = ("--weights", eager_weights, "--out", tmp_path / "out")
    lines = fcis("predict", tmp_path / "in", *arguments)[2].splitlines()
    assert len(lines) == 11 and lines[-1] == "12 images with the most instances at once"


def test_threshold_between_scores_divides_them(predict, save, tmp_path):
    path = save(tmp_path / "x.png")
    _, _, _, everything = predict(path)
    limit = everything[7]["score"]
    _, _, _, some = predict(path, "--score-threshold", repr(limit), everything=False)
    assert [r["score"] for r in some] == [r["score"] for r in everything if r["score"] >= limit]


def test_coco_file_gives_its_ids(predict, annotate, tmp_path):
    path = annotate(tmp_path / "set", category_ids=list(range(50, 58)))
    code, _, _, results = predict(path)
    assert code == 0
    assert {r["image_id"] for r in results} == {7, 9}
    assert {r["file_name"] for r in results} == {"0.png", "1.png"}
    assert {r["category_id"] for r in results} <= set(range(50, 58))
    assert written(tmp_path / "out") == ["0.overlay.png", "1.overlay.png", "predictions.json"]


def test_coco_file_without_annotations_and_categories(predict, annotate, tmp_path):
    def bare(data):
        del data["annotations"], data["categories"]

    path = annotate(tmp_path / "set", bare, ids=("left", "right"))
    moved = tmp_path / "elsewhere"
    (tmp_path / "set" / "images").rename(moved)
    code, _, _, results = predict(path, "--images", moved)
    assert code == 0
    assert {r["image_id"] for r in results} == {"left", "right"}
    assert {r["category_id"] for r in results} <= set(range(1, 9))


def test_scenes(predict, tmp_path):
    code, _, _, results = predict("scenes:1:3")
    assert code == 0 and {r["image_id"] for r in results} == {1}
    assert written(tmp_path / "out") == ["predictions.json", "scene-3-000000.overlay.png"]


def test_size_changes_what_the_network_sees(predict, save, tmp_path, monkeypatch):
    sizes = []
    detect = Predictor.detect

    def spy(self, images):
        prep = self.model.recipe.preprocessing
        sizes.append((prep.short_side, prep.long_side))
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    path = save(tmp_path / "x.png")
    for option in ("96", "96:120"):
        _, _, _, results = predict(path, "--size", option)
        assert results[0]["segmentation"]["size"] == [48, 64]
    assert sizes == [(96, 0), (96, 120)]


# --- images of every kind -------------------------------------------------------------------


def _variants():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (40, 56), dtype=np.uint8)
    rgb = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the right
    return {
        "grey.png": (Image.fromarray(grey), {}),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 20), {}),
        "deep.tif": (Image.fromarray(grey.astype(np.uint16) * 20), {}),
        "float.tif": (Image.fromarray(grey.astype(np.float32) / 7), {}),
        "palette.png": (image.quantize(16), {}),
        "cmyk.jpg": (image.convert("CMYK"), {}),
        "alpha.png": (image.convert("RGBA"), {}),
        "binary.png": (Image.fromarray(grey).convert("1"), {}),
        "turned.jpg": (Image.fromarray(rgb.transpose(1, 0, 2).copy()), {"exif": exif}),
    }


@pytest.mark.parametrize("name", list(_variants()))
def test_kinds_of_images(predict, tmp_path, name):
    image, options = _variants()[name]
    assert image.size == ((40, 56) if name == "turned.jpg" else (56, 40))
    path = tmp_path / "in" / name
    path.parent.mkdir()
    image.save(path, **options)
    code, _, _, results = predict(path)
    assert code == 0 and results
    assert {tuple(r["segmentation"]["size"]) for r in results} == {(40, 56)}
    overlay = Image.open(tmp_path / "out" / f"{path.stem}.overlay.png")
    assert overlay.size == (56, 40)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (300, 2)])
def test_slivers(predict, save, tmp_path, size):
    code, _, _, _ = predict(save(tmp_path / "x.png", *size))
    assert code == 0
    assert Image.open(tmp_path / "out" / "x.overlay.png").size == size[::-1]


def test_deep_images_are_read_with_the_percentiles_of_the_weights(
    predict, tmp_path, tiny_weights, monkeypatch, fcis
):
    from dataclasses import replace

    from fcis.model.build import build_model
    from fcis.weights.weights_file import load_weights, read_info, save_weights

    info = read_info(tiny_weights)
    model = build_model(info.model)
    load_weights(tiny_weights, model)
    prep = replace(info.model.preprocessing, high_depth=(0.0, 100.0))
    other = tmp_path / "other.safetensors"
    save_weights(other, model, replace(info, model=replace(info.model, preprocessing=prep)))
    seen = []
    detect = Predictor.detect

    def spy(self, images):
        seen.append(images[0].image)
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    values = np.full((40, 40), 100, dtype=np.uint16)
    values[0, 0], values[0, 1], values[20:] = 0, 65535, 200
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path)
    for weights in (tiny_weights, other):
        assert fcis("predict", path, "--weights", weights, "--out", tmp_path / "o")[0] == 0
    assert seen[0][30, 30, 0] - seen[0][10, 10, 0] > 90
    assert seen[1][30, 30, 0] - seen[1][10, 10, 0] <= 1


# --- tiles ----------------------------------------------------------------------------------


def test_an_image_in_tiles(predict, save, tmp_path):
    path = save(tmp_path / "x.png", 150, 200)
    code, _, _, results = predict(path, "--tile", 100, "--overlap", 20, "--save", "overlay,coco")
    assert code == 0
    assert len(results) > 20  # the recipe's maximum is one of each tile
    assert {tuple(r["segmentation"]["size"]) for r in results} == {(150, 200)}
    right = max(r["bbox"][0] + r["bbox"][2] for r in results)
    assert right > 190
    assert Image.open(tmp_path / "out" / "x.overlay.png").size == (200, 150)


def test_a_tile_as_large_as_the_image_changes_nothing(predict, save, tmp_path):
    path = save(tmp_path / "x.png")
    plain = predict(path, "--save", "coco,masks")[3]
    picture = (tmp_path / "out" / "x.masks.png").read_bytes()
    assert predict(path, "--tile", 64, "--save", "coco,masks")[3] == plain
    assert (tmp_path / "out" / "x.masks.png").read_bytes() == picture


def test_tiles_raise_the_limit_of_pixels(predict, save, tmp_path, monkeypatch):
    monkeypatch.setattr("fcis.cli.predict.MAX_PIXELS", 5000)
    monkeypatch.setattr("fcis.cli.predict.MAX_TILED_PIXELS", 20_000)
    path = save(tmp_path / "x.png", 100, 100)
    assert "limit of 5,000" in predict(path)[2]
    assert predict(path, "--tile", 64)[0] == 0
    assert "limit of 9,999" in predict(path, "--tile", 64, "--max-pixels", 9999)[2]


def test_a_bad_image_in_tiles_is_left_out(predict, save, tmp_path):
    good = save(tmp_path / "in" / "a.png", 150, 100)
    bad = save(tmp_path / "in" / "b.png", 150, 100)
    bad.write_bytes(good.read_bytes()[:20_000])
    code, _, err, results = predict(tmp_path / "in", "--tile", 64)
    assert code == 2 and {r["image_id"] for r in results} == {"a"}
    assert err.startswith(f"fcis: {bad}: the image is truncated or damaged")


# --- streams --------------------------------------------------------------------------------


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


def lines_of(folder):
    return (folder / "predictions.jsonl").read_text().splitlines()


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


# --- bad images -----------------------------------------------------------------------------


def _bomb():
    """A PNG of a few bytes whose header promises 60,000 x 60,000 pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("cut.png", lambda data: data[: len(data) // 2], "truncated or damaged"),
        ("empty.png", lambda data: b"", "the file is empty"),
        ("text.png", lambda data: b"hello", "not an image that can be read"),
        ("bomb.png", lambda data: _bomb(), "3600000000"),
    ],
)
def test_bad_images_are_left_out(predict, save, tmp_path, name, damage, message):
    good = save(tmp_path / "in" / "good.png")
    bad = tmp_path / "in" / name
    bad.write_bytes(damage(good.read_bytes()))
    code, out, err, results = predict(tmp_path / "in")
    assert code == 2
    assert {r["image_id"] for r in results} == {"good"}
    assert out == f"{len(results)} instances in 1 image: {tmp_path / 'out'}\n"
    first, last = err.splitlines()
    assert first.startswith("fcis: ") and str(bad) in first
    assert message in first.replace(",", "").replace("_", "")
    assert last == "fcis: 1 of 2 images left out"
    # alone, it is one line
    code, _, err, results = predict(bad)
    assert (code, err.count("\n"), results) == (2, 1, [])


def test_max_pixels(predict, save, tmp_path):
    path = save(tmp_path / "x.png", 10, 10)
    assert predict(path, "--max-pixels", 100)[0] == 0
    code, _, err, _ = predict(path, "--max-pixels", 99)
    assert code == 2 and err.count("\n") == 1 and str(path) in err


def test_images_of_another_size_than_the_dataset_says(predict, annotate, tmp_path):
    def swap(data):
        data["images"][0].update(height=64, width=48)
        data["annotations"] = data["annotations"][1:]

    code, _, err, results = predict(annotate(tmp_path / "set", swap))
    assert code == 2 and "the sides are swapped" in err
    assert {r["image_id"] for r in results} == {9}


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


# --- bad arguments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "an INPUT is empty, which would mean this folder; write . for that"),
        (["missing.png"], "missing.png: no such file or folder; check the spelling"),
        (["nothing-*.png"], "nothing-*.png: no image file matches this pattern"),
        (["missing.json"], "missing.json: no such annotation file"),
        (["scenes:0"], "scenes:0: expected scenes[:N[:seed[:apart]]]"),
        (["IMAGE", "--save", "coco,pictures"], "--save coco,pictures: expected some of overlay,"),
        (["IMAGE", "--save", ","], "--save ,: expected some of overlay,coco,masks"),
        (["IMAGE", "--score-threshold", "1.5"], "--score-threshold 1.5: expected a number from 0"),
        (["IMAGE", "--score-threshold", "nan"], "--score-threshold nan: expected a number from 0"),
        (["IMAGE", "--score-threshold", "high"], "invalid float value: 'high'"),
        (["IMAGE", "--max-pixels", "0"], "--max-pixels 0: expected a number above 0"),
        (["IMAGE", "--size", "big"], "--size big: expected SHORT or SHORT:LONG in pixels"),
        (["IMAGE", "--device", "tpu"], "device tpu: must be auto, cpu, cuda, cuda:N or mps"),
        (["IMAGE", "--tile", "10"], "tile 10: expected the side of a tile in pixels, at least 64"),
        (["IMAGE", "--tile", "100", "--overlap", "60"], "overlap 60: expected 8 to 50 pixels"),
        (["IMAGE", "--overlap", "20"], "--overlap 20: is for tiles; add --tile SIZE"),
        (["IMAGE", "--resume"], "--resume: goes on with the lines of a run; add --save jsonl"),
        (
            ["IMAGE", "--resume", "--save", "jsonl,coco"],
            "--resume: predictions.json would lack what the earlier run found; leave coco out",
        ),
        (["missing.mp4"], "missing.mp4: no such file; check the spelling"),
        (["IMAGE", "--images", "x"], "--images x: is for a COCO .json; leave it out"),
    ],
)
def test_bad_arguments(refused, save, tiny_weights, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "x.png")
    arguments = ["x.png" if a == "IMAGE" else a for a in arguments]
    assert message in refused("predict", *arguments, "--weights", tiny_weights)
    assert not (tmp_path / "predictions").exists()


def test_unwritable_out(refused, save, tiny_weights, tmp_path):
    path = save(tmp_path / "x.png")
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        error = refused("predict", path, "--weights", tiny_weights, "--out", out)
        assert f"{out}: the folder cannot be made" in error
        assert "choose another --out" in error


def test_pictures_that_cannot_be_written(refused, save, tiny_weights, tmp_path):
    path = save(tmp_path / "x.png")
    (tmp_path / "out" / "x.overlay.png").mkdir(parents=True)
    error = refused(
        "predict",
        path,
        "--weights",
        tiny_weights,
        "--out",
        tmp_path / "out",
        "--score-threshold",
        0,
    )
    assert f"{tmp_path / 'out' / 'x.overlay.png'}: cannot be written" in error
    assert (tmp_path / "out" / "predictions.json").is_file()


def test_without_weights_the_only_sensible_ones_are_taken(fcis, save, add_to_zoo, tmp_path):
    add_to_zoo("scenes", "drawn shapes")
    add_to_zoo("cells", "fluorescence")
    image, out = save(tmp_path / "x.png"), tmp_path / "out"
    code, _, err = fcis("predict", image, "--out", out, "--device", "cpu", "--score-threshold", 0)
    assert (code, err) == (0, "weights: cells (fluorescence); --weights names others\n")
    assert (out / "x.overlay.png").is_file()


def test_no_weights_lists_what_there_is(refused, save, add_to_zoo, tmp_path):
    add_to_zoo("a", "cells")
    add_to_zoo("b", "photographs")
    error = refused("predict", save(tmp_path / "x.png"))
    assert "--weights is needed: a (cells), b (photographs), a .safetensors file, a run" in error


def test_scales_mirror_image_and_ensemble(fcis, save, tiny_weights, tmp_path):
    path = save(tmp_path / "a.png", 80, 100)

    def scores(*arguments):
        out = tmp_path / "o"
        code, _, err = fcis(
            "predict", path, "--out", out, "--score-threshold", 0, "--save", "coco", *arguments
        )
        assert (code, err) == (0, "")
        return [r["score"] for r in json.loads((out / "predictions.json").read_text())]

    plain = scores("--weights", tiny_weights)
    assert scores("--weights", tiny_weights, tiny_weights) == plain
    assert scores("--weights", tiny_weights, "--scales", "1x") == plain
    tools = ("--scales", "0.5x,1.5x", "--roi-side", 30, "--flip")
    found = scores("--weights", tiny_weights, "--weights", tiny_weights, *tools)
    assert len(found) > 5 and found != plain
    tiled = scores("--weights", tiny_weights, *tools, "--tile", 64, "--overlap", 16)
    assert len(tiled) > 5 and tiled != found


def test_bad_scales(refused, save, tiny_weights, tmp_path):
    path = save(tmp_path / "a.png")
    weights = ("--weights", tiny_weights)
    assert "scales 0x: expected up to 16" in refused("predict", path, *weights, "--scales", "0x")
    error = refused("predict", path, *weights, "--roi-side", "0")
    assert "RoI side 0: expected a number of pixels above 0" in error
    error = refused("predict", path, *weights, "--weights", tmp_path / "b")
    assert "b: no such weights" in error


class TestScoreMaps:
    def test_a_picture_beside_the_overlay(self, predict, save, tmp_path):
        save(tmp_path / "in" / "a" / "1.png")
        save(tmp_path / "in" / "b.png", 40, 30, seed=1)
        code, _, err, results = predict(tmp_path / "in", "--save", "overlay,coco,maps")
        assert (code, err) == (0, "")
        assert written(tmp_path / "out") == [
            "a/1.maps.png",
            "a/1.overlay.png",
            "b.maps.png",
            "b.overlay.png",
            "predictions.json",
        ]
        drawn = Image.open(tmp_path / "out" / "a" / "1.maps.png")
        boxes = [r["bbox"] for r in results if r["image_id"] == "a/1"][:3]
        panels = [round(256 * min(1, height / width)) for _, _, width, height in boxes]
        # titles and maps of each instance, then two rows of panels of the RoI's form
        assert drawn.size == (1376, sum(584 + 2 * (64 + panel) for panel in panels))

    def test_pictures_of_an_earlier_run_are_no_input(self, predict, save, tmp_path):
        save(tmp_path / "out" / "x.png")
        predict(tmp_path / "out", "--save", "maps")
        code, out, _, _ = predict(tmp_path / "out", "--save", "maps")
        assert code == 0 and " in 1 image:" in out
        assert written(tmp_path / "out") == ["x.maps.png", "x.png"]

    def test_nothing_found_is_noted_and_leaves_no_picture(self, predict, save, tmp_path):
        path = save(tmp_path / "x.png")
        code, _, err, _ = predict(path, "--save", "maps", everything=False)
        assert code == 0 and written(tmp_path / "out") == []
        assert err.startswith(f"{path}: nothing reaches the threshold; the top score is ")

    @pytest.mark.parametrize(
        "options",
        [("--tile", 64), ("--flip",), ("--scales", "1x,2x"), ("--weights", "other.safetensors")],
        ids=lambda o: o[0],
    )
    def test_one_network_and_whole_images(self, refused, tiny_weights, save, tmp_path, options):
        path = save(tmp_path / "x.png")
        line = refused("predict", path, "--weights", tiny_weights, "--save", "maps", *options)
        assert line == (
            "fcis: --save maps: shows the maps of one network for a whole image; leave out "
            "--tile, --scales, --flip and all --weights but one\n"
        )

    def test_videos_have_none(self, refused, tiny_weights, tmp_path):
        line = refused("predict", "film.mp4", "--weights", tiny_weights, "--save", "maps")
        assert line == "fcis: --save maps: is for images, and film.mp4 is a video\n"

    def test_other_systems_have_none(self, refused, tiny_weights, save, tmp_path):
        recipe = replace(read_info(tiny_weights).model, system="fcis-separate")
        weights = tmp_path / "separate.safetensors"
        save_weights(weights, build_model(recipe), WeightsInfo(model=recipe))
        path = save(tmp_path / "x.png")
        out = tmp_path / "out"
        line = refused("predict", path, "--weights", weights, "--save", "maps", "--out", out)
        assert line == (
            "fcis: score maps: a network of the system fcis-separate has no inside and outside "
            "maps; take weights of fcis\n"
        )
        assert not out.exists()
