"""Run a script of benchmarks/ that records its results, and have them recorded elsewhere.

For example `python gpu/recorded.py DIR benchmarks/maskrcnn_nuclei.py path/to/nuclei --seed 1`: the
results of record stay as they are, and DIR has the line.
"""

import importlib
import runpy
import sys
from pathlib import Path


def main(folder: str, script: str, *arguments: str) -> None:
    """Run the script as its command line would."""
    sys.path.insert(0, str(Path(script).resolve().parent))
    records = importlib.import_module("records")
    Path(folder).mkdir(parents=True, exist_ok=True)
    records.RESULTS = Path(folder)
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
