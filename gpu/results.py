"""Results: one JSON line a finished run, with the machine that it ran on, and tables of them."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fcis.core.errors import InputError
from fcis.lab.benchmark.environment import environment
from fcis.lab.benchmark.table import Table

KEYS = (
    "script",
    "key",
    "quick",
    "date",
    "commit",
    "device",
    "device_name",
    "driver",
    "versions",
    "processor",
    "processors",
    "seconds",
    "shown",
    "bars",
    "figures",
)
"""What every line has, in this order."""

COMMIT_FILE = "commit.json"
"""In the carried folder: the commit of a working tree that travels without its history."""

Line = dict[str, object]
Key = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a figure should reach, or with `at_most` not exceed.

    Attributes:
        name: of the figure.
        found: None where there is no such figure.
    """

    name: str
    wanted: float
    found: float | None
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Tell whether the figure is there and good enough."""
        if self.found is None:
            return False
        return self.found <= self.wanted if self.at_most else self.found >= self.wanted

    def to_json(self) -> dict[str, object]:
        """Return the bar with whether it is met."""
        return {
            "wanted": self.wanted,
            "at_most": self.at_most,
            "found": self.found,
            "met": self.met,
        }


class Results:
    """The lines of one script in `FOLDER/SCRIPT.jsonl`."""

    def __init__(self, folder: Path, script: str) -> None:
        """Read what is there.

        Raises:
            InputError: a line is damaged.
        """
        self.path = folder / f"{script}.jsonl"
        self.lines = read_lines(self.path) if self.path.is_file() else []

    def find(self, key: Key, *, quick: bool) -> Line | None:
        """Return the newest line of a key, None if there is none."""
        same = [x for x in self.lines if x["key"] == dict(key) and x["quick"] == quick]
        return same[-1] if same else None

    def add(self, line: Line) -> None:
        """Append a line; each is whole as soon as it is there."""
        self.lines.append(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a file of results.

    Raises:
        InputError: one of them is no JSON object.
    """
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or "key" not in line or "quick" not in line:
            raise InputError(f"{path}, line {number}: damaged; delete it, its run is done again")
        found.append(line)
    return found


def machine(device: str, carry: Path) -> Line:
    """Return what figures depend on besides the code: device, driver, versions, commit."""
    known = environment(device)
    versions = dict(known.versions)
    for name in ("triton", "timm", "lightning"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    versions.setdefault("cuda", "")
    return {
        "date": known.date,
        "commit": known.commit or carried_commit(carry),
        "device": device,
        "device_name": known.device_name,
        "driver": driver() if device.startswith("cuda") else "",
        "versions": versions,
        "processor": known.processor or platform.machine(),
        "processors": known.processors,
    }


def carried_commit(carry: Path) -> str:
    """Return the commit that the carried folder names, empty if it names none."""
    try:
        return str(json.loads((carry / COMMIT_FILE).read_text(encoding="utf-8"))["commit"])
    except (OSError, ValueError, LookupError):
        return ""


def driver() -> str:
    """Return the version of the GPU's driver, empty if its tool does not tell."""
    command = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else ""


def table_text(title: str, lines: Sequence[Line]) -> str:
    """Return a short table: a row a figure, with its bar if it has one."""
    rows: list[tuple[str, ...]] = []
    for line in lines:
        name = " ".join(str(value) for value in _dict(line["key"]).values())
        bars, shown = _dict(line["bars"]), _dict(line["shown"])
        for figure, bar in bars.items():
            assert isinstance(bar, dict)
            relation = "<=" if bar["at_most"] else ">="
            wanted = f"{relation} {bar['wanted']:.4g}"
            rows.append((name, figure, _number(bar["found"]), wanted, _yes(bar["met"])))
        rows += [
            (name, figure, _number(value), "", "")
            for figure, value in shown.items()
            if figure not in bars
        ]
    columns = ("run", "figure", "found", "wanted", "met")
    return Table(title=title, columns=columns, rows=tuple(rows)).text()


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> str:
    return (
        f"{value:.4g}" if isinstance(value, int | float) else "-" if value is None else f"{value}"
    )


def _yes(value: object) -> str:
    return "yes" if value else "NO"
