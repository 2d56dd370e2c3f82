"""`fcis data check`: what is wrong with a dataset, and a copy of it without that."""

import argparse
from pathlib import Path

from fcis.cli.parser import DATA, IMAGES, Commands, add_command

ERRORS_FOUND = 2


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "check",
        "list what is wrong with a dataset, and write a corrected copy; exits with 2 if there "
        "are errors and no copy is written",
        "fcis data check train.json --val val.json --fix corrected",
    )
    parser.set_defaults(command="data_check")
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--val", metavar="DATA", help="find images that are in both")
    parser.add_argument("--val-images", type=Path, metavar="DIR", help=IMAGES)
    parser.add_argument("--recipe", metavar="R", help="whose scale tells which objects are small")
    parser.add_argument("--fix", type=Path, metavar="OUT", help="folder for a corrected copy")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings")
    parser.add_argument("--all", action="store_true", help="list all findings of a kind, not 5")


def run(options: argparse.Namespace) -> int:
    """Print every fault and write what was asked for; 2 if there were errors and no copy."""
    from fcis.api import check_dataset
    from fcis.core.output_files import check_file, write_json
    from fcis.data.checks import report
    from fcis.data.checks.repair import check_target

    if options.json is not None:
        check_file("--json", options.json)
    if options.fix is not None:
        check_target(options.fix)
    found = check_dataset(
        options.data,
        val=options.val,
        images=options.images,
        val_images=options.val_images,
        recipe=options.recipe,
    )
    checked = found.checked
    print(report.header(options.data, checked))
    for line in report.finding_lines(checked.findings, None if options.all else report.LISTED):
        print(line)
    if options.json is not None:
        write_json(options.json, found.to_json())
        print(f"findings: {options.json}")
    copy = None
    if options.fix is not None:
        copy = found.write_copy(options.fix)
        print("\n".join(report.change_lines(checked, copy, options.fix)))
        if found.raw.only_read:
            print(f"  it is in the format COCO; {found.raw.only_read} is only read")
    print(report.last_line(options.data, checked, copy))
    return ERRORS_FOUND if checked.count("error") and options.fix is None else 0
