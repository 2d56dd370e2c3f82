"""What people add most often touches two files: each patch here is such a thing, and is used.

CONTRIBUTING shows them as examples.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcis.core.masks import rle_area

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
PATCHES = sorted(HERE.glob("*.patch"))


def apply(patch, folder):
    """Apply a patch to a copy of the source, in a folder that is not a part of this repository."""
    source = folder / "src"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        ["git", "apply", "--verbose", str(patch)],
        cwd=folder,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return source


@pytest.fixture
def patched(tmp_path):
    """Run commands of a copy of the source to which the patch of a name is applied."""

    def patched_by(name):
        source = apply(HERE / f"{name}.patch", tmp_path)

        def run(*arguments, code=0):
            done = subprocess.run(
                [sys.executable, "-m", "fcis", *map(str, arguments)],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(source)},
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == code, done.stderr
            return done.stderr if code else done.stdout

        return run

    return patched_by


# the code that uses the new thing is not counted
USERS = {"recipe_field": {"src/fcis/model/detector.py"}}


@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)
def test_few_files_are_touched(patch):
    touched = re.findall(r"^\+\+\+ b/(.+)$", patch.read_text(), re.MULTILINE)
    users = USERS.get(patch.stem, set())
    assert users <= set(touched)
    assert len(set(touched) - users) == (1 if users else 2)
    assert all(name.startswith("src/fcis/") for name in touched)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)
def test_it_fits_the_source_of_today(patch, tmp_path):
    apply(patch, tmp_path)


def test_there_is_a_walk_of_each_kind():
    assert [path.stem for path in PATCHES] == ["backbone", "command", "format", "recipe_field"]


@pytest.mark.slow
def test_a_backbone(patched, tmp_path):
    run, folder = patched("backbone"), tmp_path / "run"
    settings = ["backbone.network=plain", "steps=2", "crop=64"]
    changes = [word for setting in settings for word in ("--set", setting)]
    data = ["--train", "scenes:2:1", "--val", "scenes:1:2"]
    run("train", *data, "--recipe", "tiny", "--out", folder, "--device", "cpu", *changes)
    found = run("predict", "scenes:1:3", "--weights", folder, "--out", tmp_path / "found")
    assert re.search(r"\d+ instances? in 1 image", found)
    assert (tmp_path / "found" / "predictions.json").is_file()


@pytest.mark.slow
def test_a_format(patched, tmp_path):
    run, folder = patched("format"), tmp_path / "circles"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / name)
    rows = ("a.png,cell,20,30,10", "a.png,debris,60,60,8", "b.png,cell,50,50,20.5")
    (folder / "circles.csv").write_text("\n".join(rows) + "\n")
    run("data", "check", folder)
    run("data", "convert", folder, tmp_path / "coco", "--to", "coco")
    run("data", "preview", folder, "--out", tmp_path / "preview.png")
    again = run("data", "convert", tmp_path / "coco", tmp_path / "masks", "--to", "masks")
    assert "3 objects" in again


@pytest.mark.slow
def test_a_command(patched):
    run = patched("command")
    counts = dict(line.split(": ") for line in run("count", "scenes:4:1").splitlines())
    assert len(counts) == 8 and sum(map(int, counts.values())) > 4
    assert "count the objects of each class" in run("--help")
    assert "fcis count train.json" in run("count", "--help")


@pytest.mark.slow
def test_a_recipe_field(patched, tmp_path):
    """It has its bound, its place in files and its way through --set by its annotation alone."""
    run, folder = patched("recipe_field"), tmp_path / "run"
    data = ["--train", "scenes:2:1", "--val", "scenes:1:2", "--recipe", "tiny"]
    short = ["--set", "steps=2", "--set", "crop=64", "--device", "cpu", "--out", folder]
    run("train", *data, *short, "--set", "least_area=300")
    found = ["--score-threshold", "0", "--out", tmp_path / "found", "--device", "cpu"]
    run("predict", "scenes:1:3", "--weights", folder, *found)
    entries = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert all(rle_area(entry["segmentation"]) >= 300 for entry in entries)
    error = run("train", *data, *short, "--set", "least_area=-1", code=2)
    assert "--set model.detection.least_area: is -1, expected 0 to 1,000,000,000" in error
