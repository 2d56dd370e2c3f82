"""`fcis train`: from annotated images to a run folder with weights."""

import argparse
from pathlib import Path

from fcis.cli.parser import DATA, IMAGES, WEIGHTS, Commands, Once, add_command


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "train",
        "train on annotated images",
        "fcis train --train train.json --val val.json --recipe nuclei-cpu --out runs/cells",
    )
    parser.add_argument("--train", required=True, metavar="DATA", help=DATA)
    parser.add_argument("--train-images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--val", required=True, metavar="DATA", help=DATA)
    parser.add_argument("--val-images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--recipe", required=True, metavar="R", help="see `fcis info`, or a .json")
    parser.add_argument("--weights", action=Once, metavar="W", help="to begin with: " + WEIGHTS)
    parser.add_argument("--out", type=Path, metavar="RUN", help="default: runs/RECIPE")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a field of the recipe, e.g. steps=500 or training.optimiser.lr=0.001",
    )


def run(options: argparse.Namespace) -> int:
    """Train, and say where the results are."""
    from fcis.recipe.reading import read_recipe
    from fcis.training.start import start_training
    from fcis.training.summary import summary

    result = start_training(
        read_recipe(options.recipe, options.set),
        options.train,
        options.val,
        options.out,
        train_images=options.train_images,
        val_images=options.val_images,
        weights=options.weights,
        resume=options.resume,
        device=options.device,
    )
    print(summary(result, options.val))
    return 0
