"""Stand-ins for weights, categories and images that nobody gave."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fcis.core.errors import InputError
from fcis.imaging.reading import read_image
from fcis.inference.preprocess import plan_resize
from fcis.lab.benchmark.networks import (
    network_input,
    open_network,
    random_predictor,
    settle_on,
    with_classes,
    write_example,
)
from fcis.model.build import build_model
from fcis.model.norms import FrozenBatchNorm
from fcis.recipe.named import named_recipe
from fcis.recipe.types import MNCRecipe


def test_categories_are_made_up_where_there_are_none():
    recipe = with_classes(named_recipe("coco-resnet101").model, 3)
    assert recipe.class_names == ("class 1", "class 2", "class 3")
    assert recipe.category_ids == (1, 2, 3)
    assert with_classes(recipe, 80) is recipe


@pytest.mark.parametrize(
    ("name", "size", "seen"),
    [("coco-resnet101", (480, 800), (600, 1000)), ("tiny", (480, 800), (480, 800))],
)
def test_the_example_has_the_papers_size_after_resizing(tmp_path, name, size, seen):
    recipe = named_recipe(name).model
    path = write_example(tmp_path, recipe)
    with Image.open(path) as image:
        assert image.format == "JPEG" and image.size == size[::-1]
    assert plan_resize(size, recipe.preprocessing).size == seen


def test_small_examples_can_be_drawn(tmp_path):
    recipe = named_recipe("coco-resnet101").model
    small = replace(recipe.preprocessing, short_side=32, long_side=48)
    with Image.open(write_example(tmp_path, replace(recipe, preprocessing=small))) as image:
        assert image.size == (64, 64)


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_a_random_predictor_is_settled_and_folded(tmp_path, norm):
    recipe = named_recipe("tiny").model
    recipe = replace(recipe, backbone=replace(recipe.backbone, norm=norm))
    recipe = with_classes(recipe, 2)
    image = read_image(write_example(tmp_path, recipe))[:96, :128]
    predictor = random_predictor(recipe, "tiny", image, device="cpu")
    assert predictor.info.recipe == "tiny"
    kinds = FrozenBatchNorm | torch.nn.BatchNorm2d
    assert not any(isinstance(m, kinds) for m in predictor.model.modules())
    model, batch = predictor.model, network_input(predictor.model, image)
    with torch.no_grad():
        first = model.backbone.conv1(batch.pixels)
    assert first.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert (first.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-2
    (found,) = predictor.detect([image])
    assert found.size == (96, 128)


def test_network_input_has_the_networks_precision():
    model = build_model(with_classes(named_recipe("tiny").model, 2)).double()
    batch = network_input(model, np.zeros((80, 90, 3), dtype=np.uint8))
    assert batch.pixels.dtype == torch.float64 and batch.pixels.shape == (1, 3, 80, 90)
    assert batch.original_sizes.tolist() == [[80, 90]]


def test_layers_of_rois_are_settled_too():
    """Without, each residual block would add its variance to what it was given."""
    recipe = with_classes(replace(named_recipe("tiny").model, system="mnc"), 2)
    backbone = replace(recipe.backbone, norm="frozen", depths=(1, 1, 1, 8))
    recipe = replace(recipe, backbone=backbone, mnc=MNCRecipe(feature_grid=4, mask_grid=8))
    model = build_model(recipe).eval()
    batch = network_input(model, np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    settle_on(model, batch)
    for conv5 in (model.backbone.layer4, model.head.backbone["layer4"]):
        norms = [m for m in conv5.modules() if isinstance(m, FrozenBatchNorm)]
        assert len(norms) > 8 and all(n.running_mean.abs().max() > 0 for n in norms)


def test_a_network_by_its_recipe_or_weights(tiny_weights, tmp_path):
    told = []
    given = {
        "recipe": "tiny", "settings": (), "classes": 3, "size": "64:96", "image": None,
        "device": "cpu", "tell": told.append,
    }  # fmt: skip
    predictor, name, image = open_network(tmp_path, weights=None, **given)
    assert (name, image) == ("tiny", tmp_path / "example.jpg") and image.is_file()
    assert predictor.info.model.class_names == ("class 1", "class 2", "class 3")
    assert told == ["network with random weights"]
    predictor, name, _ = open_network(tmp_path, weights=str(tiny_weights), **given)
    assert name == "tiny" and predictor.model.recipe.preprocessing.long_side == 96
    assert len(predictor.info.model.class_names) == 8 and len(told) == 1
    with pytest.raises(InputError, match="--set changes a recipe; leave out --weights or --set"):
        open_network(tmp_path, weights="x", **given | {"settings": ["steps=1"]})
