"""Tables as Markdown whose columns line up, and numbers with their units."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fcis.lab.benchmark.timing import Spread

T = TypeVar("T")
_UNITS = ("B", "KB", "MB", "GB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under a heading; the first column is aligned left, the others right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Return the table as Markdown.

        Raises:
            ValueError: a row has more or fewer entries than there are columns.
        """
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"row {row}: expected {len(self.columns)} entries")
        widths = [
            max(3, *(len(row[i]) for row in (self.columns, *self.rows)))
            for i in range(len(self.columns))
        ]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = []
        for first, *others in (self.columns, rule, *self.rows):
            cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            lines.append(f"| {' | '.join([first.ljust(widths[0]), *cells])} |")
        return "\n".join([self.title, "", *lines])


def tabulate(title: str, entries: Iterable[T], columns: Mapping[str, Callable[[T], str]]) -> Table:
    """Return a table with a row an entry, and the functions that give its cells by column."""
    rows = tuple(tuple(cell(entry) for cell in columns.values()) for entry in entries)
    return Table(title=title, columns=tuple(columns), rows=rows)


def milliseconds(seconds: float) -> str:
    """Return a duration in milliseconds with three digits that count."""
    return f"{number(seconds * 1e3)} ms"


def times(value: Spread) -> str:
    """Return a ratio with its quartiles."""
    return f"{number(value.median)} ({number(value.low)} to {number(value.high)})"


def byte_count(count: int | None) -> str:
    """Return a number of bytes in decimal units; a dash where it is not known."""
    if count is None:
        return "-"
    power = 0
    while count >= 1000 ** (power + 1) and power < len(_UNITS) - 1:
        power += 1
    return f"{number(count / 1000**power) if power else count} {_UNITS[power]}"


def percent(share: float) -> str:
    """Return a share of 1 in per cent."""
    return f"{100 * share:.1f} %"


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
