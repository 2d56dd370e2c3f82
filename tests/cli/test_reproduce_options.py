"""The options of `fcis reproduce`."""

from pathlib import Path

import pytest

from fcis.cli.main import build_parser
from fcis.core.errors import InputError
from fcis.lab.reproduce.rows import TABLES


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_the_same_options(table):
    options = build_parser().parse_args(["reproduce", table, "--data", "scenes"])
    assert (options.command, options.table, options.budget) == ("reproduce", table, "cpu")
    assert (options.seeds, options.json, options.recipe, options.set) == (None, None, None, [])
    assert options.out == Path("runs/reproduce") and options.device == "auto"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: TABLE"),
        (["table5"], "invalid choice: 'table5'"),
        (["table1"], "required: --data"),
        (["table1", "--data", "scenes", "--seeds", "x"], "--seeds: invalid int"),
        (["table1", "--data", "a", "--recipe", "x", "--recipe", "y"], "--recipe is given twice"),
    ],
)
def test_bad_options_are_refused(words, message):
    with pytest.raises(InputError, match=message):
        build_parser().parse_args(["reproduce", *words])


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["reproduce", "table2", "--help"])
    assert "fcis reproduce table2 --data scenes" in capsys.readouterr().out
