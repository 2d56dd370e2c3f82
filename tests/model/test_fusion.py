"""conv5 on a finer grid: against loops over cells, in batches, in whole networks and files."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.model.backbones import build_backbone
from fcis.model.build import build_model
from fcis.model.folding import fold_norms
from fcis.model.fusion import Fusion
from fcis.recipe.named import named_recipe
from fcis.recipe.types import BackboneRecipe
from fcis.structures import ImageBatch
from fcis.training.loader import training_loader
from fcis.training.run import for_dataset
from fcis.training.systems import losses_of
from fcis.weights.weights_file import (
    WeightsInfo,
    load_weights,
    load_what_fits,
    read_info,
    save_weights,
)

from .noise import draw_weights

SLIM = BackboneRecipe(depths=(1, 2, 2, 2), widths=(8, 8, 12, 16), stem_width=8, frozen_stages=0)
# stride of conv5, the layer that is added, cells of the fused map a side for one of conv5
GRIDS = [(8, "c3", 1), (8, "c2", 2), (16, "c3", 2), (16, "c2", 4)]


def image_batch(pixels, sizes=None):
    count, _, height, width = pixels.shape
    sizes = torch.tensor(sizes or [(height, width)] * count, dtype=torch.int64).reshape(-1, 2)
    return ImageBatch(pixels=pixels, sizes=sizes, scales=torch.ones(count, 2), original_sizes=sizes)


def lively(recipe, seed=0):
    torch.manual_seed(seed)
    return draw_weights(build_backbone(recipe), (), seed).eval()


def tiny(**backbone):
    base = named_recipe("tiny").model
    return replace(
        base,
        class_names=("a", "b"),
        category_ids=(1, 2),
        backbone=replace(base.backbone, **backbone),
    )


def with_sampling(recipe, sampling):
    return replace(recipe, head=replace(recipe.head, sampling=sampling))


# The map itself


def slow_fusion(c5, added, factor):
    """Each cell by itself: bilinear between the centres of conv5's cells, edges repeated."""
    channels, rows, columns = c5.shape
    result = np.zeros((channels, factor * rows, factor * columns))
    for y in range(result.shape[1]):
        for x in range(result.shape[2]):
            place = [(n + 0.5) / factor - 0.5 for n in (y, x)]
            place = [min(max(p, 0), n - 1) for p, n in zip(place, (rows, columns), strict=True)]
            top, left = (math.floor(p) for p in place)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            b, r = place[0] - top, place[1] - left
            result[:, y, x] = (1 - b) * ((1 - r) * c5[:, top, left] + r * c5[:, top, right])
            result[:, y, x] += b * ((1 - r) * c5[:, bottom, left] + r * c5[:, bottom, right])
            row, column = min(y, added.shape[1] - 1), min(x, added.shape[2] - 1)
            result[:, y, x] += added[:, row, column]
    return result


@pytest.mark.parametrize(
    ("factor", "fine"), [(1, (4, 5)), (2, (7, 10)), (2, (8, 9)), (4, (13, 20))]
)
def test_against_loops_over_cells(factor, fine):
    generator = torch.Generator().manual_seed(0)
    lateral = nn.Conv2d(3, 6, 1, bias=False)
    fusion = Fusion(lateral=lateral, norm=nn.BatchNorm2d(6).eval(), source="c2", factor=factor)
    nn.init.uniform_(fusion.norm.running_var, 0.5, 2, generator=generator)
    nn.init.normal_(fusion.norm.bias, generator=generator)
    c5 = torch.randn(2, 6, 4, 5, generator=generator)
    finer = torch.randn(2, 3, *fine, generator=generator)
    with torch.no_grad():
        found = fusion(c5, finer)
        scale = (fusion.norm.running_var + fusion.norm.eps).rsqrt()[:, None, None]
        added = torch.einsum("oc,nchw->nohw", lateral.weight[:, :, 0, 0], finer) * scale
        added += fusion.norm.bias[:, None, None]
    for image in range(2):
        expected = slow_fusion(c5[image].numpy(), added[image].numpy(), factor)
        np.testing.assert_allclose(found[image].numpy(), expected, atol=1e-5)


