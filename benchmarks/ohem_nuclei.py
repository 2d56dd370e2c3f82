"""Online hard example mining against random sampling of RoIs, on nuclei (Paper: 2.3, table 2).

The same network, images, augmentation and number of steps; only the choice of the RoIs that the
losses look at differs. One JSON line a finished run; what is in the results already is not run
again, and an interrupted run goes on.

    python benchmarks/ohem_nuclei.py path/to/nuclei --out runs/ohem --steps 500
"""

import argparse
from pathlib import Path

from records import learn, open_nuclei, record_once

from fcis.recipe.reading import read_recipe

NAME = "ohem-nuclei"
SEEDS = (0, 1, 2)


def main() -> None:
    """Run what is missing, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path, help="folder with train.json, val.json and images/")
    parser.add_argument("--out", type=Path, default=Path("runs/ohem-nuclei"))
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    datasets = open_nuclei(options.nuclei)
    for seed in SEEDS:
        for ohem in (False, True):
            key = {"ohem": ohem, "seed": seed, "steps": options.steps}
            fields = {"targets.ohem": str(ohem).lower(), "seed": seed, "steps": options.steps}
            settings = [f"{name}={value}" for name, value in fields.items()]
            recipe = read_recipe("nuclei-cpu", [*settings, "validate_every=0"])
            name = f"nuclei-{'ohem' if ohem else 'random'}-{seed}-{options.steps}"
            record_once(NAME, key, lambda r=recipe, n=name: learn(r, *datasets, options.out / n))


if __name__ == "__main__":
    main()
