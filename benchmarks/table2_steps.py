"""Training steps of FCIS and MNC at 600 x 1000 px, in turn (Paper: 4.2, table 2).

`fcis reproduce table2` times the steps of its rows a few times. Here any of them take turns as
often as is asked for: what online hard example mining adds to a step of FCIS is less than what one
step differs from the next. `mnc-128` draws as many RoIs an image as FCIS does; MNC's release, and
the table, draw 64.

    python benchmarks/table2_steps.py runs/wide/train.json fcis fcis-ohem --steps 20
    python benchmarks/table2_steps.py runs/wide/train.json fcis mnc-64 mnc-128 --steps 3
"""

import argparse
import statistics
from dataclasses import asdict
from pathlib import Path

from records import add_record

from fcis.data.formats.coco import read_coco
from fcis.lab.benchmark.timing import Method, ratio
from fcis.lab.benchmark.training import step_seconds
from fcis.recipe.baselines import mnc
from fcis.recipe.reading import read_recipe, with_settings
from fcis.recipe.types import Recipe
from fcis.training.run import for_dataset

NAME = "table2-steps"


STEPS = {
    "fcis": (False, 128),
    "fcis-ohem": (True, 128),
    "mnc-64": (False, 64),
    "mnc-128": (False, 128),
}
"""Hard examples, and RoIs an image."""


def recipe_of(name: str, base: Recipe) -> Recipe:
    """Return the recipe of one of the steps."""
    ohem, rois = STEPS[name]
    system = mnc(base) if name.startswith("mnc") else base
    return with_settings(system, [f"targets.ohem={str(ohem).lower()}", f"targets.rois={rois}"])


def main() -> None:
    """Measure, and write one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a COCO .json with its images beside it")
    parser.add_argument("names", nargs="+", choices=tuple(STEPS), help="ratios are to the first")
    parser.add_argument("--recipe", default="coco-resnet101")
    parser.add_argument("--steps", type=int, default=20, help="of each")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    dataset = read_coco(options.data)
    one_image = ("training.batch=1", "training.workers=0", 'backbone.pretrained=""')
    base = read_recipe(options.recipe, one_image)
    recipes = {name: for_dataset(recipe_of(name, base), dataset) for name in options.names}
    seconds = step_seconds(recipes, dataset, options.device, Method(rounds=options.steps))
    first = seconds[options.names[0]]
    figures = {
        "recipe": options.recipe,
        "steps": options.steps,
        "seconds": {name: statistics.median(found) for name, found in seconds.items()},
        "ratios": {name: asdict(ratio(found, first)) for name, found in seconds.items()},
    }
    add_record(NAME, figures, device=options.device)


if __name__ == "__main__":
    main()
