"""The arguments of `fcis reproduce`."""

import argparse
from pathlib import Path

from fcis.cli.parser import Help, Once, Parser, add_command

_TABLES = {
    "table1": "(almost) fully convolutional methods: naive MNC, InstFCN + R-FCN, variants of FCIS",
    "table2": "FCIS and MNC, random and hard examples, with times and operations",
    "table3": "networks of three depths",
    "table4": "the competition entry: scales, mirror image, multi-scale training, ensemble",
}


def add_reproduce(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command with an action for each table."""
    summary = "make the tables of the paper: train, evaluate, compare"
    parser = commands.add_parser(
        "reproduce",
        help=summary,
        description=summary,
        epilog="example:\n  fcis reproduce table1 --data scenes --budget cpu --out runs/paper",
        formatter_class=Help,
        allow_abbrev=False,
    )
    tables = parser.add_subparsers(dest="table", required=True, metavar="TABLE")
    for name, about in _TABLES.items():
        _add_table(tables, name, about)


def _add_table(tables: "argparse._SubParsersAction[Parser]", name: str, about: str) -> None:
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
