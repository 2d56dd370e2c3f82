"""Make the folder that travels to a rented machine with a GPU and no network: gpu/carry.

It holds the nuclei, wheels of the packages that the machine does not have, and the commit, because
a working tree may travel without its history. Git ignores it. What an earlier call brought back is
put into gpu/carry/state by gpu/collect.py.

    python gpu/prepare.py path/to/shared
"""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from results import COMMIT_FILE

from fcis.cli.parser import Parser
from fcis.core.errors import InputError
from fcis.lab.environment import commit

ROOT = Path(__file__).resolve().parent.parent
WHEELS = ("faster-coco-eval", "beartype")
"""What an image with torch, timm, lightning and pytest is likely not to have; the latter tests."""

LIMIT_MIB = 64
_PYTHON = "3.12"  # of the machine
# pip takes each for itself
_PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
)


def copy_nuclei(shared: Path, carry: Path) -> None:
    """Copy `data/nuclei` of the shared folder.

    Raises:
        InputError: there is none.
    """
    source = shared / "data" / "nuclei"
    for name in ("train.json", "val.json", "images"):
        if not (source / name).exists():
            raise InputError(
                f"{source / name}: no such file; give the folder that has data/nuclei with "
                "train.json, val.json and images/"
            )
    shutil.rmtree(carry / "nuclei", ignore_errors=True)
    # bytes alone, because shared files may be read-only
    shutil.copytree(source, carry / "nuclei", copy_function=shutil.copyfile)
    (carry / "nuclei").chmod(0o755)
    for folder in (carry / "nuclei").rglob("*/"):
        folder.chmod(0o755)


def download_wheels(carry: Path, names: list[str], python: str) -> None:
    """Fetch wheels for the machine, of the versions that are installed here, and build our own.

    Raises:
        InputError: pip cannot.
    """
    folder = carry / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = [name if "==" in name else f"{name}=={version(name)}" for name in names]
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    target = ("--python-version", python, "--implementation", "cp", *platforms)
    _pip("download", "--only-binary=:all:", *target, "-d", str(folder), *wanted)
    # the code itself travels as it is; the wheel tells version and dependencies
    _pip("wheel", "-w", str(folder), str(ROOT))


def write_commit(carry: Path) -> str:
    """Write the commit of this working tree, and return it."""
    found = commit(ROOT / "pyproject.toml")
    text = json.dumps({"commit": found}) + "\n"
    (carry / COMMIT_FILE).write_text(text, encoding="utf-8")
    return found


def size_mib(paths: list[Path]) -> float:
    """Return the size of files and of what is in folders, in MiB."""
    files = [f for p in paths for f in (p.rglob("*") if p.is_dir() else (p,)) if f.is_file()]
    return sum(file.stat().st_size for file in files) / 2**20


def tree_files() -> list[Path]:
    """Return the files of the working tree that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def main(arguments: list[str] | None = None) -> int:
    """Make the folder and say what it weighs."""
    parser = Parser(prog="gpu/prepare.py", description=__doc__.partition("\n")[0])
    parser.add_argument("shared", type=Path, help="folder that has data/nuclei")
    parser.add_argument("--carry", type=Path, default=ROOT / "gpu" / "carry")
    parser.add_argument("--no-wheels", action="store_true", help="leave the wheels as they are")
    parser.add_argument(
        "--wheel", action="append", default=[], metavar="NAME[==VERSION]", help="one more"
    )
    parser.add_argument("--python", default=_PYTHON, help=f"of the machine (default: {_PYTHON})")
    try:
        options = parser.parse_args(arguments)
        options.carry.mkdir(parents=True, exist_ok=True)
        copy_nuclei(options.shared, options.carry)
        if not options.no_wheels:
            download_wheels(options.carry, [*WHEELS, *options.wheel], options.python)
    except InputError as error:
        print(f"gpu/prepare.py: {error}", file=sys.stderr)
        return 2
    print(f"commit {write_commit(options.carry)}")
    _say_sizes(options.carry)
    return 0


def _say_sizes(carry: Path) -> None:
    tree = size_mib(tree_files())
    print(f"{tree:7.1f} MiB  working tree")
    parts = sorted(path for path in carry.iterdir())
    for path in parts:
        print(f"{size_mib([path]):7.1f} MiB  {path}")
    total = tree + size_mib(parts)
    over = "" if total <= LIMIT_MIB else f", more than {LIMIT_MIB}: name fewer of them"
    print(f"{total:7.1f} MiB  in all{over}")


def _pip(command: str, *words: str) -> None:
    line = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [x for x in done.stderr.splitlines() if x.startswith("ERROR")] or [done.stderr]
        raise InputError(f"pip {command}: {errors[-1].strip()}; or use --no-wheels")


if __name__ == "__main__":
    sys.exit(main())
