"""`fcis info`: what is installed, which recipes and weights there are, what weights say."""

import argparse

from fcis.cli.parser import WEIGHTS, Commands, add_command


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "info",
        "show versions, devices, recipes and weights",
        "fcis info runs/cells",
    )
    parser.add_argument("weights", nargs="?", metavar="W", help=WEIGHTS)


def run(options: argparse.Namespace) -> int:
    """Print the description of weights, or of the installation."""
    from fcis.api import describe

    print(describe(options.weights))
    return 0
