"""Table 2 of the paper with small networks from scratch, on scenes and on nuclei, three seeds."""

import sys

from tables import run_table

if __name__ == "__main__":
    sys.exit(run_table("41-table2", "table2", __doc__))
