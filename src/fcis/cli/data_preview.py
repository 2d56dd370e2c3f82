"""`fcis data preview`: a sheet of pictures of what a training sees, or of what is annotated."""

import argparse
from pathlib import Path

from fcis.cli.parser import DATA, IMAGES, Commands, add_command
from fcis.core.errors import InputError


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "preview",
        "draw annotated images, or the training samples that a recipe makes of them",
        "fcis data preview train.json --recipe nuclei-cpu --out preview.png",
    )
    parser.set_defaults(command="data_preview")
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--recipe", metavar="R", help="show its training samples (see `fcis info`)")
    parser.add_argument(
        "--out", type=Path, default=Path("preview.png"), metavar="FILE", help="default: preview.png"
    )
    parser.add_argument(
        "--count", type=int, default=6, metavar="N", help="how many images or samples (default: 6)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="of the choice (default: the recipe's, or 0)"
    )


def run(options: argparse.Namespace) -> int:
    """Draw the sheet and say where it is."""
    from fcis.core.output_files import check_file
    from fcis.data.source import open_dataset
    from fcis.recipe.reading import read_recipe
    from fcis.training.preview import preview_images, preview_samples

    if options.out.suffix.lower() != ".png":
        raise InputError(f"--out {options.out}: the sheet is a PNG; give a name that ends in .png")
    if options.count < 1:
        raise InputError(f"--count {options.count}: expected 1 or more")
    if options.seed is not None and options.seed < 0:
        raise InputError(f"--seed {options.seed}: expected 0 or more")
    check_file("--out", options.out)
    dataset = open_dataset(options.data, options.images)
    if options.recipe is None:
        count = min(options.count, len(dataset))
        sheet = preview_images(dataset, count, options.seed or 0)
        what = f"{count} image{'s' * (count != 1)} as annotated; --recipe R shows training samples"
    else:
        recipe = read_recipe(options.recipe)
        seed = recipe.training.seed if options.seed is None else options.seed
        sheet = preview_samples(dataset, recipe, options.count, seed)
        what = f"{options.count} samples of {recipe.name}, seed {seed}, beside their images"
    try:
        sheet.save(options.out, format="PNG")
    except OSError as error:
        raise InputError(
            f"--out {options.out}: cannot be written ({error.strerror or error}); choose another"
        ) from None
    print(f"{options.out}: {what}")
    return 0
