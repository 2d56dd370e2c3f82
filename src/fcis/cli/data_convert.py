"""`fcis data convert`: a dataset in any format that is read -> a folder in another."""

import argparse
from pathlib import Path

from fcis.cli.parser import DATA, IMAGES, Commands, add_command


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "convert",
        "write a dataset, with copies of its images, in another format",
        "fcis data convert sbd:val sbd-val --to coco",
    )
    parser.set_defaults(command="data_convert")
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument("--images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument(
        "--to", required=True, choices=("coco", "yolo", "labelme", "masks"), help="the format"
    )


def run(options: argparse.Namespace) -> int:
    """Write the folder, and say what is in it."""
    from fcis.data.formats.write import write_dataset
    from fcis.data.source import open_dataset

    dataset = open_dataset(options.data, options.images)
    written = write_dataset(dataset, options.out, options.to)
    print(f"{len(dataset)} images, {written.objects} objects: {written.path}")
    if written.crowds:
        print(
            f"{written.crowds} crowd regions are left out: the format {options.to} cannot mark them"
        )
    return 0
