"""Table 3 of the paper with small networks from scratch, on scenes and on nuclei, three seeds."""

import sys

from common import run
from tables import add_table, make_table

if __name__ == "__main__":
    sys.exit(
        run(
            "42-table3",
            __doc__,
            lambda call: make_table(call, "table3"),
            add=add_table,
            has_state=True,
        )
    )
