"""Table 4 of the paper with small networks from scratch, on scenes and on nuclei, three seeds."""

import sys

from tables import run_table

if __name__ == "__main__":
    sys.exit(run_table("43-table4", "table4", __doc__))
