"""`runs.jsonl`: a line for each thing that is done, so that nothing is done twice.

The file is replaced as a whole, so that it never ends in half a line.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from fcis.core.errors import InputError
from fcis.training.atomic_files import put_file

JOURNAL = "runs.jsonl"
Kind = Literal["training", "row", "times"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A training, an evaluated row, or times that were measured.

    Attributes:
        settings: fingerprint of all that the result depends on.
        facts: what was found.
    """

    kind: Kind
    name: str
    seed: int
    settings: str
    facts: Mapping[str, object]

    def number(self, name: str) -> float | None:
        """Return a fact that is a number, None where it is none."""
        value = self.facts.get(name)
        return float(value) if isinstance(value, int | float) else None


class Journal:
    """The lines of a table's folder."""

    def __init__(self, folder: Path) -> None:
        """Read what is there.

        Raises:
            InputError: a line is not what this command writes.
        """
        self.path = folder / JOURNAL
        self.lines: list[Line] = []
        if self.path.is_file():
            try:
                text = self.path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"{self.path}: cannot be read ({error})") from None
            for number, line in enumerate(text.splitlines(), start=1):
                self.lines.append(_parsed(line, f"{self.path}, line {number}"))

    def find(self, kind: Kind, name: str, seed: int, settings: str) -> Line | None:
        """Return the last line of that name and seed, None if there is none.

        Raises:
            InputError: it was made with other settings.
        """
        found = [x for x in self.lines if (x.kind, x.name, x.seed) == (kind, name, seed)]
        if not found:
            return None
        if found[-1].settings != settings:
            raise InputError(
                f"{self.path}: {name}, seed {seed} was made with another recipe, budget or data; "
                "go on with the same settings, or choose another --out"
            )
        return found[-1]

    def add(self, line: Line) -> None:
        """Append a line.

        Raises:
            InputError: it cannot be written.
        """
        self.lines.append(line)
        text = "".join(json.dumps(_plain(x)) + "\n" for x in self.lines)
        put_file(self.path, lambda file: file.write(text.encode()))


def fingerprint(*settings: object) -> str:
    """Return a short text that differs where JSON values differ."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(line: Line) -> dict[str, object]:
    return {
        "kind": line.kind,
        "name": line.name,
        "seed": line.seed,
        "settings": line.settings,
        **line.facts,
    }


def _parsed(text: str, where: str) -> Line:
    damaged = InputError(f"{where}: damaged; delete this line, and what it tells is done again")
    try:
        data = json.loads(text)
        known = {name: data.pop(name) for name in ("kind", "name", "seed", "settings")}
    except (ValueError, LookupError, TypeError, AttributeError):
        raise damaged from None
    kinds = {"kind": str, "name": str, "seed": int, "settings": str}
    if any(type(known[name]) is not kind for name, kind in kinds.items()):
        raise damaged
    if known["kind"] not in ("training", "row", "times"):
        raise damaged
    return Line(
        kind=cast(Kind, known["kind"]),
        name=known["name"],
        seed=known["seed"],
        settings=known["settings"],
        facts=data,
    )
