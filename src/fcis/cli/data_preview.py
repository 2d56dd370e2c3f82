"""`fcis data preview`: a sheet of pictures of what a training sees, or of what is annotated."""

import argparse

from fcis.cli.common import check_file
from fcis.cli.train import read_recipe
from fcis.core.errors import InputError
from fcis.data.source import open_dataset
from fcis.training.checks import check_training
from fcis.training.preview import preview_images, preview_samples
from fcis.training.run import for_dataset


def run(options: argparse.Namespace) -> int:
    """Draw the sheet and say where it is."""
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
        recipe = for_dataset(read_recipe(options.recipe), dataset)
        check_training(recipe)
        dataset = dataset.reading(
            percentiles=recipe.model.preprocessing.high_depth,
            channels=recipe.model.backbone.in_channels,
        )
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
