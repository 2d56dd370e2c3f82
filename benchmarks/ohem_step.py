"""What online hard example mining adds to a training step of FCIS (Paper: 4.2, table 2).

The steps of two trainings of ResNet-101 at 600 x 1000 px take turns: one whose 128 RoIs an image
are drawn at random, and one that tries all 300 and keeps those of the highest loss.

    python benchmarks/ohem_step.py runs/wide/train.json
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

from records import add_record

from fcis.benchmark.stopwatch import Stopwatch
from fcis.benchmark.timing import Method, alternate, device_clock, ratio
from fcis.benchmark.training import Trainer
from fcis.data.coco import read_coco
from fcis.recipe import Recipe
from fcis.recipes import named_recipe
from fcis.training.run import for_dataset

NAME = "ohem-step"


def recipe(base: Recipe, *, ohem: bool) -> Recipe:
    """Return a recipe with one image a step, without ImageNet weights."""
    backbone = replace(base.model.backbone, pretrained="")
    targets = replace(base.training.targets, ohem=ohem)
    training = replace(base.training, batch=1, workers=0, targets=targets)
    return replace(base, model=replace(base.model, backbone=backbone), training=training)


def main() -> None:
    """Measure, and write one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a COCO .json with its images beside it")
    parser.add_argument("--recipe", default="coco-resnet101")
    parser.add_argument("--steps", type=int, default=20, help="of each")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    dataset, clock = read_coco(options.data), device_clock(options.device)
    base = named_recipe(options.recipe)
    trainers = {
        name: Trainer(
            for_dataset(recipe(base, ohem=name == "ohem"), dataset),
            dataset,
            device=options.device,
            stopwatch=Stopwatch(clock),
        )
        for name in ("random", "ohem")
    }
    works = {name: trainer.step for name, trainer in trainers.items()}
    seconds = alternate(works, Method(rounds=options.steps), clock)
    figures = {
        "recipe": options.recipe,
        "device": options.device,
        "steps": options.steps,
        "seconds": {name: statistics.median(found) for name, found in seconds.items()},
        "ratio": ratio(seconds["ohem"], seconds["random"]).to_json(),
    }
    add_record(NAME, figures)


if __name__ == "__main__":
    main()
