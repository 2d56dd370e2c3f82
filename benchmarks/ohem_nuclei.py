"""Online hard example mining against random sampling of RoIs, on nuclei (Paper: 2.3, table 2).

The same network, images, augmentation and number of steps; only the choice of the RoIs that the
losses look at differs. One JSON line a finished run; what is in the results already is not run
again, and an interrupted run goes on.

    python benchmarks/ohem_nuclei.py path/to/nuclei --out runs/ohem --steps 500
"""

import argparse
from dataclasses import replace
from pathlib import Path

from records import add_record, read_records

from fcis.data.formats.coco import read_coco
from fcis.inference.evaluate_dataset import evaluate_predictor
from fcis.inference.predictor import load_predictor
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Recipe
from fcis.training.run import BEST, for_dataset, train

NAME = "ohem-nuclei"
SEEDS = (0, 1, 2)


def recipe(*, ohem: bool, seed: int, steps: int) -> Recipe:
    """Return `nuclei-cpu` with one of the two ways to choose RoIs."""
    base = named_recipe("nuclei-cpu")
    training = replace(
        base.training,
        steps=steps,
        seed=seed,
        validate_every=0,
        targets=replace(base.training.targets, ohem=ohem),
    )
    return replace(base, name=f"nuclei-{'ohem' if ohem else 'random'}-{seed}", training=training)


def finished(steps: int) -> set[tuple[bool, int]]:
    """Return the runs of so many steps whose figures are there."""
    lines = read_records(NAME)
    return {(line["ohem"], line["seed"]) for line in lines if line["steps"] == steps}


def main() -> None:
    """Run what is missing, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path, help="folder with train.json, val.json and images/")
    parser.add_argument("--out", type=Path, default=Path("runs/ohem-nuclei"))
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    train_set, val_set = (read_coco(options.nuclei / f"{s}.json") for s in ("train", "val"))
    for seed in SEEDS:
        for ohem in (False, True):
            if (ohem, seed) in finished(options.steps):
                continue
            full = for_dataset(recipe(ohem=ohem, seed=seed, steps=options.steps), train_set)
            folder = options.out / f"{full.name}-{options.steps}"
            result = train(full, train_set, val_set, folder, resume=True)
            report, _ = evaluate_predictor(load_predictor(folder / BEST), val_set)
            figures = report.to_json()
            add_record(
                NAME,
                {
                    "ohem": ohem,
                    "seed": seed,
                    "steps": options.steps,
                    "minutes": round(result.seconds / 60, 1),
                    "segm": figures["segm"],
                    "dsb": figures["dsb"],
                },
            )


if __name__ == "__main__":
    main()
