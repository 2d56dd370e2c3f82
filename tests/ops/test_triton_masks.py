"""Kernels of masks, interpreted or on a GPU, against the definition."""

from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import Tensor

from fcis.ops import assembly, definition
from fcis.ops.roi_sampling import AssemblyRule

from .conftest import Kernels
from .test_triton_scores import RULES, all_rules, as_exact, example, gradients_of, on, on_a_gpu

CLASSES = torch.tensor([0, 1, 2, 0, 1, 2])


@all_rules
def test_results_are_as_exact_as_those_of_torch(kernels: Kernels, rule: AssemblyRule):
    maps, _, rois = example()
    there = on(kernels.device, rois)
    exact = definition.class_masks(maps.double(), rois, CLASSES, rule).values
    found = kernels.masks.class_masks(
        maps.to(kernels.device), there, CLASSES.to(kernels.device), rule
    )
    assert found.shape == exact.shape
    as_exact(found, assembly.class_masks(maps, rois, CLASSES, rule).values, exact)


def compare_gradients(kernels: Kernels, rule: AssemblyRule) -> None:
    maps, _, rois = example()
    there = on(kernels.device, rois)
    grads, results = [], []
    for ops, x in ((definition, maps.double()), (assembly, maps.clone())):
        values = ops.class_masks(x.requires_grad_(), rois, CLASSES, rule).values
        grads.append(gradients_of(values.shape).to(values.dtype))
        results.append(torch.autograd.grad(values, x, grads[-1])[0])
    expected, other = results
    found = kernels.masks.class_masks_backward(
        grads[1].to(kernels.device), maps.shape, there, CLASSES.to(kernels.device), rule
    )
    assert found.shape == maps.shape and expected.abs().max() > 0
    as_exact(found, other, expected)


@all_rules
def test_gradients_are_as_exact_as_those_of_torch(kernels: Kernels, rule: AssemblyRule):
    compare_gradients(kernels, rule)


@on_a_gpu
@all_rules
def test_bfloat16_is_as_exact_as_that_of_torch(kernels: Kernels, rule: AssemblyRule):
    maps, _, rois = example(dtype=torch.bfloat16)
    there, classes = on(kernels.device, rois), CLASSES.to(kernels.device)
    exact_maps, peer_maps = maps.double().requires_grad_(), maps.clone().requires_grad_()
    exact = definition.class_masks(exact_maps, rois, CLASSES, rule).values
    peer = assembly.class_masks(peer_maps, rois, CLASSES, rule).values
    found = kernels.masks.class_masks(maps.to(kernels.device), there, classes, rule)
    as_exact(found, peer, exact.detach(), torch.bfloat16)
    grad = gradients_of(exact.shape).to(torch.bfloat16)
    (exact,) = torch.autograd.grad(exact, exact_maps, grad.double())
    (peer,) = torch.autograd.grad(peer, peer_maps, grad)
    found = kernels.masks.class_masks_backward(
        grad.to(kernels.device), maps.shape, there, classes, rule
    )
    as_exact(found, peer, exact, torch.bfloat16)


@pytest.mark.slow
@all_rules
def test_gradients_in_a_fixed_order(kernels: Kernels, rule: AssemblyRule, deterministic):
    compare_gradients(kernels, rule)


def test_half_precision_is_rounded_once(kernels: Kernels):
    maps, _, rois = example(dtype=torch.bfloat16)
    there, maps = on(kernels.device, rois), maps.to(kernels.device)
    classes = CLASSES.to(kernels.device)
    found = kernels.masks.class_masks(maps, there, classes, RULES[2])
    expected = kernels.masks.class_masks(maps.float(), there, classes, RULES[2])
    assert found.dtype == torch.bfloat16
    # numpy, which interprets, may cut where a GPU rounds
    torch.testing.assert_close(found.float(), expected, rtol=2.0**-7, atol=1e-7)


def test_a_row_of_more_bins_than_a_block(kernels: Kernels, monkeypatch):
    maps, _, rois = example()
    rois = replace(rois, boxes=rois.boxes[:2], image_index=rois.image_index[:2])
    monkeypatch.setattr(kernels.masks, "MOST_COLUMNS", 2)
    found = kernels.masks.class_masks(
        maps.to(kernels.device), on(kernels.device, rois), CLASSES[:2].to(kernels.device), RULES[1]
    )
    expected = definition.class_masks(maps, rois, CLASSES[:2], RULES[1]).values
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-6)


def test_classes_are_cut_to_those_of_the_maps(kernels: Kernels):
    """Kernels do not check values, so nothing may be read beyond."""
    maps, _, rois = example()
    rois = replace(rois, boxes=rois.boxes[:2], image_index=rois.image_index[:2])
    maps, there = maps.to(kernels.device), on(kernels.device, rois)
    found, expected = (
        kernels.masks.class_masks(maps, there, torch.tensor(c, device=kernels.device), RULES[3])
        for c in ([-1, 3], [0, 2])
    )
    assert torch.equal(found, expected)


@all_rules
def test_no_rois(kernels: Kernels, rule: AssemblyRule):
    maps, _, rois = example()
    none = replace(rois, boxes=rois.boxes[:0], image_index=rois.image_index[:0])
    there, classes = on(kernels.device, none), CLASSES[:0].to(kernels.device)
    values = kernels.masks.class_masks(maps.to(kernels.device), there, classes, rule)
    assert values.shape == (0, 2)
    gradient = kernels.masks.class_masks_backward(values, maps.shape, there, classes, rule)
    assert gradient.shape == maps.shape and not gradient.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["_mask_kernel", "_mask_scatter_kernel", "_mask_gather_kernel"])
def test_kernels_can_be_compiled(compile_kernel, name: str):
    import fcis.ops.triton_masks as module

    for maps in ("fp32", "bf16", "fp16"):
        constants = {"GROUPS": 8, "BLOCK": 32}
        compile_kernel(getattr(module, name), maps, constants)
        compile_kernel(getattr(module, name), maps, {**constants, "k": 1, "num_classes": 1})


def test_operators_call_the_kernels(kernels: Kernels, monkeypatch):
    """From maps to gradients of maps, as a model goes; the CPU has kernels here alone."""
    modules = {"triton_scores": kernels.scores, "triton_masks": kernels.masks}
    called = []

    def choose(name: str, tensor: Tensor) -> ModuleType:
        called.append(name)
        return modules[name]

    rule, results = replace(RULES[2], out_size=2), []
    for device in (torch.device("cpu"), kernels.device):
        maps, box_maps, rois = example()
        x, y = maps.to(device).requires_grad_(), box_maps.to(device).requires_grad_()
        rois, classes = on(device, rois), CLASSES.to(device)
        scores, deltas = assembly.class_scores(x, rois, rule), assembly.mean_deltas(y, rois, rule)
        masks = assembly.class_masks(x, rois, classes, rule)
        total = scores.sin().sum() + deltas.sin().sum() + masks.values.sin().sum()
        tensors = (scores, deltas, masks.values, *torch.autograd.grad(total, (x, y)))
        results.append([*tensors, masks.shapes, masks.extents])
        monkeypatch.setattr(assembly, "_kernels", choose)
    assert sorted(called) == ["triton_masks"] * 2 + ["triton_scores"] * 4
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-6)
