"""The group of commands for datasets."""

import pytest

from fcis.cli.main import build_parser, main

DATA_ACTIONS = ("check", "preview", "convert")


@pytest.mark.parametrize("action", DATA_ACTIONS)
def test_help_of_data_has_examples_that_parse(capsys, action):
    with pytest.raises(SystemExit, match="0"):
        main(["data", action, "--help"])
    out = capsys.readouterr().out
    example = out[out.index("example:") :].splitlines()[1].split()
    assert example[:3] == ["fcis", "data", action]
    assert build_parser().parse_args(example[1:]).command == f"data_{action}"
    with pytest.raises(SystemExit, match="0"):
        main(["data", "--help"])
    out = capsys.readouterr().out
    assert f"\n    {action} " in out
    example = out[out.index("example:") :].splitlines()[1].split()
    assert build_parser().parse_args(example[1:]).command.startswith("data_")
