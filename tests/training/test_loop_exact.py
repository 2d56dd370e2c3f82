"""The loop in float64 against loops over anchors, RoIs and parameters, and against differences."""

from dataclasses import replace

import pytest
import torch

from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.model.build import build_model
from fcis.recipe.conventions import with_conventions
from fcis.training.batch import collate_samples
from fcis.training.loader import training_loader
from fcis.training.losses import compute_losses
from fcis.training.samples import TrainingSamples

from .loop_cases import run
from .slow_step import slow_loss, slow_update

ALL = 10**6  # anchors or RoIs, more than there are


@pytest.fixture(scope="module")
def small_scenes():
    return scene_dataset(4, 5, size=(64, 80))


@pytest.fixture
def exact(tiny):
    """Nothing is drawn: every anchor is labelled, and of the RoIs the hardest count."""
    training = tiny.training
    optimiser = replace(
        training.optimiser,
        kind="sgd",
        lr=0.02,
        momentum=0.9,
        weight_decay=0.01,
        reduction_lr=3.0,
        warmup="none",
        schedule="step",
        clip_norm=0.5,
    )
    targets = replace(training.targets, anchors=ALL, rois=12, ohem=True)
    backbone = replace(tiny.model.backbone, norm="group")
    recipe = replace(
        tiny,
        model=replace(tiny.model, backbone=backbone),
        training=replace(
            training, steps=2, batch=2, precision="float64", optimiser=optimiser, targets=targets
        ),
    )
    rows = {"rpn_box_norm": "labelled", "mask_loss_norm": "rois", "sampling": "align"}
    return with_conventions(recipe, rows)


def batch_of(scenes, recipe, step):
    samples = TrainingSamples(scenes, recipe)
    numbers = range(2 * step, 2 * step + 2)
    return collate_samples([samples[n] for n in numbers]).of_type(torch.float64)


def gradients(model, loss):
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters)
    return dict(zip(names, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("planned", ["planned", "actual"])
def test_loss_and_gradient_are_those_of_the_loops(small_scenes, exact, planned):
    recipe = with_conventions(exact, {"loss_rois": planned})
    model = build_model(recipe.model, seed=1).double()
    batch = batch_of(small_scenes, exact, 0)
    expected, hardest = slow_loss(model, batch, recipe)
    found = compute_losses(model, batch, recipe).total()
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    assert all(len(h) == 12 for h in hardest)
    slow, fast = gradients(model, expected), gradients(model, found)
    for name, value in slow.items():
        bound = 1e-9 * float(value.abs().max()) + 1e-15
        torch.testing.assert_close(fast[name], value, rtol=0, atol=bound, msg=name)


@pytest.mark.slow
def test_two_steps_are_those_of_the_loops(tmp_path, small_scenes, exact):
    trained = build_model(exact.model, seed=1).double()
    run(tmp_path, exact, training_loader(small_scenes, exact, 0), model=trained)
    model = build_model(exact.model, seed=1).double()
    momenta: dict[str, torch.Tensor] = {}
    for step in range(2):
        loss, _ = slow_loss(model, batch_of(small_scenes, exact, step), exact)
        found = gradients(model, loss)
        values = {name: p.detach() for name, p in model.named_parameters()}
        values, momenta = slow_update(values, found, momenta, exact.training.optimiser)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(values[name])
    for name, parameter in trained.named_parameters():
        torch.testing.assert_close(parameter.detach(), values[name], rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("part", ["rpn.", "head."])
def test_gradient_against_differences(small_scenes, exact, part):
    """Targets and choices stay as they are for a small step, and no gradient goes through boxes."""
    model = build_model(exact.model, seed=1).double()
    batch = batch_of(small_scenes, exact, 0)

    def loss():
        losses = compute_losses(model, batch, exact)
        # what the RPN changes moves the proposals, through which no gradient goes
        own = losses.terms["rpn_class"] + losses.terms["rpn_box"]
        return own.mean() if part == "rpn." else losses.total()

    names = [n for n, _ in model.named_parameters() if n.startswith(part)]
    parameters = [p for n, p in model.named_parameters() if n in names]
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    gradient = torch.autograd.grad(loss(), parameters)
    expected = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    step, sides = 1e-8, []
    for move in (step, -2 * step):
        with torch.no_grad():
            for parameter, way in zip(parameters, direction, strict=True):
                parameter += move * way
            sides.append(loss().item())
    assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(expected, rel=1e-5)
