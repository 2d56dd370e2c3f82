"""Weights described; whole outputs are tested with `fcis info`."""

from dataclasses import replace

import pytest

from fcis.core.errors import InputError
from fcis.evaluation.calibration import Calibration
from fcis.weights.overview import describe, describe_file, describe_installation, describe_weights
from fcis.weights.weights_file import read_info, rewrite_info


def test_a_description_begins_with_the_file(tiny_weights):
    text = describe(str(tiny_weights))
    assert text.startswith(f"{tiny_weights}\n{describe_file(tiny_weights)}\n  recipe       tiny\n")
    assert text.endswith(describe_weights(read_info(tiny_weights)))


def test_what_is_known_is_said(tiny_weights):
    info = replace(
        read_info(tiny_weights),
        about="drawn shapes",
        licence="",
        calibration=Calibration(temperature=2.0, bias=-0.5),
    )
    lines = describe_weights(info).splitlines()
    assert lines[0] == "  about        drawn shapes"
    assert "  licence      not stated" in lines
    assert "  calibration  temperature 2.000, bias -0.500" in lines


def test_a_network_that_cannot_be_built_names_the_file(tiny_weights, tmp_path):
    path = tmp_path / "x.safetensors"
    info = read_info(tiny_weights)
    model = replace(info.model, head=replace(info.model.head, k=0))
    rewrite_info(tiny_weights, path, replace(info, model=model))
    with pytest.raises(
        InputError, match=r"x\.safetensors: model\.head\.k: is 0, expected 1 to 64; fetch or train"
    ):
        describe(str(path))


def test_an_empty_zoo_is_said(zoo_folder):
    assert "  none; train your own with `fcis train`\n" in describe_installation()
