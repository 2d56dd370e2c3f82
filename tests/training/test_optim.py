import math
from dataclasses import replace

import pytest
import torch

from fcis.model.build import build_model
from fcis.recipe.baselines import instfcn_rfcn, naive_mnc
from fcis.recipe.named import named_recipe
from fcis.recipe.types import OptimiserRecipe, TrainingRecipe
from fcis.training.optim import (
    base_rate,
    build_optimiser,
    build_schedule,
    clip_gradients,
    learning_rate_factor,
    parameter_groups,
)

KINDS = ("weight", "bias")


def factors(recipe, steps, count=None):
    return [
        learning_rate_factor(s, recipe, steps) for s in range(steps if count is None else count)
    ]


def test_milestones_count_the_steps_made_before():
    """With a milestone of 3, three steps are made at the full rate."""
    recipe = OptimiserRecipe(warmup="none", milestones=(3, 5))
    assert factors(recipe, 7) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_constant_warm_up_holds_a_tenth():
    recipe = OptimiserRecipe(warmup="constant", warmup_steps=2, milestones=(4,))
    assert factors(recipe, 6) == pytest.approx([0.1, 0.1, 1, 1, 0.1, 0.1])


def test_linear_warm_up_ends_at_the_full_rate():
    recipe = OptimiserRecipe(warmup="linear", warmup_steps=4, milestones=())
    assert factors(recipe, 6) == [0.25, 0.5, 0.75, 1, 1, 1]


def test_cosine_falls_from_the_end_of_the_warm_up_to_the_last_step():
    recipe = OptimiserRecipe(schedule="cosine", warmup="linear", warmup_steps=2, milestones=())
    expected = [0.5, 1.0] + [0.5 * (1 + math.cos(math.pi * i / 8)) for i in range(8)]
    assert factors(recipe, 10) == pytest.approx(expected)
    without = replace(recipe, warmup="none")
    assert factors(without, 4) == pytest.approx(
        [0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(4)]
    )
    assert learning_rate_factor(99, recipe, 10) == pytest.approx(0)


def test_a_run_shorter_than_its_warm_up():
    recipe = OptimiserRecipe(schedule="cosine", warmup="linear", warmup_steps=100, milestones=())
    assert factors(recipe, 3) == pytest.approx([0.01, 0.02, 0.03])


def test_the_release_schedules():
    """Reference 6.6: COCO 250 steps at a tenth, drop at 5.33 of 8 epochs; VOC at 14 of 22."""
    coco, voc = (named_recipe(n).training for n in ("coco-resnet101", "voc-resnet101"))
    at = lambda training, step: learning_rate_factor(step, training.optimiser, training.steps)  # noqa: E731
    assert [at(coco, s) for s in (0, 249, 250)] == pytest.approx([0.1, 0.1, 1])
    drop = coco.optimiser.milestones[0]
    assert [at(coco, s) for s in (drop - 1, drop, coco.steps - 1)] == pytest.approx([1, 0.1, 0.1])
    assert drop / coco.steps == pytest.approx(5.33 / 8, abs=2e-3)
    assert [at(voc, s) for s in (0, 39_360, 39_361)] == pytest.approx([1, 1, 0.1])
    assert coco.optimiser.lr / coco.batch == voc.optimiser.lr / voc.batch == 0.0005


def groups_of(model, recipe):
    names = {id(p): n for n, p in model.named_parameters()}
    return [
        (g["lr"], g["weight_decay"], {names[id(p)] for p in g["params"]})
        for g in parameter_groups(model, recipe)
    ]


def test_groups_by_decay_and_rate(tiny):
    model = build_model(tiny.model)
    recipe = OptimiserRecipe(lr=0.1, weight_decay=0.01, reduction_lr=3.0)
    groups = groups_of(model, recipe)
    assert [(lr, decay) for lr, decay, _ in groups] == [
        (0.1, 0.0), (0.1, 0.01), (pytest.approx(0.3), 0.0), (pytest.approx(0.3), 0.01)
    ]  # fmt: skip
    assert groups[2][2] == {"head.reduction.bias"} and groups[3][2] == {"head.reduction.weight"}
    assert all(name.endswith("bias") for name in groups[0][2])
    assert "backbone.bn1.bias" in groups[0][2] and "rpn.conv.bias" in groups[0][2]
    assert all(name.endswith("weight") for name in groups[1][2])
    assert "backbone.bn1.weight" in groups[1][2]  # scales are decayed, as in the release
    together = set().union(*(names for _, _, names in groups))
    assert together == {name for name, _ in model.named_parameters()}
    assert sum(len(names) for _, _, names in groups) == len(together)


