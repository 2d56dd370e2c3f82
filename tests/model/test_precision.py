"""Other precision and compiled code: the same results, and clear words where they cannot be."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fcis.core.errors import InputError
from fcis.model.build import build_model
from fcis.model.folding import fold_norms
from fcis.model.norms import FrozenBatchNorm
from fcis.model.precision import compile_maps, to_precision
from fcis.recipe.conventions import RELEASE, with_conventions
from fcis.recipe.named import named_recipe
from fcis.structures import ImageBatch


def network(norm="frozen", sampling="align"):
    base = named_recipe("tiny").model
    recipe = replace(
        base,
        class_names=("a", "b"),
        category_ids=(1, 2),
        backbone=replace(base.backbone, norm=norm, frozen_stages=0),
    )
    recipe = with_conventions(recipe, {**RELEASE, "sampling": sampling})
    return build_model(recipe, seed=1).eval()


def batch(model, height=64, width=80):
    generator = torch.Generator().manual_seed(0)
    dtype = next(model.parameters()).dtype
    return ImageBatch(
        pixels=torch.randn(1, 3, height, width, generator=generator).to(dtype),
        sizes=torch.tensor([[height, width]]),
        scales=torch.ones(1, 2),
        original_sizes=torch.tensor([[height, width]]),
    )


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(
    ("norm", "sampling"),
    [("frozen", "pool"), ("batch", "align"), ("group", "native")],
)
def test_half_precision(norm, sampling, fold):
    model = network(norm, sampling)
    half = copy.deepcopy(model)
    if fold:
        fold_norms(half)
    assert to_precision(half, "bfloat16") is half
    assert all(
        module.weight.dtype == torch.bfloat16
        for module in half.modules()
        if isinstance(module, nn.Conv2d | nn.GroupNorm)
    )
    assert half.rpn.anchor_shapes.dtype == torch.float32
    for module in half.modules():
        if isinstance(module, FrozenBatchNorm | nn.BatchNorm2d):
            assert module.running_var.dtype == torch.float32
    with torch.inference_mode():
        _, expected = model(batch(model))
        output, maps = half(batch(half))
        found = half.detect(batch(half))[0]
    assert maps.classes.dtype == torch.bfloat16 and output.anchors.dtype == torch.float32
    # 8 bits a number: 0.4 % each
    difference = (maps.classes.float() - expected.classes).norm()
    assert 0 < difference < 0.05 * expected.classes.norm()
    assert len(found) > 0 and found.scores.dtype == np.float32


def test_full_precision_changes_nothing():
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert to_precision(model, "float32") is model
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_what_there_is_not():
    with pytest.raises(InputError, match=r"^precision float8: must be float32 or bfloat16$"):
        to_precision(network(), "float8")
    with pytest.raises(InputError, match=r"^compile fast: must be True, False or reduce-overhead$"):
        compile_maps(network(), "fast", "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("mode", [True, "reduce-overhead"])
def test_compiled_code_finds_the_same(no_shape_checks, mode):
    from torch._dynamo.utils import counters

    before = counters["stats"]["unique_graphs"]
    model = fold_norms(network())
    one = batch(model)
    with torch.inference_mode():
        output, maps = model(one)
        expected = model.detect(one)[0]
        assert compile_maps(model, mode, "cpu") is model
        compiled_output, compiled_maps = model(one)
        found = model.detect(one)[0]
        # another size is compiled too
        assert len(model.detect(batch(model, 40, 56))[0]) > 0
    # backbone, then RPN and score maps, for each size
    assert counters["stats"]["unique_graphs"] >= before + 4
    torch.testing.assert_close(maps.classes, compiled_maps.classes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output.logits, compiled_output.logits, rtol=1e-4, atol=1e-4)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def test_nothing_is_compiled_unless_asked_for():
    model = network()
    assert compile_maps(model, False, "cpu") is model
    assert model._compiled_call_impl is None


def test_without_a_compiler_the_network_still_runs(monkeypatch):
    def compile(function):
        def run(*arguments):
            raise RuntimeError("InvalidCxxCompiler: none found\nand much more")

        return run

    monkeypatch.setattr(torch, "compile", compile)
    model = network()
    with pytest.warns(UserWarning, match=r"^compile: no compiler works for cpu \(InvalidCxxComp"):
        assert compile_maps(model, True, "cpu") is model
    assert model._compiled_call_impl is None
    assert len(model.detect(batch(model))[0]) > 0
