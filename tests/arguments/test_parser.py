"""What all commands share: errors of one line, options given once, help."""

import pytest

from fcis.arguments.parser import Help, Once, Parser, add_command, add_size
from fcis.errors import InputError


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
