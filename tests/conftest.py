"""Fixtures that every test may use."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real images and golden files: FCIS_SHARED, else beside the clone."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("FCIS_SHARED", default))
    if not folder.is_dir():
        message = f"{folder} is missing; set FCIS_SHARED to the folder with data/ and golden/"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture
def interruptible():
    """Let SIGINT raise KeyboardInterrupt, which parallel test workers switch off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def no_shape_checks():
    """Switch the executed shape annotations off; torch.compile cannot trace through them."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    """A weights file of the smallest network, untrained, for the categories of the scenes."""
    from dataclasses import replace

    from fcis.data.scenes.shape_scenes import CATEGORIES
    from fcis.model.build import build_model
    from fcis.recipe.named import named_recipe
    from fcis.weights.weights_file import WeightsInfo, save_weights

    recipe = named_recipe("tiny")
    model = replace(
        recipe.model,
        class_names=tuple(category.name for category in CATEGORIES),
        category_ids=tuple(category.id for category in CATEGORIES),
    )
    info = WeightsInfo(
        model=model,
        recipe=recipe.name,
        thresholds=(0.9,) * len(CATEGORIES),
        training_data="nothing",
        metrics=(("AP", 0.125),),
        licence="MIT",
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, build_model(model), info)
    return path


@pytest.fixture
def zoo_folder(tmp_path, monkeypatch) -> Path:
    """An empty folder in place of that of the weights in the package."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.setattr("fcis.weights.catalog.ZOO", folder)
    return folder


@pytest.fixture
def add_to_zoo(zoo_folder, tiny_weights):
    """Put untrained weights in half precision into a zoo; returns their path."""
    from dataclasses import replace

    from fcis.model.build import build_model
    from fcis.weights.half_precision import pack_weights
    from fcis.weights.weights_file import read_info, save_weights

    def add(name, about, categories=None):
        source = tiny_weights
        if categories is not None:
            info = read_info(tiny_weights)
            model = replace(
                info.model,
                class_names=tuple(c.name for c in categories),
                category_ids=tuple(c.id for c in categories),
            )
            source = zoo_folder.parent / f"{name}.safetensors"
            save_weights(source, build_model(model), replace(info, model=model, thresholds=()))
        path = zoo_folder / f"{name}.safetensors"
        pack_weights(source, path, lambda info: replace(info, about=about))
        path.with_suffix(".md").write_text(f"# {name}\n")
        return path

    return add


@pytest.fixture(scope="session")
def reference_npz(shared, tmp_path_factory) -> Iterator[Path]:
    """The reference network as ChainerCV writes it; 215 MB, removed again."""
    path = tmp_path_factory.mktemp("reference") / "weights.npz"
    script = shared / "golden" / "make_weights.py"
    subprocess.run([sys.executable, str(script), str(path)], check=True, capture_output=True)
    yield path
    path.unlink()


@pytest.fixture(scope="session")
def reference_weights(reference_npz) -> Iterator[Path]:
    """The reference network as `fcis convert` makes it; 215 MB, removed again."""
    from fcis.cli.main import main

    path = reference_npz.with_name("weights.safetensors")
    assert main(["convert", str(reference_npz), str(path), "--conventions", "chainercv"]) == 0
    yield path
    path.unlink()


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

    from fcis.cli.main import main

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
        from fcis.data.scenes.shape_scenes import CATEGORIES

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
