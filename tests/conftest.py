"""Fixtures that every test may use."""

import os
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
def no_shape_checks():
    """Switch the executed shape annotations off; torch.compile cannot trace through them."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
