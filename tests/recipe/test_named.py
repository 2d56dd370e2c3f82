from dataclasses import replace

import pytest
import torch

from fcis.core.errors import InputError
from fcis.model.build import build_model
from fcis.recipe.conventions import PAPER, RELEASE, conventions_of, with_conventions
from fcis.recipe.named import RECIPES, named_recipe


def test_names():
    assert [named_recipe(name).name for name in RECIPES] == list(RECIPES)
    assert len({named_recipe(name).description for name in RECIPES}) == len(RECIPES)
    message = "--recipe x: no such recipe; there are coco-resnet101, coco-resnet101-paper, voc"
    with pytest.raises(InputError, match=message):
        named_recipe("x")


@pytest.mark.parametrize("name", RECIPES)
def test_every_network_can_be_built(name):
    model = named_recipe(name).model
    count = {"coco": 80, "voc-": 20}.get(name[:4], 2)
    classes = tuple(f"c{i}" for i in range(count))
    with torch.device("meta"):
        full = replace(model, class_names=classes, category_ids=tuple(range(count)))
        network = build_model(full)
    assert network.recipe == full
    if model.system == "fcis":
        maps = network.head.classes.weight.shape[0]
        assert maps == 2 * model.head.k**2 * (count + 1)


def test_the_release_on_coco():
    """Reference 3.3, 3.6, 5.1, 6.2, 6.6."""
    recipe = named_recipe("coco-resnet101")
    model, training = recipe.model, recipe.training
    assert conventions_of(recipe) == RELEASE
    assert model.rpn.anchor_sizes == (64.0, 128.0, 256.0, 512.0)
    assert (model.rpn.min_size, model.detection.drop_size) == (2.0, 2.0)
    assert (training.targets.ohem, training.targets.rois) == (True, 128)
    assert (training.batch, training.optimiser.lr) == (8, 0.004)
    assert (training.optimiser.reduction_lr, training.optimiser.momentum) == (3.0, 0.9)
    assert (training.optimiser.warmup, training.optimiser.warmup_steps) == ("constant", 250)
    assert training.targets.negative_low == 0.0


def test_the_release_on_voc():
    recipe = named_recipe("voc-resnet101")
    model, training = recipe.model, recipe.training
    assert conventions_of(recipe) == {**RELEASE, "negative_low": 0.1}
    assert model.rpn.anchor_sizes == (128.0, 256.0, 512.0)
    assert (model.rpn.min_size, model.detection.drop_size) == (16.0, 16.0)
    assert training.targets.ohem is False
    assert (training.batch, training.optimiser.lr) == (4, 0.002)
    epoch = 5623 * 2 // 4  # flipped images count too, four a step
    assert training.steps == 22 * epoch
    assert training.optimiser.milestones == (int(14 * 11246 / 4),)
    assert training.optimiser.warmup == "none"


@pytest.mark.parametrize("data", ["coco", "voc"])
def test_the_paper_differs_where_its_text_does(data):
    release, paper = named_recipe(f"{data}-resnet101"), named_recipe(f"{data}-resnet101-paper")
    assert conventions_of(paper) == PAPER
    assert paper.model == with_conventions(release.model, PAPER)
    optimiser = paper.training.optimiser
    factor = {"coco": 8, "voc": 1}[data]
    assert optimiser.milestones == (20_000 * factor,)
    assert paper.training.steps == 30_000 * factor
    assert (optimiser.lr, optimiser.reduction_lr, optimiser.warmup) == (0.001, 1.0, "none")
    assert paper.training.batch == 8
    assert paper.training.targets == with_conventions(release.training.targets, PAPER)


@pytest.mark.parametrize("name", ["nuclei", "nuclei-cpu", "scenes", "tiny"])
def test_recipes_from_scratch_train_all_of_the_network(name):
    model = replace(named_recipe(name).model, class_names=("a",), category_ids=(1,))
    assert model.backbone.norm != "frozen" and model.backbone.frozen_stages == 0
    assert model.backbone.pretrained == ""
    assert model.head.sampling == "align"
    assert all(p.requires_grad for p in build_model(model).parameters())
