"""`fcis data check`: what is wrong with a dataset, and a copy of it without that."""

import argparse
from collections.abc import Callable
from pathlib import Path

from fcis.cli.parser import DATA, IMAGES, Commands, add_command
from fcis.core.errors import InputError

ERRORS_FOUND = 2
LISTED = 5  # findings of a kind that are shown without --all


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
    from fcis.core.output_files import check_file, write_json
    from fcis.data.checks import report
    from fcis.data.checks.check import check
    from fcis.data.checks.repair import check_target, write_copy
    from fcis.data.source import open_raw

    if options.json is not None:
        check_file("--json", options.json)
    if options.fix is not None:
        check_target(options.fix)
    if options.val_images is not None and options.val is None:
        raise InputError(f"--val-images {options.val_images}: is for --val; leave it out")
    factor_of = _factor_of(options.recipe) if options.recipe is not None else None
    raw = open_raw(options.data, options.images)
    val = open_raw(options.val, options.val_images) if options.val is not None else None
    checked = check(raw, val=val, factor_of=factor_of)
    print(report.header(options.data, checked))
    for line in report.finding_lines(checked.findings, None if options.all else LISTED):
        print(line)
    if options.json is not None:
        write_json(options.json, report.findings_json(options.data, checked))
        print(f"findings: {options.json}")
    copy = None
    if options.fix is not None:
        copy = write_copy(raw, checked, options.fix)
        print("\n".join(report.change_lines(checked, copy, options.fix)))
        if raw.only_read:
            print(f"  it is in the format COCO; {raw.only_read} is only read")
    print(report.last_line(options.data, checked, copy))
    return ERRORS_FOUND if checked.count("error") and options.fix is None else 0


def _factor_of(recipe: str) -> Callable[[tuple[int, int]], float]:
    """Return by how much a recipe's network enlarges an image of (height, width)."""
    from fcis.inference.preprocess import plan_resize
    from fcis.recipe.reading import read_recipe

    model = read_recipe(recipe).model
    return lambda size: plan_resize(size, model.preprocessing).factors[0]
