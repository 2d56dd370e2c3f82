"""Half precision: what is kept whole, what survives, and that it finds the same."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fcis.core.errors import InputError
from fcis.data.scenes.shape_scenes import render_scene
from fcis.evaluation.calibration import Calibration
from fcis.inference.predictor import load_predictor
from fcis.recipe.named import named_recipe
from fcis.weights.half_precision import (
    ROUNDING,
    described,
    fits_half,
    halve,
    pack_weights,
    read_figure,
)
from fcis.weights.weights_file import WeightsInfo, read_arrays, read_info, rewrite_info


def stored(path):
    """Return the arrays of a file in the types that it has them in."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def packed(source, target):
    return pack_weights(source, target, lambda info: info)


def test_the_file_is_half_as_large(tiny_weights, tmp_path):
    target = tmp_path / "half.safetensors"
    found = packed(tiny_weights, target)
    assert (found.before, found.after) == (tiny_weights.stat().st_size, target.stat().st_size)
    arrays = read_arrays(tiny_weights)
    kernels = {name: a.numel() for name, a in arrays.items() if a.dim() > 1}
    assert found.halved == len(kernels) and found.whole == ()
    # the header becomes some digits shorter, and each number of a kernel takes two bytes less
    assert found.before - found.after == pytest.approx(2 * sum(kernels.values()), abs=256)
    assert found.after < 0.6 * found.before  # of this very small network, of real ones 0.505


def test_kernels_are_rounded_and_all_else_is_as_it_was(tiny_weights, tmp_path):
    packed(tiny_weights, tmp_path / "half.safetensors")
    before, after = stored(tiny_weights), stored(tmp_path / "half.safetensors")
    assert before.keys() == after.keys()
    assert any(name.endswith("running_var") for name in before)
    for name, array in before.items():
        if array.dim() > 1:
            assert after[name].dtype == torch.float16
            moved = (after[name].float() - array).abs()
            # under 2^-14 a float16 has fewer digits: steps of 2^-24
            assert (moved <= torch.maximum(ROUNDING * array.abs(), torch.tensor(2.0**-25))).all()
        else:
            assert after[name].dtype == torch.float32 and torch.equal(after[name], array)


def test_it_finds_the_same(tiny_weights, tmp_path):
    target = tmp_path / "half.safetensors"
    packed(tiny_weights, target)
    whole, half = load_predictor(tiny_weights), load_predictor(target)
    assert next(half.model.parameters()).dtype == torch.float32
    image = render_scene(7, 0, (128, 128)).image
    expected, found = (p.predict(image, score_threshold=0) for p in (whole, half))
    assert len(expected) == 20
    np.testing.assert_array_equal(found.labels, expected.labels)
    # seen: 2e-5; of a network that was trained on nuclei 1.3e-4, and no mask under 0.99
    np.testing.assert_allclose(found.scores, expected.scores, atol=2e-4)
    for first, second in zip(found.masks, expected.masks, strict=True):
        assert (first & second).sum() >= 0.97 * (first | second).sum()


def test_the_description_survives(tiny_weights, tmp_path):
    source, target = tmp_path / "a.safetensors", tmp_path / "half.safetensors"
    info = replace(
        read_info(tiny_weights),
        thresholds=tuple(n / 16 for n in range(8)),
        metrics=(("AP", 0.1), ("AP50", 0.25)),
        spread=(("AP", 0.01),),
        about="tests",
        calibration=Calibration(temperature=1.5, bias=-0.25),
    )
    rewrite_info(tiny_weights, source, info)
    found = pack_weights(source, target, lambda i: replace(i, licence="CC0"))
    assert read_info(target) == found.info == replace(info, licence="CC0")
    assert info.training_data == "nothing" and info.model.category_ids == tuple(range(1, 9))


