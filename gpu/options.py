"""The command line of all scripts."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from fcis.cli.parser import Parser

GPU = Path(__file__).resolve().parent
SECONDS = 540
"""Of one call, packing included: calls of rented machines often end after ten minutes."""


def options_of(
    script: str, doc: str, add: Callable[[argparse.ArgumentParser], None] | None
) -> argparse.ArgumentParser:
    """Return the parser of a script's command line; `add` adds options of its own."""
    parser = Parser(prog=f"gpu/{script}.py", description=doc.partition("\n")[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"when to stop and to leave the rest to another call (default: {SECONDS})",
    )
    parser.add_argument("--again", action="store_true", help="do too what has a result")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    parser.add_argument("--inside", action="store_true", help="run fcis in this very process")
    parser.add_argument(
        "--root", type=Path, default=GPU, help="folder of carry/ and work/ (default: gpu)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(os.environ.get("OUT") or GPU / "out"),
        help="folder that is brought back (default: $OUT, else gpu/out)",
    )
    parser.add_argument(
        "--results", type=Path, help="folder of the results (default: benchmarks/results/gpu)"
    )
    if add is not None:
        add(parser)
    return parser
