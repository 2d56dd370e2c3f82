"""`fcis data`: the commands for datasets."""

from fcis.cli import data_check, data_convert, data_preview
from fcis.cli.parser import Commands, add_group


def add(commands: Commands) -> None:
    """Add the group with its commands."""
    actions = add_group(
        commands,
        "data",
        "check, look at and convert datasets",
        "fcis data check train.json --val val.json --fix corrected",
    )
    for command in (data_check, data_preview, data_convert):
        command.add(actions)
