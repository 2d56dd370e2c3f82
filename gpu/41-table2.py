"""Table 2 of the paper with small networks from scratch, on scenes and on nuclei, three seeds."""

from tables import run_table

if __name__ == "__main__":
    run_table(__file__, __doc__)
