"""`fcis convert`: from weights of other programs, or of fcis, to a weights file."""

import argparse
from pathlib import Path

from fcis.cli.parser import Commands, Once, Parser, add_command
from fcis.core.errors import InputError

_SUFFIX = ".safetensors"
# options by what they are called in the parsed arguments
_OF_HALF = ("about", "licence", "trained_on", "metric")
_OF_OTHERS = ("conventions", "report")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "convert",
        "turn weights of the 2017 release, of ChainerCV or of ImageNet into a weights file, or "
        "a weights file into one of half precision",
        "fcis convert fcis_coco-0000.params coco.safetensors --report arrays.md",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="MXNet .params or ChainerCV .npz of FCIS; an ImageNet ResNet to begin training with: "
        "MXNet .params, .pth or .safetensors of torchvision or timm; with --half a weights file "
        "or a run folder",
    )
    parser.add_argument("target", type=Path, metavar="TARGET", help="a .safetensors file")
    parser.add_argument(
        "--conventions",
        metavar="C",
        help="release, chainercv or paper (default: those that SOURCE was trained for)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write what became of every array, as JSON (.json) or Markdown",
    )
    _add_half(parser)


def _add_half(parser: Parser) -> None:
    parser.add_argument(
        "--half",
        action="store_true",
        help="write a weights file or the best weights of a run again, half as large, with what "
        "the following options say",
    )
    parser.add_argument("--about", action=Once, metavar="TEXT", help="what they are for, shortly")
    parser.add_argument("--licence", action=Once, metavar="TEXT", help="of the weights")
    parser.add_argument(
        "--trained-on", action=Once, metavar="TEXT", help="the training data, for people"
    )
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME=VALUE[+-SPREAD]",
        help="a figure of these weights, with the standard deviation over trainings with other "
        "seeds, e.g. AP=0.654+-0.004; may be given several times",
    )


def run(options: argparse.Namespace) -> int:
    """Convert, and say what was found, what was left out and how to go on."""
    if options.half:
        return _run_half(options)
    from fcis.core.output_files import write_json, write_text
    from fcis.weights.foreign import conversion_report as reports
    from fcis.weights.foreign.conversion import convert_file

    for name in _OF_HALF:
        if getattr(options, name):
            option = name.replace("_", "-")
            raise InputError(f"--{option}: is for weights of fcis; add --half or leave it out")
    source, target, report = options.source, options.target, options.report
    _check_paths(source, target, report)
    conversion = convert_file(source, target, conventions=options.conventions)
    print(reports.summary(conversion, source, target))
    if report is not None:
        if report.suffix.lower() == ".json":
            write_json(report, reports.report_json(conversion, source, target))
        else:
            write_text(report, reports.report_text(conversion, source, target))
        print(f"report:  {report}")
    print(reports.next_step(conversion, target))
    return 0


def _run_half(options: argparse.Namespace) -> int:
    """Write the file, and say how large it is and what it lacks."""
    from fcis.weights.half_precision import find_source, read_figure, summary, write_half

    for name in _OF_OTHERS:
        if getattr(options, name) is not None:
            raise InputError(f"--{name}: is for weights of other programs; leave it out")
    packed = write_half(
        options.source,
        options.target,
        about=options.about,
        licence=options.licence,
        training_data=options.trained_on,
        figures=[read_figure(text) for text in options.metric],
    )
    print(summary(packed, find_source(options.source), options.target))
    return 0


def _check_paths(source: Path, target: Path, report: Path | None) -> None:
    """Refuse what would fail, or destroy something, after the work is done."""
    from fcis.core.output_files import check_file

    if not source.is_file():
        what = "is a folder" if source.is_dir() else "no such file"
        raise InputError(f"{source}: {what}; give the file with the weights to convert")
    _check_suffix(target)
    check_file("TARGET", target)
    if report is not None:
        check_file("--report", report)
    paths = [path.resolve() for path in (source, target, report) if path is not None]
    if len(set(paths)) < len(paths):
        raise InputError(f"{source}: source, target and report must be different files")


def _check_suffix(target: Path) -> None:
    if target.suffix.lower() != _SUFFIX:
        raise InputError(f"{target}: expected a name that ends in {_SUFFIX}")
