"""Put the tables of results of record into docs/benchmarks.md.

A result NAME.json, written by `fcis benchmark --json`, takes the place of what stands between
the lines `<!-- begin NAME -->` and `<!-- end NAME -->`. Results of --quick are refused.

    python benchmarks/write_tables.py
"""

import json
import re
import sys
from pathlib import Path

from records import RESULTS

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BLOCK = re.compile(r"<!-- begin (?P<name>\S+) -->\n.*?<!-- end (?P=name) -->", re.DOTALL)


def block(match: re.Match[str]) -> str:
    """Return a block with the tables of its result, or as it is if there is none."""
    name = match["name"]
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        print(f"{name}: no result at {path}", file=sys.stderr)
        return match[0]
    figures = json.loads(path.read_text())
    if figures["quick"]:
        sys.exit(f"{path}: was measured with --quick; measure it again without")
    facts, *rest = figures["text"]
    text = "\n\n".join(["<br>\n".join(facts.splitlines()), *rest])
    return f"<!-- begin {name} -->\n{text}\n<!-- end {name} -->"


if __name__ == "__main__":
    DOCUMENT.write_text(BLOCK.sub(block, DOCUMENT.read_text()))
