"""The cascade of MNC: its parts against slow references."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fcis.core.errors import InputError
from fcis.model.baselines import mnc as module
from fcis.model.baselines.mnc import MNC, CascadeOutput, roi_masks
from fcis.model.build import build_model
from fcis.model.joint import inside_probability
from fcis.recipe.named import named_recipe
from fcis.recipe.types import BackboneRecipe, MNCRecipe
from fcis.structures import Features
from fcis.weights.weights_file import WeightsInfo, load_what_fits, save_weights

from .mnc_cases import BOXES, CLASSES, IMAGES, SIZES, batch_of, lively, tiny

# Layers


def test_resnet101_has_91_layers_on_images_and_10_on_rois():
    recipe = replace(
        named_recipe("mnc").model, class_names=("a",), category_ids=(1,), rpn=tiny().rpn
    )
    with torch.device("meta"):
        model = MNC(recipe)

    def depth(*parts):
        """Convolutions along the main path."""
        names = [
            name
            for part in parts
            for name, layer in part.named_modules()
            if isinstance(layer, nn.Conv2d) and "downsample" not in name
        ]
        return len(names)

    backbone = model.backbone
    shared = [backbone.layer1, backbone.layer2, backbone.layer3]
    assert 1 + depth(*shared) == 91 and isinstance(backbone.conv1, nn.Conv2d)
    for conv5 in (backbone.layer4, model.head.backbone["layer4"]):
        assert depth(conv5) == 9
        x = torch.zeros(2, 1024, 14, 14, device="meta")
        assert conv5(x).shape == (2, 2048, 7, 7)
        assert all(c.dilation == (1, 1) for c in conv5.modules() if isinstance(c, nn.Conv2d))
    assert model.head.mask_hidden.in_features == 14 * 14 * 1024
    assert model.head.mask.out_features == 784
    assert model.head.classes.in_features == 4096
    assert model.mask_size == 28


def test_conv5_does_not_run_on_images(mnc_model):
    calls = []
    mnc_model.backbone.layer4.register_forward_hook(lambda *_: calls.append(1))
    batch, _ = batch_of(SIZES, mnc_model.recipe)
    features = mnc_model.backbone(batch)
    assert not calls
    assert isinstance(features, Features)
    assert features.c5.shape == (3, 0, *features.c4.shape[2:])
    mnc_model.score_rois(mnc_model.maps(features), BOXES[:1], IMAGES[:1])
    assert len(calls) == 1


def test_both_conv5_begin_alike():
    model = build_model(tiny())
    ours, copies = model.backbone.layer4.state_dict(), model.head.backbone["layer4"].state_dict()
    assert ours.keys() == copies.keys() and len(ours) > 5
    for name, value in ours.items():
        assert torch.equal(value, copies[name])
        assert value.data_ptr() != copies[name].data_ptr()


def test_weights_of_a_backbone_reach_both_conv5(tmp_path):
    """Those of FCIS have the same names and shapes, though they run elsewhere."""
    source = lively_backbone(replace(tiny(), system="fcis"))
    path = tmp_path / "fcis.safetensors"
    save_weights(path, source, WeightsInfo(model=source.recipe, recipe="x"))
    model = build_model(tiny(), seed=5)
    left = load_what_fits(path, model, model.recipe.class_names)
    assert all(name.startswith("head.") for name in left)
    expected = source.backbone.layer4.state_dict()
    for conv5 in (model.backbone.layer4, model.head.backbone["layer4"]):
        for name, value in conv5.state_dict().items():
            assert torch.equal(value, expected[name]), name


def lively_backbone(recipe):
    source = build_model(recipe, seed=1)
    for parameter in source.backbone.parameters():
        parameter.data.normal_(generator=torch.Generator().manual_seed(2))
    return source


# Parts


def test_cascade_is_that_of_each_roi_by_itself(mnc_model, mnc_maps):
    """Stage by stage in the plainest terms, one RoI at a time."""
    with torch.no_grad():
        found = mnc_model.cascade(mnc_maps, BOXES, IMAGES)
        for i in range(len(BOXES)):
            features = mnc_model.warp(mnc_maps, BOXES[i : i + 1], IMAGES[i : i + 1])[0]
            rows = features.permute(1, 2, 0).reshape(-1)  # row, column, channel
            head = mnc_model.head
            hidden = (head.mask_hidden.weight @ rows + head.mask_hidden.bias).clamp(min=0)
            mask = (head.mask.weight @ hidden + head.mask.bias).reshape(8, 8)
            inside = 1 / (1 + (-mask).exp())
            # bilinear samples of 8 x 8 at the centres of 4 x 4 lie between four of them
            inside = inside.reshape(4, 2, 4, 2).mean(dim=(1, 3))
            box = mnc_model.backbone.layer4(features[None])[0].mean(dim=(1, 2))
            masked = head.backbone["layer4"]((features * inside)[None])[0].mean(dim=(1, 2))
            both = torch.cat([box, masked])
            deltas = (head.boxes.weight @ both + head.boxes.bias).reshape(4, 4)
            near = {"atol": 1e-4, "rtol": 1e-4}
            torch.testing.assert_close(found.masks[i], mask, **near)
            torch.testing.assert_close(
                found.classes[i], head.classes.weight @ both + head.classes.bias, **near
            )
            torch.testing.assert_close(
                found.instances[i], head.instances.weight @ both + head.instances.bias, **near
            )
            stds = torch.tensor(mnc_model.recipe.head.box_stds)
            torch.testing.assert_close(found.deltas[i], deltas * stds, **near)
    assert (found.masks[0] - found.masks[1]).abs().max() > 0.1


def test_features_outside_the_mask_do_not_count(mnc_model, mnc_maps):
    """With a mask of nothing the second path sees zeros; with one of everything, all."""
    features = mnc_model.warp(mnc_maps, BOXES, IMAGES)
    masks = torch.full((4, 8, 8), -200.0)
    assert not mnc_model.head.mask_pooled(features, masks).any()
    torch.testing.assert_close(mnc_model.head.mask_pooled(features, -masks), features)
    masks[:, :, 4:] = 200.0
    half = mnc_model.head.mask_pooled(features, masks)
    assert not half[..., :2].any() and torch.equal(half[..., 2:], features[..., 2:])


def test_best_deltas_are_those_of_the_best_category_but_background():
    deltas = torch.arange(24.0).reshape(2, 3, 4)
    output = CascadeOutput(
        masks=torch.zeros(2, 1, 1),
        classes=torch.zeros(2, 3),
        instances=torch.tensor([[9.0, 1.0, 2.0], [-1.0, 1.0, 0.5]]),
        deltas=deltas,
    )
    assert torch.equal(output.best_deltas(), torch.stack([deltas[0, 2], deltas[1, 1]]))


def test_scores_are_those_of_box_and_mask(mnc_model, mnc_maps):
    with torch.no_grad():
        found, scores = (
            mnc_model.cascade(mnc_maps, BOXES, IMAGES),
            mnc_model.score_rois(mnc_maps, BOXES, IMAGES),
        )
    assert torch.equal(scores.class_logits, found.instances)
    assert torch.equal(scores.box_deltas, found.best_deltas())


def test_masks_as_pairs_of_scores():
    logits = torch.tensor([[[0.5, -1.0], [2.0, 0.0]], [[3.0, 1.0], [0.0, -2.0]]])
    masks = roi_masks(logits, BOXES[:2])
    assert masks.shapes.tolist() == [[2, 2], [2, 2]]
    assert masks.values[1].tolist() == [0.0, -1.0]
    torch.testing.assert_close(inside_probability(masks), logits.flatten().sigmoid())
    assert torch.equal(masks.extents, BOXES[:2])


@pytest.mark.parametrize("sampling", ["align", "pool"])
def test_rounding_to_cells_is_a_convention(sampling, mnc_maps):
    model = lively(tiny(head=replace(tiny().head, sampling=sampling)))
    moved = BOXES + torch.tensor([0.0, 0.0, 0.5, 0.5])  # within the same cells' rounding
    moved[1:] = BOXES[1:]
    with torch.no_grad():
        here, there = (model.warp(mnc_maps, boxes, IMAGES) for boxes in (BOXES, moved))
    assert torch.equal(here[0], there[0]) == (sampling == "pool")


# Masks once


def count_masks(model):
    """The numbers of RoIs of each call for masks."""
    calls = []
    plain = model.head.masks

    def counted(features):
        calls.append(len(features))
        return plain(features)

    model.head.masks = counted
    return calls


@torch.no_grad()
def test_masks_of_scored_rois_are_not_computed_again(mnc_model, mnc_maps):
    fresh = replace(mnc_maps, seen=[])
    alone = mnc_model.mask_rois(fresh, BOXES, IMAGES, CLASSES)
    assert not fresh.seen
    calls = count_masks(mnc_model)
    mnc_model.score_rois(mnc_maps, BOXES[:2], IMAGES[:2])
    mnc_model.score_rois(mnc_maps, BOXES[2:], IMAGES[2:])
    assert calls == [2, 2]
    order = torch.tensor([3, 0, 0, 2, 1])  # RoIs 0 and 3 have one box in two images
    again = mnc_model.mask_rois(mnc_maps, BOXES[order], IMAGES[order], CLASSES[order])
    assert calls == [2, 2]
    expected = alone.values.reshape(4, 64, 2)[order].reshape(-1, 2)
    torch.testing.assert_close(again.values, expected)
    assert torch.equal(again.extents, BOXES[order])


@torch.no_grad()
def test_masks_of_other_rois_are_added(mnc_model, mnc_maps):
    alone = mnc_model.mask_rois(replace(mnc_maps, seen=[]), BOXES, IMAGES, CLASSES)
    calls = count_masks(mnc_model)
    mnc_model.score_rois(mnc_maps, BOXES[1:3], IMAGES[1:3])
    found = mnc_model.mask_rois(mnc_maps, BOXES, IMAGES, CLASSES)
    assert calls == [2, 2]
    torch.testing.assert_close(found.values, alone.values)


@torch.no_grad()
def test_masks_are_the_same_for_all_categories(mnc_model, mnc_maps):
    one = mnc_model.mask_rois(mnc_maps, BOXES, IMAGES, CLASSES)
    two = mnc_model.mask_rois(mnc_maps, BOXES, IMAGES, CLASSES.flip(0))
    assert torch.equal(one.values, two.values)


def test_detection_finds_each_mask_once(mnc_model):
    calls = count_masks(mnc_model)
    batch, _ = batch_of(SIZES, mnc_model.recipe)
    found = mnc_model.detect(batch)
    output, _ = mnc_model(batch)
    proposals = len(mnc_model.rpn_proposals(output, batch).boxes)
    assert min(len(f) for f in found) > 3
    assert sum(calls) == 2 * proposals


@torch.no_grad()
def test_chunks_change_nothing(mnc_model, mnc_maps, monkeypatch):
    whole = mnc_model.score_rois(mnc_maps, BOXES, IMAGES)
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    parts = mnc_model.score_rois(replace(mnc_maps, seen=[]), BOXES, IMAGES)
    torch.testing.assert_close(whole.class_logits, parts.class_logits)
    torch.testing.assert_close(whole.box_deltas, parts.box_deltas)


@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
def test_no_rois(norm):
    model = build_model(tiny(backbone=replace(tiny().backbone, norm=norm))).train()
    batch, _ = batch_of(SIZES, model.recipe)
    _, maps = model(batch)
    none, index = BOXES[:0], IMAGES[:0]
    scores = model.score_rois(maps, none, index)
    assert scores.class_logits.shape == (0, 4) and scores.box_deltas.shape == (0, 4)
    assert model.mask_rois(maps, none, index, index).values.shape == (0, 2)
    fresh = model.mask_rois(replace(maps, seen=[]), none, index, index)
    assert fresh.shapes.shape == (0, 2)
    assert len(model.mask_rois(maps, BOXES, IMAGES, CLASSES).shapes) == 4


# Other recipes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mnc": MNCRecipe(feature_grid=0)}, "mnc.feature_grid: is 0, expected 1 to 256$"),
        ({"mnc": MNCRecipe(mask_grid=0)}, "mnc.mask_grid: is 0, expected 1 to 256$"),
        ({"mnc": MNCRecipe(mask_hidden=0)}, "mnc.mask_hidden: is 0, expected 1 to 65,536$"),
        (
            {"head": replace(tiny().head, sampling="native")},
            "head.sampling: is 'native', expected pool or align: mnc has features and masks of one",
        ),
    ],
)
def test_impossible_recipes(changes, message):
    with pytest.raises(InputError, match=rf"^model\.{message}"):
        build_model(tiny(**changes))


def test_masks_of_another_grid_than_the_features():
    """7 x 7 masks on 4 x 4 features: bilinear at the centres."""
    model = build_model(tiny(mnc=MNCRecipe(feature_grid=4, mask_grid=7, mask_hidden=8)))
    masks = torch.linspace(-3, 3, 49).reshape(1, 7, 7)
    pooled = model.head.mask_pooled(torch.ones(1, 2, 4, 4), masks)
    inside = masks.sigmoid()[0]
    # the centre of the first of four samples is at (0 + 0.5) 7 / 4 - 0.5 = 0.375
    near, far = 0.625, 0.375
    expected = (
        near * near * inside[0, 0]
        + near * far * (inside[0, 1] + inside[1, 0])
        + far * far * inside[1, 1]
    )
    torch.testing.assert_close(pooled[0, :, 0, 0], expected.expand(2))
    assert pooled.shape == (1, 2, 4, 4)


def test_a_basic_backbone_at_stride_16():
    backbone = BackboneRecipe(
        depths=(1, 1, 1, 1), widths=(8, 8, 8, 8), stem_width=8, block="basic", norm="group"
    )
    model = build_model(tiny(backbone=backbone)).eval()
    batch, _ = batch_of([(97, 64)], model.recipe)
    with torch.no_grad():
        _, maps = model(batch)
        found = model.cascade(maps, BOXES[:1], IMAGES[:1])
    assert maps.stride == 16 and found.masks.shape == (1, 8, 8)
