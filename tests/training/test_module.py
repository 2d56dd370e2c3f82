"""One optimiser step: its samples, its batches, and its arithmetic against a second form."""

from dataclasses import replace
from itertools import islice

import lightning
import numpy as np
import pytest
import torch

from fcis.core.errors import InputError
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.model.build import build_model
from fcis.recipe.conventions import with_conventions
from fcis.training.batch import collate_samples
from fcis.training.losses import compute_losses
from fcis.training.module import StepCollate, StepSampler, TrainingModule, training_loader
from fcis.training.optim import build_optimiser
from fcis.training.samples import TrainingSamples

from .conftest import dataset_of, record_of
from .slow_step import slow_loss, slow_update


def with_training(recipe, **changes):
    return replace(recipe, training=replace(recipe.training, **changes))


def fit(module, loader, steps):
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    return trainer


def test_the_sampler_goes_on_from_any_step():
    from_start = list(islice(StepSampler(0, samples_a_step=3), 5))
    assert from_start == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, 14]]
    assert list(islice(StepSampler(3, samples_a_step=3), 2)) == from_start[3:]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_processes_share_the_samples_of_each_step(ranks):
    together = [
        list(islice(StepSampler(2, samples_a_step=2, rank=r, ranks=ranks), 4)) for r in range(ranks)
    ]
    alone = list(islice(StepSampler(2, samples_a_step=2 * ranks), 4))
    for step in range(4):
        assert [n for own in together for n in own[step]] == alone[step]


def test_a_step_is_split_into_its_batches(scene_set, tiny):
    samples = TrainingSamples(scene_set, tiny)
    batches = StepCollate(2)([samples[n] for n in range(5)])
    assert [b.numbers for b in batches] == [(0, 1), (2, 3), (4,)]


def test_a_dataset_without_objects_is_refused(tiny):
    empty = replace(record_of([np.ones((9, 9), dtype=bool)]), annotations=())
    with pytest.raises(InputError, match="empty-set: no image has an object; there is nothing"):
        training_loader(dataset_of([empty], name="empty-set"), tiny, 0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_is_one_optimiser_step_with_the_mean_gradient(scene_set, tiny, accumulate):
    """Two steps by hand: gradients averaged, clipped, then the optimiser and its rate."""
    recipe = with_training(tiny, accumulate=accumulate, steps=2)
    module = TrainingModule(build_model(recipe.model, seed=1), recipe)
    trainer = fit(module, training_loader(scene_set, recipe, 0), steps=2)
    assert trainer.global_step == 2

    model = build_model(recipe.model, seed=1)
    optimiser = build_optimiser(model, recipe.training.optimiser)
    samples = TrainingSamples(scene_set, recipe)
    totals = []
    for step, factor in enumerate((1 / 5, 2 / 5)):  # linear warm-up over 5 steps
        optimiser.zero_grad()
        for part in range(accumulate):
            first = 2 * (step * accumulate + part)
            batch = collate_samples([samples[first], samples[first + 1]])
            total = compute_losses(model, batch, recipe).total()
            (total / accumulate).backward()
            totals.append(total.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for group in optimiser.param_groups:
            group["lr"] = 0.003 * factor
        optimiser.step()
    expected, found = model.state_dict(), module.model.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7, msg=name)
    assert module.latest["loss"] == pytest.approx(sum(totals[-accumulate:]) / accumulate, rel=1e-4)
    assert module.latest["lr"] == pytest.approx(0.003 * 2 / 5)
    terms = ("rpn_class", "rpn_box", "roi_class", "roi_mask", "roi_box")
    assert module.latest["loss"] == pytest.approx(sum(module.latest[t] for t in terms))


def test_precisions(scene_set, tiny):
    """Losses are close to those in float32; the weights stay what they were made as.

    First weights give nearly equal proposals, whose order rounding may change: hence the bounds.
    """

    def losses_of(precision):
        recipe = with_training(tiny, precision=precision)
        model = build_model(recipe.model, seed=1)
        module = TrainingModule(model.double() if precision == "float64" else model, recipe)
        fit(module, training_loader(scene_set, recipe, 0), steps=1)
        kinds = {p.dtype for p in module.model.parameters()}
        assert kinds == {torch.float64 if precision == "float64" else torch.float32}
        return module.latest

    full, half, double = (losses_of(p) for p in ("float32", "bfloat16", "float64"))
    for name in ("rpn_class", "roi_class", "roi_mask"):
        assert double[name] == pytest.approx(full[name], rel=0.02)
        assert half[name] == pytest.approx(full[name], rel=0.05)
        assert half[name] != full[name]


def test_gradients_are_clipped_to_the_bound(scene_set, tiny):
    def first_update(bound):
        optimiser = replace(
            tiny.training.optimiser, kind="sgd", momentum=0.0, weight_decay=0.0, lr=1.0,
            warmup="none", clip_norm=bound, schedule="step",
        )  # fmt: skip
        recipe = with_training(tiny, optimiser=optimiser)
        module = TrainingModule(build_model(recipe.model), recipe)
        before = [p.detach().clone() for p in module.model.parameters()]
        fit(module, training_loader(scene_set, recipe, 0), steps=1)
        after = module.model.parameters()
        return torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)])

    free, bound = first_update(0.0), first_update(0.01)
    assert free.norm() > 0.1
    assert bound.norm().item() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(bound / bound.norm(), free / free.norm(), rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run(scene_set, tiny):
    module = TrainingModule(build_model(tiny.model), tiny)
    with torch.no_grad():
        module.model.rpn.scores.bias.fill_(float("nan"))
    message = r"scene-1-0000\d\d\.png: the loss rpn_class is not finite in step 1; look at this"
    with pytest.raises(InputError, match=message):
        fit(module, training_loader(scene_set, tiny, 0), steps=3)


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
def test_two_steps_are_those_of_the_loops(small_scenes, exact):
    module = TrainingModule(build_model(exact.model, seed=1).double(), exact)
    fit(module, training_loader(small_scenes, exact, 0), steps=2)
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
    for name, parameter in module.model.named_parameters():
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
