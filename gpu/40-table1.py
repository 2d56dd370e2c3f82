"""Table 1 of the paper with small networks from scratch, on scenes and on nuclei, three seeds."""

import sys

from common import run
from tables import add_table, make_table

if __name__ == "__main__":
    sys.exit(
        run(
            "40-table1",
            __doc__,
            lambda call: make_table(call, "table1"),
            add=add_table,
            has_state=True,
        )
    )