# Backbones


@pytest.mark.parametrize(("stride", "source", "factor"), GRIDS)
@pytest.mark.parametrize("variant", ["v1", "modern"])
def test_grids_and_strides(variant, stride, source, factor):
    recipe = replace(SLIM, variant=variant, stride=stride, fusion=source)
    backbone = lively(recipe)
    assert backbone.fusion.factor == factor
    assert recipe.map_stride == stride // factor == {"c2": 4, "c3": 8}[source]
    for size in [(70, 50), (33, 97), (64, 64), (17, 9)]:
        with torch.inference_mode():
            features = backbone(image_batch(torch.randn(1, 3, *size)))
        rows, columns = backbone.grid_size(*size)
        assert features.c4.shape[1:] == (backbone.channels[0], rows, columns)
        assert features.c5.shape[1:] == (backbone.channels[1], factor * rows, factor * columns)
        assert features.c5_cells.tolist() == [[factor * rows, factor * columns]]
        assert (features.stride, features.c5_stride) == (stride, stride // factor)


@pytest.mark.parametrize(("stride", "source", "factor"), GRIDS)
def test_an_image_does_not_depend_on_its_batch(stride, source, factor):
    backbone = lively(replace(SLIM, stride=stride, fusion=source, norm="batch"))
    sizes = [(70, 50), (33, 97), (70, 50), (61, 64)]
    pixels = torch.full((4, 3, 75, 97), torch.nan)  # outside the images: never looked at
    for image, (height, width) in enumerate(sizes):
        pixels[image, :, :height, :width] = torch.randn(3, height, width)
    with torch.inference_mode():
        together = backbone(image_batch(pixels, sizes))
        for image, (height, width) in enumerate(sizes):
            own = pixels[image : image + 1, :, :height, :width]
            single = backbone(image_batch(own)).c5[0]
            rows, columns = together.c5_cells[image].tolist()
            assert single.shape[1:] == (rows, columns)
            mixed = together.c5[image].clone()
            difference = (mixed[:, :rows, :columns] - single).abs().max()
            assert difference <= 1e-5 * single.abs().max()
            mixed[:, :rows, :columns] = 0
            assert not mixed.any()


def test_without_it_nothing_is_added_drawn_or_computed():
    """The digest of initial weights was taken before there was any fusion."""
    model = build_model(tiny(), seed=3)
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    expected = "fded158d21b0b22a259834175b2e88121e0b174f3db3a13b341d867d2a4b1b2f"
    assert digest.hexdigest() == expected
    backbone = lively(SLIM)
    x = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        features = backbone(image_batch(x))
        x = x.contiguous(memory_format=torch.channels_last)
        c4 = backbone.maxpool(backbone.bn1(backbone.conv1(x)).relu())
        for layer in (backbone.layer1, backbone.layer2, backbone.layer3):
            c4 = layer(c4)
        assert torch.equal(features.c4, c4) and torch.equal(features.c5, backbone.layer4(c4))
    assert features.finer == 1 and features.c5_stride == features.stride == 16
    assert torch.equal(features.c5_cells, features.cells)


@pytest.mark.parametrize("source", ["c2", "c3"])
def test_conv4_is_the_same_with_it(source):
    plain, fused = lively(SLIM), lively(replace(SLIM, fusion=source), seed=1)
    assert not fused.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected, found = plain.extract(x), fused.extract(x)
        assert torch.equal(found[0], expected[0])
        nn.init.zeros_(fused.fusion.norm.weight)
        nn.init.zeros_(fused.fusion.norm.bias)
        nn.init.zeros_(fused.fusion.norm.running_mean)
        # conv5 alone, enlarged: where it is flat, it stays as it is
        fusion, side = fused.fusion, fused.fusion.factor * expected[1].shape[2]
        finer = torch.randn(1, fusion.lateral.in_channels, side, side)
        flat = fusion(torch.ones_like(expected[1]), finer)
    assert torch.equal(flat, torch.ones_like(flat))


@pytest.mark.parametrize(("stride", "source", "factor"), GRIDS)
def test_gradients_reach_both_layers(stride, source, factor):
    backbone = lively(replace(SLIM, stride=stride, fusion=source, norm="batch")).train()
    backbone.extract(torch.randn(2, 3, 64, 64))[1].square().mean().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert backbone.fusion.lateral.weight.shape == (64, 32, 1, 1)


def test_frozen_stages_do_not_freeze_it():
    backbone = build_backbone(replace(SLIM, fusion="c2", norm="batch", frozen_stages=5))
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"fusion.lateral.weight", "fusion.norm.weight", "fusion.norm.bias"}
    assert isinstance(backbone.fusion.norm, nn.BatchNorm2d)


