"""`fcis data preview`: what it writes and what it refuses."""

import numpy as np
import pytest
from PIL import Image


def test_images_as_annotated(fcis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = fcis("data", "preview", "scenes:3:1", "--count", 2)
    assert (code, err) == (0, "")
    assert out == "preview.png: 2 images as annotated; --recipe R shows training samples\n"
    with Image.open("preview.png") as sheet:
        assert sheet.format == "PNG" and sheet.width > 512
    code, out, _ = fcis("data", "preview", "scenes:1:1", "--out", "one/p.PNG")
    assert out == "one/p.PNG: 1 image as annotated; --recipe R shows training samples\n"
    assert (tmp_path / "one" / "p.PNG").is_file()


def test_samples_of_a_recipe(fcis, tmp_path):
    def sheet(*arguments):
        out = tmp_path / "sheet.png"
        arguments = ("scenes:3:1", "--recipe", "tiny", "--count", 2, "--out", out, *arguments)
        code, text, _ = fcis("data", "preview", *arguments)
        assert code == 0
        with Image.open(out) as image:
            return np.asarray(image), text

    first, text = sheet()
    assert text.endswith("sheet.png: 2 samples of tiny, seed 0, beside their images\n")
    same, _ = sheet("--seed", 0)
    other, text = sheet("--seed", 3)
    assert "seed 3" in text
    np.testing.assert_array_equal(first, same)
    assert first.shape != other.shape or (first != other).any()


def test_images_of_a_file(fcis, annotate, tmp_path):
    path = annotate(tmp_path)
    out = tmp_path / "sheet.png"
    assert fcis("data", "preview", path, "--recipe", "tiny", "--out", out)[0] == 0
    (tmp_path / "images").rename(tmp_path / "pictures")
    arguments = ("data", "preview", path, "--out", out)
    assert fcis(*arguments)[0] == 2
    assert fcis(*arguments, "--images", tmp_path / "pictures")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "none.json: no such annotation file"),
        (["scenes", "--recipe", "best"], "--recipe best: no such recipe"),
        (["scenes", "--out", "a.jpg"],
         "--out a.jpg: the sheet is a PNG; give a name that ends in .png"),
        (["scenes", "--count", "0"], "--count 0: expected 1 or more"),
        (["scenes", "--seed", "-1"], "--seed -1: expected 0 or more"),
        (["scenes", "--out", "file/x.png"], "--out file/x.png: cannot be written ("),
    ],
)  # fmt: skip
def test_bad_arguments(refused, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert message in refused("data", "preview", *arguments)
    assert not list(tmp_path.rglob("*.png"))


def test_a_disk_that_is_full(refused, tmp_path, monkeypatch):
    def save(self, path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    out = tmp_path / "x.png"
    error = refused("data", "preview", "scenes:1:1", "--out", out)
    assert error == (
        f"fcis: --out {out}: cannot be written (No space left on device); choose another\n"
    )
