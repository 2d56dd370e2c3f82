"""Table 2 of the paper with small networks from scratch, on scenes and on nuclei, three seeds."""

import sys

from common import run
from tables import add_table, make_table

if __name__ == "__main__":
    sys.exit(
        run(
            "41-table2",
            __doc__,
            lambda call: make_table(call, "table2"),
            add=add_table,
            has_state=True,
        )
    )
