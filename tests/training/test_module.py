from dataclasses import replace
from itertools import islice

import lightning
import numpy as np
import pytest
import torch

from fcis.build import build_model
from fcis.errors import InputError
from fcis.training.batch import collate_samples
from fcis.training.losses import compute_losses
from fcis.training.module import StepCollate, StepSampler, TrainingModule, training_loader
from fcis.training.optim import build_optimiser
from fcis.training.samples import TrainingSamples

from .conftest import dataset_of, record_of


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
