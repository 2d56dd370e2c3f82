"""What all commands share: errors of one line, options given once, help."""

import pytest

from fcis.cli.parser import (
    Help,
    Once,
    Parser,
    Several,
    add_averaging,
    add_command,
    add_group,
    add_size,
    add_tiles,
)
from fcis.core.errors import InputError


@pytest.fixture
def parser():
    whole = Parser(prog="fcis", formatter_class=Help)
    commands = whole.add_subparsers(dest="command", required=True)
    command = add_command(commands, "see", "look at things", "fcis see --size 600:1000")
    add_size(command)
    command.add_argument("--weights", action=Once)
    return whole


def test_a_command_has_a_device_and_an_example(parser, capsys):
    options = parser.parse_args(["see", "--size", "600"])
    assert (options.command, options.device, options.size) == ("see", "auto", "600")
    assert parser.parse_args(["see"]).size is None
    with pytest.raises(SystemExit, match="0"):
        parser.parse_args(["see", "--help"])
    out = capsys.readouterr().out
    assert "look at things" in out
    assert "example:\n  fcis see --size 600:1000\n" in out


def test_errors_name_the_help(parser):
    with pytest.raises(InputError, match=r"unrecognized arguments: --siz 3; see fcis --help"):
        parser.parse_args(["see", "--siz", "3"])


def test_once(parser):
    assert parser.parse_args(["see", "--weights", "a"]).weights == "a"
    with pytest.raises(InputError, match=r"--weights is given twice; one is possible"):
        parser.parse_args(["see", "--weights", "a", "--weights", "b"])


@pytest.fixture
def several():
    whole = Parser(prog="fcis", formatter_class=Help)
    commands = whole.add_subparsers(dest="command", required=True)
    find = add_command(commands, "find", "find things", "fcis find photo.png")
    find.add_argument("input", nargs="+")
    rate = add_command(commands, "rate", "rate things", "fcis rate --weights a")
    for command in (find, rate):
        command.add_argument("--weights", action=Several)
    add_averaging(find)
    return whole


@pytest.mark.parametrize(
    ("arguments", "inputs", "weights"),
    [
        (["x", "y"], ["x", "y"], None),
        (["x", "--weights", "a"], ["x"], ["a"]),
        (["x", "--weights", "a", "--weights", "b"], ["x"], ["a", "b"]),
        (["x", "y", "--weights", "a", "b", "--device", "cpu"], ["x", "y"], ["a", "b"]),
        (["x", "--device", "cpu", "--weights", "a", "b", "--flip"], ["x"], ["a", "b"]),
        (["x", "--weights=a", "--weights", "b", "c"], ["x"], ["a", "b", "c"]),
        # at the front, what follows the weights is what to look at
        (["--weights", "a", "x"], ["x"], ["a"]),
        (["--weights", "a", "--weights", "b", "x", "y"], ["x", "y"], ["a", "b"]),
    ],
)
def test_several(several, arguments, inputs, weights):
    options = several.parse_args(["find", *arguments])
    assert (options.input, options.weights) == (inputs, weights)


def test_several_where_nothing_else_can_be_meant(several):
    options = several.parse_args(["rate", "--weights", "a", "b", "--device", "cpu"])
    assert options.weights == ["a", "b"] and options.device == "cpu"
    assert several.parse_args(["rate", "--weights", "a"]).weights == ["a"]


def test_averaging(several):
    options = several.parse_args(["find", "x"])
    assert (options.scales, options.flip, options.roi_side) == (None, False, 224.0)
    options = several.parse_args(["find", "x", "--scales", "480,2x", "--flip", "--roi-side", "45"])
    assert (options.scales, options.flip, options.roi_side) == ("480,2x", True, 45.0)


def test_tiles(parser):
    command = parser.parse_args(["see"])
    assert "tile" not in command
    add_tiles(parser)
    options = parser.parse_args(["--tile", "512", "see"])
    assert (options.tile, options.overlap) == (512, None)


def test_a_group(capsys):
    whole = Parser(prog="fcis", formatter_class=Help)
    commands = whole.add_subparsers(dest="command", required=True)
    tables = add_group(commands, "make", "make tables", "fcis make one", of="table")
    add_command(tables, "one", "the first table", "fcis make one")
    options = whole.parse_args(["make", "one"])
    assert (options.command, options.table, options.device) == ("make", "one", "auto")
    with pytest.raises(InputError, match="arguments are required: TABLE; see fcis make --help"):
        whole.parse_args(["make"])
    with pytest.raises(SystemExit, match="0"):
        whole.parse_args(["make", "--help"])
    assert "example:\n  fcis make one\n" in capsys.readouterr().out
