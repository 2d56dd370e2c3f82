"""Put the tables of results of record into the documentation.

What stands between the lines `<!-- begin NAME -->` and `<!-- end NAME -->` gives way to the table
of that name: in docs/benchmarks.md that of NAME.json, written by `fcis benchmark --json` without
--quick, in docs/nuclei.md those of `benchmarks/nuclei_ablation.py`.

    python tools/write_tables.py
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from fcis.lab.journal import Journal, Line

ROOT = Path(__file__).resolve().parents[1]
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"
FIGURES = ("AP", "AP50", "AP75", "AP_small")


def put(page: Path, tables: Mapping[str, str]) -> None:
    """Write tables between their marks; marks without a table keep what they have."""
    text = page.read_text()
    for name, table in tables.items():
        marks = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text = marks.sub(lambda match, new=table: f"{match[1]}{new}\n{match[2]}", text)
    page.write_text(text)


def of_benchmark(path: Path) -> str:
    """Return the tables of one `fcis benchmark`."""
    figures = json.loads(path.read_text())
    if figures["quick"]:
        sys.exit(f"{path}: was measured with --quick; measure it again without")
    facts, *rest = figures["text"]
    return "\n\n".join(["<br>\n".join(facts.splitlines()), *rest])


def of_ablation(lines: list[Line], names: list[str]) -> str:
    """Return the table of rows of the ablation, those that are finished, in the order of names."""
    text = [
        "| | AP | AP50 | AP75 | AP small | right at 0.5 | pairs merged, split |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    found = {line["row"]: line for line in lines}
    for line in (found[name] for name in names if name in found):
        values = [line["segm"][name] for name in FIGURES] + [line["dsb"]["0.50"]]
        pairs = line["mistakes"]["touching"]
        cells = [line["row"], *(f"{value:.3f}" for value in values)]
        text.append(f"| {' | '.join(cells)} | {pairs['merged']}, {pairs['split']} |")
    return "\n".join(text)


def main() -> None:
    """Write all tables."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from nuclei_ablation import NAME, ROWS, STEPS

    names = ("ops", "inference", "training")
    put(DOCS / "benchmarks.md", {name: of_benchmark(RESULTS / f"{name}.json") for name in names})
    lines, order = Journal(RESULTS / f"{NAME}.jsonl").lines, list(ROWS)
    trained = [line for line in lines if line.get("steps") == STEPS]
    looked = [line for line in lines if line.get("weights") == "nuclei"]
    tables = {"trained": of_ablation(trained, order), "looked": of_ablation(looked, order)}
    put(DOCS / "nuclei.md", tables)


if __name__ == "__main__":
    main()
