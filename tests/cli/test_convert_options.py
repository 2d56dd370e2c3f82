"""The options of `fcis convert`."""

from pathlib import Path

import pytest

from fcis.cli.main import build_parser
from fcis.core.errors import InputError


def test_defaults():
    options = build_parser().parse_args(["convert", "a.params", "b.safetensors"])
    assert (options.command, options.source) == ("convert", Path("a.params"))
    assert options.target == Path("b.safetensors") and not options.half
    assert (options.conventions, options.report, options.metric) == (None, None, [])
    assert (options.about, options.licence, options.trained_on) == (None, None, None)


def test_a_description():
    options = build_parser().parse_args(
        ["convert", "run", "b.safetensors", "--half", "--about", "cells", "--licence", "CC0",
         "--trained-on", "x", "--metric", "AP=1", "--metric", "AP50=1"]
    )  # fmt: skip
    assert options.half and options.metric == ["AP=1", "AP50=1"]
    assert (options.about, options.licence, options.trained_on) == ("cells", "CC0", "x")


@pytest.mark.parametrize("option", ["--about", "--licence", "--trained-on"])
def test_a_text_is_given_once(option):
    with pytest.raises(InputError, match=f"{option} is given twice; one is possible"):
        build_parser().parse_args(["convert", "a", "b", option, "x", option, "y"])