def test_frozen_parameters_are_in_no_group(tiny):
    backbone = replace(tiny.model.backbone, norm="frozen", frozen_stages=2)
    model = build_model(replace(tiny.model, backbone=backbone))
    names = set().union(*(n for _, _, n in groups_of(model, OptimiserRecipe())))
    assert "backbone.conv1.weight" not in names
    assert not any(name.startswith("backbone.layer1.") for name in names)
    assert "backbone.layer2.0.bn1.weight" in names


def test_fully_connected_layers_have_a_rate_of_their_own(tiny):
    model = build_model(naive_mnc(tiny).model)
    recipe = OptimiserRecipe(lr=0.1, reduction_lr=3.0, fc_lr=0.5)
    rates = {n: lr for lr, _, names in groups_of(model, recipe) for n in names}
    layers = {f"head.{n}.{kind}" for n in ("classes", "masks", "boxes") for kind in KINDS}
    assert {name for name, rate in rates.items() if rate == 0.05} == layers
    assert rates["head.reduction.weight"] == pytest.approx(0.3) and rates["rpn.conv.bias"] == 0.1


def test_networks_trained_apart_are_clipped_apart(tiny):
    model = build_model(instfcn_rfcn(tiny).model)
    for name, parameter in model.named_parameters():
        parameter.grad = torch.full_like(parameter, 100.0 if "instfcn" in name else 1e-4)
    before = {n: p.grad.clone() for n, p in model.named_parameters()}
    clip_gradients(model, 5.0)
    instfcn = [p.grad for n, p in model.named_parameters() if "instfcn" in n]
    norm = torch.stack([g.norm() for g in instfcn]).norm().item()
    assert norm == pytest.approx(5.0, rel=1e-4)
    for name, parameter in model.named_parameters():
        if "instfcn" not in name:  # its own norm is below the bound
            assert torch.equal(parameter.grad, before[name])


def test_a_network_by_itself_is_clipped_as_a_whole(tiny):
    model, other = build_model(tiny.model), build_model(tiny.model)
    for parameter in [*model.parameters(), *other.parameters()]:
        parameter.grad = torch.full_like(parameter, 3.0)
    clip_gradients(model, 0.0)
    assert all((p.grad == 3).all() for p in model.parameters())
    clip_gradients(model, 2.0)
    torch.nn.utils.clip_grad_norm_(other.parameters(), 2.0)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_one_step_of_each_optimiser(tiny, kind):
    """SGD adds the decay to the gradient, AdamW moves every weight by the rate and decays it."""
    model = build_model(tiny.model)
    recipe = OptimiserRecipe(kind=kind, lr=0.1, weight_decay=0.01, reduction_lr=1.0)
    optimiser = build_optimiser(model, recipe)
    weight, bias = model.rpn.conv.weight, model.rpn.conv.bias
    before = weight.detach().clone(), bias.detach().clone()
    weight.grad, bias.grad = torch.full_like(weight, 2.0), torch.full_like(bias, 2.0)
    optimiser.step()
    if kind == "sgd":
        expected = before[0] - 0.1 * (2 + 0.01 * before[0]), before[1] - 0.1 * 2
    else:
        expected = before[0] * (1 - 0.1 * 0.01) - 0.1, before[1] - 0.1
    torch.testing.assert_close(weight.detach(), expected[0])
    torch.testing.assert_close(bias.detach(), expected[1])


def test_momentum_is_the_recipes(tiny):
    recipe = OptimiserRecipe(momentum=0.7)
    assert build_optimiser(build_model(tiny.model), recipe).defaults["momentum"] == 0.7


def test_the_schedule_sets_the_rate_of_every_group(tiny):
    recipe = OptimiserRecipe(lr=0.1, reduction_lr=3.0, warmup="linear", warmup_steps=2)
    optimiser = build_optimiser(build_model(tiny.model), recipe)
    schedule = build_schedule(optimiser, recipe, 10)
    for expected in (0.05, 0.1, 0.1):
        rates = [g["lr"] for g in optimiser.param_groups]
        assert rates == pytest.approx([expected, expected, 3 * expected, 3 * expected])
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize(
    ("images", "rate"),
    [(0, 0.01), (8, 0.12), (96, 0.01)],
)
def test_the_rate_follows_the_images_of_a_step(images, rate):
    training = TrainingRecipe(
        batch=4,
        accumulate=2,
        devices=3,
        num_nodes=4,
        optimiser=OptimiserRecipe(lr=0.01, lr_images=images),
    )
    assert base_rate(training) == pytest.approx(rate)
