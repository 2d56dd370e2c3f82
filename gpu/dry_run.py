"""All scripts on the CPU in a tiny size, one after the other in this process: do they still run?

python gpu/dry_run.py
python gpu/dry_run.py --folder somewhere 30-train-nuclei
"""

import runpy
import sys
import tempfile
import time
from pathlib import Path

from prepare import write_commit
from results import KEYS

from fcis.cli.parser import Parser
from fcis.core.errors import InputError
from fcis.data.formats.write_coco import write_coco
from fcis.data.source import open_dataset
from fcis.lab.benchmark.timing import Method
from fcis.lab.journal import Journal
from fcis.lab.reproduce import times

GPU = Path(__file__).resolve().parent
SCRIPTS = tuple(path.stem for path in sorted(GPU.glob("[0-9][0-9]-*.py")))
OUTSIDE = ("30-train-nuclei",)
"""Scripts that run the commands of `fcis` in processes of their own, as they do on a GPU."""

_SECONDS = 900  # of a script; on a busy machine they take long


def run_script(name: str, folder: Path) -> int:
    """Run one script in its tiny size and return its exit code."""
    inside = () if name in OUTSIDE else ("--inside",)
    folders = ("--root", str(folder), "--out", str(folder / "out" / name))
    words = ("--quick", "--device", "cpu", "--seconds", str(_SECONDS), *inside, *folders)
    before = sys.argv
    sys.argv = [name, *words]
    try:
        runpy.run_path(str(GPU / f"{name}.py"), run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.argv = before
    return 0


def prepare(folder: Path) -> None:
    """Make a carried folder: scenes in the place of the nuclei, and the commit."""
    nuclei = folder / "carry" / "nuclei"
    if not (nuclei / "val.json").is_file():
        for split, data in (("train", "scenes:4:0"), ("val", "scenes:2:1")):
            dataset = open_dataset(data)
            names = [f"{split}-{number}.png" for number in range(len(dataset))]
            write_coco(dataset, names, nuclei).rename(nuclei / f"{split}.json")
    write_commit(folder / "carry")


def main(arguments: list[str] | None = None) -> int:
    """Run scripts, and say which of them failed."""
    parser = Parser(prog="gpu/dry_run.py", description=__doc__.partition("\n")[0])
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help="default: all")
    parser.add_argument("--folder", type=Path, help="keep everything there (default: removed)")
    try:
        options = parser.parse_args(arguments)
        if unknown := [name for name in options.scripts if name not in SCRIPTS]:
            raise InputError(f"{unknown[0]}: no such script; there are {', '.join(SCRIPTS)}")
    except InputError as error:
        print(f"gpu/dry_run.py: {error}", file=sys.stderr)
        return 2
    times.METHOD = Method(rounds=1, least_seconds=0.0)  # what tables measure says nothing here
    names, failed = options.scripts or SCRIPTS, []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        prepare(folder)
        for name in names:
            started = time.monotonic()
            code = run_script(name, folder)
            print(f"--- {name}: code {code}, {time.monotonic() - started:.0f} s\n", flush=True)
            Journal(folder / "results" / f"{name}.jsonl", KEYS)
            failed += [f"{name}: ended with code {code}"] if code else []
    print("\n".join(failed) if failed else f"{len(names)} scripts run on this machine")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
