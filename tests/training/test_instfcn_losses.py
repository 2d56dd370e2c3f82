"""The losses of InstFCN + R-FCN: closed forms, and that neither network sees the other."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.model.build import build_model
from fcis.recipe.baselines import instfcn_rfcn
from fcis.training.batch import collate_samples
from fcis.training.instfcn_losses import pair_losses, rfcn_terms, window_terms
from fcis.training.samples import TrainingSamples

from .conftest import dataset_of, record_of

RFCN = ("rpn_class", "rpn_box", "roi_class", "roi_box")
WINDOWS = ("window_class", "window_mask")


@pytest.fixture
def recipe(tiny):
    made = instfcn_rfcn(tiny)
    model = replace(
        made.model,
        backbone=replace(made.model.backbone, norm="group"),
        instfcn=replace(made.model.instfcn, pyramid=(0.7, 1.1)),
    )
    augmentation = replace(tiny.training.augmentation, crop=128)
    return replace(made, model=model, training=replace(made.training, augmentation=augmentation))


def batch_of(recipe, dataset, numbers):
    samples = TrainingSamples(dataset, recipe)
    return collate_samples([samples[n] for n in numbers])


def grads(model, loss):
    model.zero_grad()
    loss.backward()
    return {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def test_each_network_has_the_gradient_of_its_own_terms(recipe, scene_set):
    model = build_model(recipe.model)
    batch = batch_of(recipe, scene_set, [0, 1])
    losses = pair_losses(model, batch, recipe)
    assert tuple(losses.terms) == (*RFCN, *WINDOWS)
    of_rfcn = grads(model, sum(losses.terms[n].sum() for n in RFCN))
    losses = pair_losses(model, batch, recipe)
    of_windows = grads(model, sum(losses.terms[n].sum() for n in WINDOWS))
    assert of_windows == {n for n, _ in model.named_parameters() if n.startswith("instfcn.")}
    assert of_rfcn == {n for n, _ in model.named_parameters() if not n.startswith("instfcn.")}


def test_neither_networks_losses_depend_on_the_other(recipe, scene_set):
    model = build_model(recipe.model)
    batch = batch_of(recipe, scene_set, [0, 1])
    before = pair_losses(model, batch, recipe).means()
    torch.nn.init.normal_(model.instfcn.mask_parts.weight)
    changed = pair_losses(model, batch, recipe).means()
    assert all(before[n] == changed[n] for n in RFCN)
    assert before["window_mask"] != changed["window_mask"]
    torch.nn.init.normal_(model.head.classes.weight)
    both = pair_losses(model, batch, recipe).means()
    assert all(both[n] == changed[n] for n in WINDOWS)
    assert both["roi_class"] != changed["roi_class"]


def test_where_nothing_is_known(recipe, scene_set):
    """All scores zero: ln 2 a window and a cell, ln 9 a RoI of nine classes."""
    model = build_model(recipe.model)
    for layer in (
        model.instfcn.mask_parts,
        model.instfcn.object_score,
        model.head.classes,
        model.head.boxes,
        model.rpn.scores,
    ):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    means = pair_losses(model, batch_of(recipe, scene_set, [0]), recipe).means()
    assert means["window_class"] == pytest.approx(math.log(2), rel=1e-5)
    assert means["window_mask"] == pytest.approx(math.log(2), rel=1e-5)
    assert means["roi_class"] == pytest.approx(math.log(9), rel=1e-5)
    assert means["rpn_class"] == pytest.approx(math.log(2), rel=1e-5)


def test_an_images_losses_do_not_depend_on_the_batch(recipe, scene_set):
    model = build_model(recipe.model)
    recipe = replace(
        recipe,
        training=replace(
            recipe.training, augmentation=replace(recipe.training.augmentation, crop=0)
        ),
    )
    samples = TrainingSamples(scene_set, recipe)
    both = [samples[0], samples[1]]
    assert both[0].plan.size != both[1].plan.size
    together = pair_losses(model, collate_samples(both), recipe).terms
    for i in range(2):
        alone = pair_losses(model, collate_samples(both[i : i + 1]), recipe).terms
        for name, term in alone.items():
            assert together[name][i].item() == pytest.approx(term.item(), rel=1e-3, abs=1e-5)


def test_an_image_without_objects(recipe, plain):
    made = plain()
    categories = {"class_names": ("r", "g", "b"), "category_ids": (10, 20, 30)}
    recipe = replace(recipe, model=replace(recipe.model, **categories))
    record = record_of([np.zeros((64, 64), dtype=bool)])
    sample = TrainingSamples(dataset_of([record]), made)[0]
    model = build_model(recipe.model)
    losses = pair_losses(model, collate_samples([sample]), recipe)
    assert losses.first_bad(("x",)) is None
    assert losses.terms["window_mask"].item() == 0 and losses.terms["window_class"].item() > 0
    losses.total().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_both_halves_are_what_the_whole_is_made_of(recipe, scene_set):
    model = build_model(recipe.model)
    batch = batch_of(recipe, scene_set, [0])
    whole = pair_losses(model, batch, recipe).terms
    parts = rfcn_terms(model, batch, recipe) | window_terms(model.instfcn, batch, recipe)
    assert all(torch.equal(whole[n], parts[n]) for n in (*RFCN, *WINDOWS))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_trained_batch_norm_sees_one_scale_a_batch(recipe, scene_set, norm, monkeypatch):
    """Images of different sizes would each be normalised by their own statistics."""
    model = replace(
        recipe.model,
        backbone=replace(recipe.model.backbone, norm=norm),
        instfcn=replace(recipe.model.instfcn, pyramid=(0.3, 3.0)),
    )
    recipe = replace(recipe, model=model)
    network, seen = build_model(recipe.model), []
    original = network.instfcn.backbone.forward
    monkeypatch.setattr(
        network.instfcn.backbone, "forward", lambda b: seen.append(b.sizes) or original(b)
    )
    for first in (0, 4):
        batch = batch_of(recipe, scene_set, range(first, first + 4))
        window_terms(network.instfcn, batch, recipe)
    assert [len(sizes.unique(dim=0)) == 1 for sizes in seen] == [norm == "batch"] * 2
    assert norm == "group" or not torch.equal(*seen)
