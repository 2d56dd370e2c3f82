"""`fcis data convert`: a dataset in any format that is read -> a folder in another."""

import argparse

from fcis.data.formats.write import write_dataset
from fcis.data.source import open_dataset


def run(options: argparse.Namespace) -> int:
    """Write the folder, and say what is in it."""
    dataset = open_dataset(options.data, options.images)
    written = write_dataset(dataset, options.out, options.to)
    print(f"{len(dataset)} images, {written.objects} objects: {written.path}")
    if written.crowds:
        print(
            f"{written.crowds} crowd regions are left out: the format {options.to} cannot mark them"
        )
    return 0
