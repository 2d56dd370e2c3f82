"""`fcis reproduce`: the paper's tables by one command."""

import argparse
import sys
from pathlib import Path

from fcis.cli.parser import Commands, Once, add_command, add_group

_TABLES = {
    "table1": "(almost) fully convolutional methods: naive MNC, InstFCN + R-FCN, variants of FCIS",
    "table2": "FCIS and MNC, random and hard examples, with times and operations",
    "table3": "networks of three depths",
    "table4": "the competition entry: scales, mirror image, multi-scale training, ensemble",
}


def add(commands: Commands) -> None:
    """Add the group with a command for each table."""
    tables = add_group(
        commands,
        "reproduce",
        "make the tables of the paper: train, evaluate, compare",
        "fcis reproduce table1 --data scenes --budget cpu --out runs/paper",
        of="table",
    )
    for name, about in _TABLES.items():
        _add_table(tables, name, about)


def _add_table(tables: Commands, name: str, about: str) -> None:
    parser = add_command(
        tables, name, about, f"fcis reproduce {name} --data scenes --budget cpu --out runs/paper"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="scenes[:N[:seed]], synthetic; a folder with train.json and val.json; or TRAIN,VAL "
        "with two datasets as `fcis train` takes them",
    )
    parser.add_argument(
        "--budget",
        default="cpu",
        metavar="cpu|full|MINUTES",
        help="cpu: small networks, about 4 minutes a training on one core; full: the paper's "
        "settings, for a GPU; a number: small networks, so many minutes a training (default: cpu)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="what is there is not done again (default: runs/reproduce)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="runs of each training (default: 3 with scenes, else 1)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--recipe",
        action=Once,
        metavar="R",
        help="of FCIS, to make all networks from, instead of the budget's; see `fcis info`",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a field of that recipe, e.g. steps=300",
    )


def run(options: argparse.Namespace) -> int:
    """Do what is missing of a table, print it and write it."""
    from fcis.core.output_files import check_file, write_json
    from fcis.lab.reproduce.make_table import FIGURE, JSON, MARKDOWN, make_table
    from fcis.lab.reproduce.tables import to_markdown

    if options.json is not None:
        check_file("--json", options.json)
    folder: Path = options.out / options.table
    results = make_table(
        options.table,
        options.data,
        folder,
        budget=options.budget,
        seeds=options.seeds,
        recipe=options.recipe,
        settings=options.set,
        device=options.device,
        tell=lambda text: print(text, file=sys.stderr),
    )
    print(to_markdown(results))
    print(f"table:   {folder / MARKDOWN}, {folder / JSON}")
    print(f"figure:  {folder / FIGURE}")
    if options.json is not None:
        write_json(options.json, results.to_json())
        print(f"figures: {options.json}")
    return 0
