"""Table 1 of the paper with small networks from scratch, on scenes and on nuclei, three seeds."""

import sys

from tables import run_table

if __name__ == "__main__":
    sys.exit(run_table("40-table1", "table1", __doc__))
