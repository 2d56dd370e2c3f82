"""FCIS with separate score maps: each set learns from one task alone."""

import torch

from fcis.ops import definition
from fcis.ops.roi_sampling import AssemblyRule
from fcis.structures import INSIDE, OUTSIDE

from .conftest import features_of

BOXES = torch.tensor([[2.0, 3, 40, 35], [0, 0, 30, 44], [9, 9, 20, 50]])
INDEX = torch.tensor([0, 1, 1])


def loss_parts(model, maps):
    scores = model.score_rois(maps, BOXES, INDEX)
    masks = model.mask_rois(maps, BOXES, INDEX, torch.tensor([1, 2, 3]))
    return scores.class_logits.square().sum(), masks.values.square().sum()


def test_both_sets_together_are_as_many_as_the_maps_of_fcis(system):
    model = system("fcis-separate")
    k, classes = model.recipe.head.k, len(model.recipe.class_names)
    both = model.head.classes.out_channels + model.mask_maps.out_channels
    assert both == 2 * k**2 * (classes + 1)


def test_each_layer_has_the_gradient_of_its_own_task(system):
    model = system("fcis-separate")
    channels = model.backbone.channels[1]
    classes, masks = loss_parts(model, model.maps(features_of(channels)))
    layers = [model.head.classes.weight, model.mask_maps.weight, model.head.reduction.weight]
    of_classes = torch.autograd.grad(classes, layers, retain_graph=True, allow_unused=True)
    of_masks = torch.autograd.grad(masks, layers, allow_unused=True)
    assert of_classes[0].any() and of_classes[1] is None
    assert of_masks[0] is None and of_masks[1].any()
    assert of_classes[2].any() and of_masks[2].any()  # what is below is shared


def test_masks_are_read_from_their_own_maps_as_in_the_definition(system):
    model = system("fcis-separate")
    maps = model.maps(features_of(model.backbone.channels[1]))
    classes = torch.tensor([3, 0, 2])
    masks = model.mask_rois(maps, BOXES, INDEX, classes)
    size = model.recipe.head.out_size
    assert masks.shapes.tolist() == [[size, size]] * 3 and model.mask_size == size
    rule = AssemblyRule(stride=8, sampling="align", out_size=size)
    values = masks.values.unflatten(0, (3, size, size))
    assert not values[..., OUTSIDE].any()
    for i in range(3):
        image = int(INDEX[i])
        expected = definition.assemble(
            maps.masks[image, ..., INSIDE, :], BOXES[i], maps.detection.cells[image], rule
        )
        torch.testing.assert_close(values[i, ..., INSIDE], expected[..., classes[i]])


def test_layers_of_certain_categories(system):
    model = system("fcis-separate")
    names = [n for n, _ in model.named_parameters() if n.startswith(model.class_layers)]
    assert names == [
        "head.classes.weight", "head.classes.bias", "mask_maps.weight", "mask_maps.bias"
    ]  # fmt: skip
