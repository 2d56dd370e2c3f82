"""`Instances.to_supervision` with the package itself, in an environment of its own."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import fcis

SCRIPT = Path(__file__).with_name("with_supervision.py")
PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.fixture(params=[">=", "=="], ids=["newest", "oldest"])
def environment(request, tmp_path_factory):
    """The Python of a new environment with the extra; all else is this environment's."""
    folder = tmp_path_factory.mktemp("supervision")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    asked = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True)
    ours = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    paths = [str(Path(fcis.__file__).parents[1]), *sorted(ours)]
    (Path(asked.stdout.strip()) / "ours.pth").write_text("\n".join(paths) + "\n")
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    (wanted,) = project["optional-dependencies"]["supervision"]
    wanted = wanted.replace(">=", request.param)
    done = subprocess.run([python, *install, wanted], capture_output=True, text=True, timeout=600)
    if done.returncode and os.environ.get("CI") != "true" and "onnection" in done.stderr:
        pytest.skip("no connection to a package index")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
def test_with_the_package(environment):
    done = subprocess.run([environment, SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("supervision ")
