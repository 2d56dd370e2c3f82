"""Learn eight scenes by heart with each system of the paper's Tables 1 and 2, on a CPU.

No two objects of one category touch in these scenes, so that a system that does not depend on
the place in a RoI can learn them as well: whoever fails here has a fault, not a weakness. The
network is small, the images are 112 px wide; a finished system is not run again.

    python benchmarks/overfit_systems.py --out runs/overfit-systems [SYSTEM ...]
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import records

from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.recipe.baselines import TABLE1, mnc
from fcis.recipe.reading import read_recipe, with_settings
from fcis.recipe.types import Augmentation, Recipe

NAME = "overfit-systems"
SCENES, SEED, SIDE = 8, 3, 112
STEPS = 250
MORE_STEPS = {"instfcn-rfcn": 4}  # times as many: a step shows it one scale of an image
# A scene has 13 objects at most. Of 100 proposals many would be parts of objects, and to k = 1 a
# RoI inside an object looks like one that holds it: all objects found, AP50 0.87 to 0.91 even so.
PROPOSALS = 30

SMALL = (
    "backbone.widths=[16,32,48,64]",
    "backbone.stem_width=16",
    "rpn.channels=64",
    "rpn.anchor_sizes=[18.0,32.0,56.0]",
    f"rpn.post_nms={PROPOSALS}",
    "head.reduction=128",
    "batch=4",
    "validate_every=0",
    "workers=0",
    "warmup_steps=50",
)
"""FCIS for scenes of this size: narrow layers, all of it."""

SYSTEMS: dict[str, Callable[[Recipe], Recipe]] = {"fcis": lambda base: base, **TABLE1, "mnc": mnc}
# objects here have 16 to 56 px, no fewer scales than the windows need
OWN = {"instfcn-rfcn": ("instfcn.pyramid=[0.9,1.35,2.0,3.0]",)}


def recipe_of(system: str, steps: int = STEPS) -> Recipe:
    """Return the recipe of a system: the same network, as many steps as FCIS or several times."""
    base = read_recipe("scenes", (*SMALL, f"steps={steps * MORE_STEPS.get(system, 1)}"))
    # nothing is changed at random
    training = replace(base.training, augmentation=Augmentation(flip=0.0))
    recipe = SYSTEMS[system](replace(base, name="overfit", training=training))
    return with_settings(recipe, OWN.get(system, ()))


def learn(system: str, folder: Path, steps: int = STEPS) -> dict[str, object]:
    """Train a system, evaluate it on the same scenes, and return the figures.

    Args:
        system: a key of `SYSTEMS`.
        folder: of the run; an interrupted one goes on.
        steps: of FCIS; some systems make more of them.
    """
    dataset = scene_dataset(SCENES, SEED, size=(SIDE, SIDE), apart=True)
    return records.learn(recipe_of(system, steps), dataset, dataset, folder)


def main() -> None:
    """Run all systems, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="*", default=list(SYSTEMS), metavar="SYSTEM")
    parser.add_argument("--out", type=Path, default=Path("runs/overfit-systems"))
    parser.add_argument("--steps", type=int, default=STEPS, help="of FCIS")
    options = parser.parse_args()
    for system in options.systems:
        if system not in SYSTEMS:
            parser.error(f"{system}: no such system; there are {', '.join(SYSTEMS)}")
        key = {"system": system, "steps": recipe_of(system, options.steps).training.steps}
        folder = options.out / system
        records.record_once(NAME, key, lambda s=system, f=folder: learn(s, f, options.steps))


if __name__ == "__main__":
    main()
