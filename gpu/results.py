"""What the line of a finished run has, the bars that its figures should reach, and tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fcis.lab.benchmark.table import Table
from fcis.lab.journal import Line

KEYS = ("script", "key", "quick", "environment", "seconds", "shown", "bars", "figures")
"""What every line has, in this order."""

COMMIT_FILE = "commit.json"
"""In the carried folder: the commit of a working tree that travels without its history."""

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
        facts = asdict(self) | {"met": self.met}
        return {name: facts[name] for name in ("wanted", "at_most", "found", "met")}


def carried_commit(carry: Path) -> str:
    """Return the commit that the carried folder names, empty if it names none."""
    try:
        return str(json.loads((carry / COMMIT_FILE).read_text(encoding="utf-8"))["commit"])
    except (OSError, ValueError, LookupError):
        return ""


def table_text(title: str, lines: Sequence[Line]) -> str:
    """Return a short table: a row a figure, with its bar if it has one."""
    rows: list[tuple[str, ...]] = []
    for line in lines:
        name = " ".join(str(value) for value in line["key"].values())
        for figure, bar in line["bars"].items():
            wanted = f"{'<=' if bar['at_most'] else '>='} {bar['wanted']:.4g}"
            met = "yes" if bar["met"] else "NO"
            rows.append((name, figure, _number(bar["found"]), wanted, met))
        rows += [
            (name, figure, _number(value), "", "")
            for figure, value in line["shown"].items()
            if figure not in line["bars"]
        ]
    columns = ("run", "figure", "found", "wanted", "met")
    return Table(title=title, columns=columns, rows=tuple(rows)).text()


def _number(value: object) -> str:
    return (
        f"{value:.4g}" if isinstance(value, int | float) else "-" if value is None else f"{value}"
    )
