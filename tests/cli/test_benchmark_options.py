"""The three benchmarks' arguments."""

import re

import pytest

from fcis.cli.benchmark import SAMPLINGS
from fcis.cli.main import build_parser, main
from fcis.ops.roi_sampling import Sampling

ACTIONS = ("ops", "inference", "training")


@pytest.mark.parametrize("action", ACTIONS)
def test_help_has_an_example_that_parses(capsys, action):
    with pytest.raises(SystemExit, match="0"):
        main(["benchmark", action, "--help"])
    out = capsys.readouterr().out
    assert all(f"{flag} " in out for flag in ("--json", "--plot", "--device", "--quick"))
    example = out[out.index("example:") :].splitlines()[1].split()
    assert example[:3] == ["fcis", "benchmark", action]
    options = build_parser().parse_args(example[1:])
    assert (options.command, options.action) == ("benchmark", action)
    with pytest.raises(SystemExit, match="0"):
        main(["benchmark", "--help"])
    assert re.search(rf"^    {action}\b", capsys.readouterr().out, re.MULTILINE)


def test_usual_values():
    options = build_parser().parse_args(["benchmark", "inference"])
    assert (options.recipe, options.weights, options.batch) == ("coco-resnet101", None, None)
    assert (options.usual_repeats, options.repeats, options.quick) == (5, None, False)
    options = build_parser().parse_args(["benchmark", "ops", "--sampling", "pool"])
    assert options.sampling == ["pool"]
    options = build_parser().parse_args(["benchmark", "training", "--recipe", "a", "--recipe", "b"])
    assert options.recipe == ["a", "b"]


def test_the_ways_to_sample_are_those_of_the_operators():
    assert set(SAMPLINGS) == set(Sampling.__args__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: ACTION; see fcis benchmark --help"),
        (["speed"], "argument ACTION: invalid choice: 'speed' (choose from "),
        (["ops", "--sampling", "all"], "argument --sampling: invalid choice: 'all'"),
        (["ops", "--repeats", "a"], "argument --repeats: invalid int value: 'a'"),
        (["inference", "--weights", "a", "--weights", "b"], "--weights is given twice"),
    ],
)
def test_bad_arguments_are_one_line(capsys, arguments, message):
    assert main(["benchmark", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
