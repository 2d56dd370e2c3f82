"""Images, annotation files and a way to run the command in the test's process."""

import json

import numpy as np
import pytest
from PIL import Image

from fcis.cli import main


def noise(height, width, seed=0):
    """A picture in which a network finds something, however little it has learnt."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def save():
    """Write a noisy picture and return its path."""

    def write(path, height=48, width=64, seed=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(height, width, seed)).save(path)
        return path

    return write


@pytest.fixture
def fcis(capsys):
    """Run a command line; returns (exit code, standard output, standard error)."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(fcis):
    """Run a command line that must be refused in one line; returns that line."""

    def run(*arguments):
        code, _, err = fcis(*arguments)
        assert code == 2, err
        assert err.startswith("fcis: ") and err.endswith("\n") and err.count("\n") == 1, err
        return err

    return run


@pytest.fixture
def annotate(save):
    """Write two images and an annotation file with a square in each, as a dictionary to change."""

    def write(folder, change=lambda data: None, ids=(7, 9), names=None, category_ids=None):
        from fcis.data.scenes import CATEGORIES

        names = names or [c.name for c in CATEGORIES]
        category_ids = category_ids or list(range(1, len(names) + 1))
        images = [
            {"id": i, "file_name": f"{n}.png", "height": 48, "width": 64} for n, i in enumerate(ids)
        ]
        for seed, image in enumerate(images):
            save(folder / "images" / image["file_name"], seed=seed)
        square = [[10, 10, 30, 10, 30, 30, 10, 30]]
        data = {
            "images": images,
            "categories": [
                {"id": i, "name": name} for i, name in zip(category_ids, names, strict=True)
            ],
            "annotations": [
                {
                    "id": n + 1,
                    "image_id": image["id"],
                    "category_id": category_ids[0],
                    "bbox": [10, 10, 20, 20],
                    "area": 400,
                    "iscrowd": 0,
                    "segmentation": square,
                }
                for n, image in enumerate(images)
            ],
        }
        change(data)
        path = folder / "data.json"
        path.write_text(json.dumps(data))
        return path

    return write
