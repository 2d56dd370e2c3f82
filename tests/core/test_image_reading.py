"""How an image is read comes from the recipe as one record, whatever the record holds."""

from dataclasses import dataclass
from pathlib import Path

import pytest

import fcis as package
from fcis.core.image_reading import ImageReading
from fcis.data import dataset
from fcis.inference import image_predictor
from fcis.recipe.types import ModelRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Longer(ImageReading):
    """The record with a field that nothing between recipe and reader knows."""

    extra: str = "asked for"


@pytest.fixture
def read(monkeypatch):
    """Let recipes ask for `Longer`; returns files and how each is read, as readers are told."""
    told = []

    def spy(own):
        def reader(path, reading, **options):
            told.append((Path(path).parent.parent.name, reading))
            return own(path, reading, **options)

        return reader

    monkeypatch.setattr(ModelRecipe, "image_reading", Longer())
    for module in (dataset, image_predictor):
        for name in ("read_as", "open_picture"):
            monkeypatch.setattr(module, name, spy(getattr(module, name)))
    return told


@pytest.fixture
def sets(annotate, tmp_path):
    """Write a training and a validation set; returns their annotation files."""
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
    return annotate(tmp_path / "train", ids=(7, 9)), annotate(tmp_path / "val", ids=(1, 2, 3))


def test_training_and_its_validation(fcis, read, sets, tmp_path):
    code, _, err = fcis(
        "train", "--train", sets[0], "--val", sets[1], "--recipe", "tiny", "--set", "steps=1",
        "--set", "validation_loss=true", "--out", tmp_path / "run", "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert set(read) == {("train", Longer()), ("val", Longer())}


@pytest.mark.parametrize("tiles", [(), ("--tile", 64)])
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_commands(fcis, read, sets, tiny_weights, tmp_path, command, tiles):
    source = ("--data", sets[1]) if command == "evaluate" else (sets[1].parent / "images",)
    out = () if command == "evaluate" else ("--out", tmp_path / "out")
    code, _, err = fcis(command, *source, "--weights", tiny_weights, *out, *tiles)
    assert code == 0, err
    assert len(read) >= 3 and set(read) == {("val", Longer())}


def test_preview(fcis, read, sets, tmp_path):
    out = tmp_path / "sheet.png"
    code, _, err = fcis("data", "preview", sets[0], "--recipe", "tiny", "--out", out)
    assert code == 0, err
    assert set(read) == {("train", Longer())}


@pytest.mark.parametrize("limit", [10**6, 100])
def test_python(read, sets, tiny_weights, monkeypatch, limit):
    monkeypatch.setattr(image_predictor, "MAX_PIXELS", limit)
    image = sets[1].parent / "images" / "0.png"
    package.load(tiny_weights, device="cpu").predict(image, tile=64)
    assert read == [("val", Longer())]


def test_one_and_three_channels_are_rgb():
    assert [n for n in range(1, 6) if ImageReading(channels=n).is_rgb] == [1, 3]
