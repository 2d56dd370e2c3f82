"""`fcis demo` with weights in the package: untrained stand-ins for them."""

import csv
import json
from dataclasses import replace

import pytest
from PIL import Image

from fcis.data.scenes import cell_scenes
from fcis.data.scenes import shape_scenes as scenes
from fcis.lab import demo
from fcis.recipe.named import named_recipe


@pytest.fixture
def both(add_to_zoo):
    """Put weights of both names into the zoo."""
    add_to_zoo(demo.NUCLEI, "fluorescence", cell_scenes.CATEGORIES)
    add_to_zoo(demo.SCENES, "drawn shapes", scenes.CATEGORIES)


@pytest.fixture
def tiny(monkeypatch):
    """Let the demo draw and train as little as is possible."""
    recipe = replace(named_recipe("tiny"), name="demo")
    recipe = replace(recipe, training=replace(recipe.training, steps=2, workers=0))
    monkeypatch.setattr(demo, "short_recipe", lambda: recipe)
    for name, value in (("SHOWN", 2), ("_TRAIN_SCENES", 2), ("_VAL_SCENES", 1), ("_SIDE", 64)):
        monkeypatch.setattr(demo, name, value)


def test_pictures_come_first_then_training(fcis, both, tiny, tmp_path):
    out = tmp_path / "demo"
    code, text, _ = fcis("demo", "--out", out, "--device", "cpu")
    assert code == 0
    parts = [
        "2 drawn images with the weights nuclei (fluorescence):",
        f"  first picture: {out / 'nuclei' / 'cells-2-000000.overlay.png'}",
        " objects found; mask AP50 0.000\n",
        "2 drawn images with the weights scenes (drawn shapes):",
        f"  first picture: {out / 'scenes' / 'scene-2-000000.overlay.png'}",
        "training a network from scratch on drawn scenes, 2 steps:",
        "  the loss went from ",
        "; 2500 steps are usual",
        f"  losses:        {out / 'run' / 'curves.png'}",
        "next:\n  fcis predict YOUR_IMAGES --weights nuclei\n",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    for name, stem, source in (("nuclei", "cells", 1), ("scenes", "scene", 8)):
        folder = out / name
        pictures = sorted(path.name for path in folder.glob("*.png"))
        assert pictures == [f"{stem}-2-{i:06d}.overlay.png" for i in range(2)] + ["sheet.png"]
        assert Image.open(folder / "sheet.png").width > 512
        found = json.loads((folder / "predictions.json").read_text())
        assert {result["category_id"] for result in found} <= set(range(1, source + 1)) and found
        assert json.loads((folder / "figures.json").read_text())["images"] == 2
    with (out / "run" / "metrics.csv").open() as file:
        assert sum(bool(row["loss"]) for row in csv.DictReader(file)) >= 1
    # once more into the same folder, whose run is over
    code, again, _ = fcis("demo", "--out", out, "--device", "cpu")
    assert code == 0 and len(again.splitlines()) > 15
    assert set(again.splitlines()) <= set(text.splitlines())


def test_an_unwritable_folder(refused, both, tmp_path):
    (tmp_path / "file").write_text("")
    error = refused("demo", "--out", tmp_path / "file" / "demo")
    assert "the folder cannot be made (Not a directory); choose another --out" in error
