"""Fixtures that every test may use."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


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

    from fcis.build import build_model
    from fcis.data.scenes import CATEGORIES
    from fcis.recipes import named_recipe
    from fcis.weights.file import WeightsInfo, save_weights

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

    from fcis.build import build_model
    from fcis.weights.file import read_info, save_weights
    from fcis.weights.pack import pack_weights

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
    from fcis.cli import main

    path = reference_npz.with_name("weights.safetensors")
    assert main(["convert", str(reference_npz), str(path), "--conventions", "chainercv"]) == 0
    yield path
    path.unlink()
