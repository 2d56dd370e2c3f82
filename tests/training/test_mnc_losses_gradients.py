"""Gradients of the losses of MNC: through boxes, bounded, and followed."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from fcis.core.boxes import decode_boxes
from fcis.model.baselines.mnc import CascadeMaps
from fcis.model.build import build_model
from fcis.training.mnc_losses import delta_bound, mnc_losses, refined_rois
from fcis.training.systems import losses_of

from .mnc_losses_cases import FIRST, OBJECT, batch_of, output_of, recipe_of, rois_of, truth_of


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("ohem", [False, True])
def test_names_and_gradients(passes, ohem):
    recipe = recipe_of(passes=passes, ohem=ohem)
    model = build_model(recipe.model).train()
    batch = batch_of(truth_of(), truth_of(((30.0, 20.0, 70.0, 60.0),), (2,)))
    losses = losses_of(model, batch, recipe)
    second = tuple(f"{name}_2" for name in FIRST) if passes == 2 else ()
    assert tuple(losses.terms) == ("rpn_class", "rpn_box", *FIRST, *second)
    assert all(term.shape == (2,) and term.isfinite().all() for term in losses.terms.values())
    losses.total().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def smooth_model(seed=0):
    """A cascade in float64 whose second pass depends on the deltas of the first."""
    model = build_model(recipe_of(norm="frozen").model, seed=seed).double().eval()
    generator = torch.Generator().manual_seed(seed)
    for layer in (model.head.mask, model.head.classes, model.head.instances, model.head.boxes):
        layer.weight.data.normal_(std=0.3, generator=generator)
    c4 = torch.randn((2, 16, 7, 8), generator=generator, dtype=torch.float64)
    maps = CascadeMaps(c4=c4, cells=torch.tensor([[7, 8], [7, 8]]), stride=8, seen=[])
    return model, maps


def test_gradient_of_the_loss_in_roi_coordinates():
    """By finite differences, through warping, masks, deltas and the second pass."""
    model, maps = smooth_model()
    start = torch.tensor([[7.3, 11.1, 41.7, 45.9], [9.4, 8.2, 37.6, 47.3]], dtype=torch.float64)
    index, labels = torch.tensor([0, 1]), torch.tensor([1, 2])
    wanted = torch.zeros(2, 8, 8, dtype=torch.float64)
    wanted[:, 2:6, 2:6] = 1

    def loss(boxes):
        total = boxes.new_zeros(())
        for _ in range(2):
            found = model.cascade(maps, boxes, index)
            total = total + functional.cross_entropy(found.instances, labels)
            total = total + functional.binary_cross_entropy_with_logits(found.masks, wanted)
            boxes = decode_boxes(boxes, found.best_deltas())
        return total

    assert torch.autograd.gradcheck(loss, (start.clone().requires_grad_(),), eps=1e-7, atol=1e-6)
    (gradient,) = torch.autograd.grad(loss(start.requires_grad_()), start)
    assert gradient.abs().min() > 1e-5


def test_gradients_that_move_boxes_are_bounded():
    """By 1/512 a delta of the first pass; what moved the box before is not bounded here."""
    recipe = recipe_of()
    batch = batch_of(truth_of())
    found = output_of(2)
    found.deltas.requires_grad_()
    rois = rois_of([(10.0, 8.0, 36.0, 40.0), OBJECT], [1, 1])
    rois.boxes.requires_grad_()
    refined = refined_rois(rois, found, batch, recipe).boxes
    moved, base = torch.autograd.grad(refined[:2, 2].sum(), (found.deltas, rois.boxes))
    best = found.instances[:, 1:].argmax(dim=1) + 1
    assert moved[0, best[0]].tolist() == [1 / 512, 0, 1 / 512, 0]
    assert moved.count_nonzero() == 4
    # what moves the boxes themselves is not: it meets the bound of what they came from
    assert base[0, 2] > 0.5
    (tiny,) = torch.autograd.grad(
        1e-5 * refined_rois(rois, found, batch, recipe).boxes[0, 2], found.deltas
    )
    assert tiny[0, best[0], 0].item() == pytest.approx(26e-5)


def test_training_lowers_the_loss():
    recipe = recipe_of(norm="batch")
    model = build_model(recipe.model).train()
    batch = batch_of(truth_of(), truth_of(((30.0, 20.0, 70.0, 60.0),), (2,)))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.003)
    values = []
    for _ in range(12):
        total = mnc_losses(model, batch, recipe).total()
        total.backward()
        optimiser.step()
        optimiser.zero_grad()
        values.append(total.item())
    assert values[-1] < 0.7 * values[0]


def test_images_of_a_step_share_the_bound():
    batch = batch_of(truth_of(), truth_of())
    recipe = recipe_of()
    recipe = replace(recipe, training=replace(recipe.training, accumulate=3))
    assert delta_bound(batch, recipe) == pytest.approx(1 / 512 / 6)


@pytest.mark.parametrize("bound", [0.0, 1e-6, 1 / 512])
def test_losses_of_rois_move_the_boxes_of_the_rpn_within_the_bound(bound):
    """The RPN's box layer hears of the RoIs' losses through the boxes alone."""
    recipe = recipe_of()
    model = replace(recipe.model, mnc=replace(recipe.model.mnc, delta_bound=bound))
    recipe = replace(recipe, model=model)
    network = build_model(recipe.model).eval()
    batch = batch_of(truth_of())
    losses = mnc_losses(network, batch, recipe)
    total = sum(term.sum() for name, term in losses.terms.items() if name.startswith("roi_"))
    (gradient,) = torch.autograd.grad(total, network.rpn.deltas.bias)
    most = bound * recipe.model.rpn.post_nms
    assert gradient.abs().max() <= most * (1 + 1e-5)
    assert (gradient.abs().max() > 0) == (bound > 0)