def test_packed_again_it_is_the_same_file(tiny_weights, tmp_path):
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    packed(tiny_weights, first)
    assert packed(first, second).after == first.stat().st_size
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ([[1.0, -0.3], [1e-3, 7e-5]], True),
        ([[65504.0, 1.0]], True),
        ([[65520.0, 1.0]], False),  # rounds to infinity
        ([[0.0, 0.0], [1.0, 1.0]], True),
        ([[1.0, 3e-8]], True),  # lost beside the other number of its output
        ([[1.0, 1.0], [1e-6, 1.3e-6]], False),  # an output that a norm may make large again
        ([[math.pi * 2.0**-20, 0.0]], False),
    ],
)
def test_what_float16_can_hold(values, fits):
    kernel = torch.tensor(values)
    assert fits_half(kernel) is fits
    assert fits_half(kernel[:, :, None, None]) is fits
    (found,) = halve({"a": kernel}).values()
    assert found.dtype == (torch.float16 if fits else torch.float32)
    moved = (found.double() - kernel.double()).norm(dim=1)
    assert (moved <= ROUNDING * kernel.double().norm(dim=1)).all()


def test_arrays_of_one_dimension_stay():
    arrays = {"bias": torch.tensor([0.1, 0.2]), "number": torch.tensor(0.3)}
    assert all(torch.equal(halve(arrays)[name], array) for name, array in arrays.items())


def described_as(source, target, arrays):
    """Write arrays under the description of another file."""
    with safe_open(source, framework="pt") as file:
        save_file(arrays, target, metadata=file.metadata())


def test_kernels_that_stay_whole_are_named(tiny_weights, tmp_path):
    source, target = tmp_path / "a.safetensors", tmp_path / "half.safetensors"
    arrays = stored(tiny_weights)
    arrays["rpn.conv.weight"][0] = 1e5
    described_as(tiny_weights, source, arrays)
    found = packed(source, target)
    assert found.whole == ("rpn.conv.weight",)
    assert torch.equal(read_arrays(target)["rpn.conv.weight"], arrays["rpn.conv.weight"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none(tiny_weights, tmp_path, value):
    source, target = tmp_path / "a.safetensors", tmp_path / "half.safetensors"
    arrays = stored(tiny_weights)
    arrays["rpn.conv.bias"][3] = value
    described_as(tiny_weights, source, arrays)
    message = r"a\.safetensors: rpn\.conv\.bias has values that are not finite; train it anew"
    with pytest.raises(InputError, match=message):
        packed(source, target)
    assert not target.exists()


def test_files_of_others(tmp_path):
    save_file({"a": torch.ones(2, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="has no description by fcis"):
        packed(tmp_path / "a.safetensors", tmp_path / "half.safetensors")


def test_a_description_without_the_new_entries_is_read_as_before(tiny_weights, tmp_path):
    """Files that say neither what they are for nor how figures vary have the bytes they had."""
    with safe_open(tiny_weights, framework="pt") as file:
        entry = json.loads(file.metadata()["fcis"])
    assert not {"about", "spread"} & entry.keys()
    assert read_info(tiny_weights).about == "" and read_info(tiny_weights).spread == ()


def test_new_figures_take_the_place_of_old_ones():
    info = WeightsInfo(
        model=named_recipe("tiny").model,
        about="a",
        metrics=(("AP", 0.5), ("AP50", 0.7)),
        spread=(("AP", 0.1), ("AP50", 0.2)),
    )
    assert described(info, figures=[]) == info
    changed = described(info, about="", figures=[("AP", 0.6, None), ("dsb@0.50", 0.8, 0.0)])
    assert changed.about == ""
    assert changed.metrics == (("AP", 0.6), ("AP50", 0.7), ("dsb@0.50", 0.8))
    assert changed.spread == (("AP50", 0.2), ("dsb@0.50", 0.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AP=0.5", ("AP", 0.5, None)),
        ("dsb@0.50=0.8+-0.01", ("dsb@0.50", 0.8, 0.01)),
        (" AP = 1e-3+-0", ("AP", 0.001, 0.0)),
    ],
)
def test_figures(text, expected):
    assert read_figure(text) == expected


@pytest.mark.parametrize(
    "text", ["", "AP", "AP=", "=0.5", "AP=x", "AP=nan", "AP=0.5+-", "AP=0.5+--1", "AP=0.5+-inf"]
)
def test_figures_that_are_none(text):
    message = r"^--metric .*: expected NAME=VALUE or NAME=VALUE\+-SPREAD, e\.g\. AP=0\.654"
    with pytest.raises(InputError, match=message):
        read_figure(text)
