"""A file with a line of JSON for each thing that is done, so that nothing is done twice.

`fcis reproduce`, the scripts of benchmarks/ and those of gpu/ keep their results in such files.
The file is replaced as a whole, so that it never ends in half a line.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcis.core.errors import InputError
from fcis.core.output_files import make_folder, put_file

Line = dict[str, Any]


class Journal:
    """The lines of a file.

    Attributes:
        path: of the file, which need not be there yet.
        lines: in the order in which they were written.
    """

    def __init__(self, path: Path, needed: Sequence[str] = ()) -> None:
        """Read what is there.

        Args:
            path: of the file.
            needed: names that each line has.

        Raises:
            InputError: it cannot be read, or a line is damaged.
        """
        self.path = path
        self.lines: list[Line] = []
        for number, text in enumerate(self._text().splitlines(), start=1):
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if not isinstance(line, dict) or not set(needed) <= set(line):
                raise InputError(
                    f"{path}, line {number}: damaged; delete this line, and what it tells is done "
                    "again"
                )
            self.lines.append(line)

    def find(self, key: Mapping[str, object], settings: str | None = None) -> Line | None:
        """Return the last line that has these values, None if there is none.

        Args:
            key: names and values.
            settings: fingerprint that the line has to have.

        Raises:
            InputError: it was made with other settings.
        """
        wanted = _as_read(key).items()
        found = next((line for line in reversed(self.lines) if wanted <= line.items()), None)
        if found is not None and settings not in (None, found.get("settings")):
            what = ", ".join(f"{name} {value}" for name, value in key.items())
            raise InputError(
                f"{self.path}: {what} was made with another recipe, budget or data; go on with the "
                "same settings, or choose another --out"
            )
        return found

    def add(self, line: Mapping[str, object]) -> Line:
        """Append a line, and return it as it will be read.

        Raises:
            InputError: it cannot be written.
        """
        make_folder(self.path.parent)
        # what another process has added since stays
        text = self._text() + json.dumps(line) + "\n"
        put_file(self.path, lambda file: file.write(text.encode()))
        self.lines.append(_as_read(line))
        return self.lines[-1]

    def _text(self) -> str:
        try:
            return self.path.read_bytes().decode() if self.path.is_file() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path}: cannot be read ({error})") from None


def fingerprint(*settings: object) -> str:
    """Return a short text that differs where JSON values differ."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_read(line: Mapping[str, object]) -> Line:
    """Return a line as it comes back from its file, where a tuple is a list."""
    return json.loads(json.dumps(dict(line)))
