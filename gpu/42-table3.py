"""Table 3 of the paper with small networks from scratch, on scenes and on nuclei, three seeds."""

import sys

from tables import run_table

if __name__ == "__main__":
    sys.exit(run_table("42-table3", "table3", __doc__))