def test_an_empty_batch():
    backbone = build_backbone(replace(SLIM, fusion="c2"))
    features = backbone(image_batch(torch.zeros(0, 3, 64, 96)))
    assert features.c5.shape == (0, backbone.channels[1], 16, 24)


# Whole networks


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_folding_its_norm_changes_nothing(norm):
    model = build_model(tiny(fusion="c2", norm=norm), seed=3).eval()
    draw_weights(model, (), 0)
    batch = image_batch(torch.randn(1, 3, 70, 90))
    with torch.inference_mode():
        before = model.backbone(batch).c5
        after = fold_norms(model).backbone(batch).c5
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampling", ["pool", "align", "native"])
@pytest.mark.parametrize("source", ["c2", "c3"])
def test_a_network_learns_with_it(source, sampling):
    """Losses are finite, and every weight of the finer layer's branch has a share in them."""
    base, scenes = named_recipe("tiny"), scene_dataset(2, 0, size=(96, 112))
    model_recipe = with_sampling(tiny(fusion=source), sampling)
    augmentation = replace(base.training.augmentation, crop=96)
    training = replace(base.training, augmentation=augmentation)
    recipe = for_dataset(replace(base, model=model_recipe, training=training), scenes)
    (batch,) = next(iter(training_loader(scenes, recipe, 0)))
    model = build_model(recipe.model).train()
    losses = losses_of(model, batch, recipe)
    assert losses.first_bad(batch.names) is None and losses.terms["roi_mask"].min() > 0
    losses.terms["roi_mask"].sum().backward()
    for parameter in model.backbone.fusion.parameters():
        assert parameter.grad.abs().max() > 0


def test_rois_read_the_finer_grid():
    """A RoI of whole cells of the finer grid has the mean of what is there and nothing else."""
    model = build_model(with_sampling(tiny(fusion="c2"), "native")).eval()
    batch = image_batch(torch.randn(1, 3, 64, 64))
    with torch.inference_mode():
        _, maps = model(batch)
        assert maps.stride == 4 and maps.classes.shape[1:3] == (16, 16)
        box = torch.tensor([[8.0, 16.0, 20.0, 28.0]])
        masks = model.mask_rois(maps, box, torch.tensor([0]), torch.tensor([1]))
    assert masks.shapes.tolist() == [[3, 3]]
    for row in range(3):
        for column in range(3):  # k is 3: each cell is a part of its own
            expected = maps.classes[0, 4 + row, 2 + column, 3 * row + column, :, 1]
            assert torch.equal(masks.values[3 * row + column], expected)


# Files


def test_files_with_and_without_it(tmp_path):
    plain, fused = tiny(), tiny(fusion="c3")
    for name, recipe in (("plain", plain), ("fused", fused)):
        save_weights(
            tmp_path / name, build_model(recipe, seed=1), WeightsInfo(model=recipe, recipe="tiny")
        )
    assert read_info(tmp_path / "fused").model == fused
    model, expected = build_model(fused, seed=2), build_model(fused, seed=1).state_dict()
    load_weights(tmp_path / "fused", model)
    assert all(torch.equal(v, expected[k]) for k, v in model.state_dict().items())
    begun = build_model(fused, seed=2)
    new = load_what_fits(tmp_path / "plain", begun, ("a", "b"))
    assert {n for n in new if "num_batches" not in n} == {
        f"backbone.fusion.{n}"
        for n in ("lateral.weight", "norm.weight", "norm.bias", "norm.running_mean",
                  "norm.running_var")
    }  # fmt: skip
