"""Measure the operators against the materialised form and keep the figures.

The form itself is `fcis.lab.benchmark.materialised`. Options are those of `fcis benchmark ops`:

    python benchmarks/materialised.py --threads 2
"""

import sys

from records import RESULTS

from fcis.cli.main import main

if __name__ == "__main__":
    files = ["--json", str(RESULTS / "ops.json"), "--plot", str(RESULTS / "ops.png")]
    sys.exit(main(["benchmark", "ops", *files, *sys.argv[1:]]))
