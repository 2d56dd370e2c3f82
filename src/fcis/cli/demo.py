"""`fcis demo`: find objects in drawn images with weights of the package, then train a little."""

import argparse
from pathlib import Path

from fcis.cli.parser import Commands, add_command


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "demo",
        "find objects in images that it draws itself, and train on such images",
        "fcis demo --out demo",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="default: demo"
    )


def run(options: argparse.Namespace) -> int:
    """Show what the weights of the package find, and what training does, and how to go on."""
    from fcis.lab.demo import show_all

    show_all(options.out, device=options.device)
    return 0
