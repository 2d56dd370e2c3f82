"""Say which packages this machine lacks; needs nothing but the standard library.

Exits with 2 if there are any, so that a call ends before it has used up its time.
"""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOR_TESTS = ("pytest", "hypothesis", "beartype", "triton")


def missing(names: list[str]) -> list[str]:
    """Return the packages that are not installed."""
    found = []
    for name in names:
        try:
            version(name)
        except PackageNotFoundError:
            found.append(name)
    return found


def wanted() -> list[str]:
    """Return the names of what fcis and its tests on a GPU need, and fcis itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in project["dependencies"]]
    return [project["name"], *names, *FOR_TESTS]


if __name__ == "__main__":
    if lacking := missing(wanted()):
        print(
            f"gpu: not installed: {', '.join(lacking)}; add --wheel NAME to gpu/prepare.py",
            file=sys.stderr,
        )
        sys.exit(2)
