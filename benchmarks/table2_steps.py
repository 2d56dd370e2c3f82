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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from records import add_record

from fcis.data.formats.coco import read_coco
from fcis.lab.benchmark.stopwatch import Stopwatch
from fcis.lab.benchmark.timing import Method, alternate, device_clock, ratio
from fcis.lab.benchmark.training import Trainer
from fcis.recipe.baselines import mnc
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Recipe
from fcis.training.run import for_dataset

NAME = "table2-steps"


def sampling(recipe: Recipe, *, ohem: bool, rois: int) -> Recipe:
    """Return a recipe that draws its RoIs in another way."""
    targets = replace(recipe.training.targets, ohem=ohem, rois=rois)
    return replace(recipe, training=replace(recipe.training, targets=targets))


STEPS: dict[str, Callable[[Recipe], Recipe]] = {
    "fcis": lambda base: sampling(base, ohem=False, rois=128),
    "fcis-ohem": lambda base: sampling(base, ohem=True, rois=128),
    "mnc-64": lambda base: sampling(mnc(base), ohem=False, rois=64),
    "mnc-128": lambda base: sampling(mnc(base), ohem=False, rois=128),
}


def one_image(name: str) -> Recipe:
    """Return a named recipe with one image a step, without ImageNet weights."""
    base = named_recipe(name)
    backbone = replace(base.model.backbone, pretrained="")
    training = replace(base.training, batch=1, workers=0)
    return replace(base, model=replace(base.model, backbone=backbone), training=training)


def main() -> None:
    """Measure, and write one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a COCO .json with its images beside it")
    parser.add_argument("names", nargs="+", choices=tuple(STEPS), help="ratios are to the first")
    parser.add_argument("--recipe", default="coco-resnet101")
    parser.add_argument("--steps", type=int, default=20, help="of each")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    dataset, clock = read_coco(options.data), device_clock(options.device)
    base = one_image(options.recipe)
    trainers = {
        name: Trainer(
            for_dataset(STEPS[name](base), dataset),
            dataset,
            device=options.device,
            stopwatch=Stopwatch(clock),
        )
        for name in options.names
    }
    works = {name: trainer.step for name, trainer in trainers.items()}
    seconds = alternate(works, Method(rounds=options.steps), clock)
    first = seconds[options.names[0]]
    figures = {
        "recipe": options.recipe,
        "device": options.device,
        "steps": options.steps,
        "seconds": {name: statistics.median(found) for name, found in seconds.items()},
        "ratios": {name: ratio(found, first).to_json() for name, found in seconds.items()},
    }
    add_record(NAME, figures)


if __name__ == "__main__":
    main()
