"""What a network multiplies is noted completely, counted by hand too, and can be run again."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from fcis.lab.benchmark.products import (
    count_operations,
    record_products,
    run_products,
    square_product,
    system_operations,
)
from fcis.recipe.named import named_recipe
from fcis.recipe.types import MNCRecipe

SIDES = (64, 96)
CLASSES = 3


class Example(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.again = nn.Conv2d(8, 8, 1, bias=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = functional.relu(self.conv(x.contiguous(memory_format=torch.channels_last)))
        x = self.again(self.again(x))
        return self.head(x.permute(0, 2, 3, 1))


@pytest.fixture
def network():
    model, image = Example(), torch.randn(1, 3, 8, 10)
    return model, lambda: model(image)


def test_products_are_noted_in_order(network):
    model, work = network
    products = record_products(work)
    assert len(products) == 4
    first, second, third, last = products
    assert first.args[0].shape == (1, 3, 8, 10)
    assert first.args[0].is_contiguous(memory_format=torch.channels_last)
    assert first.args[1] is model.conv.weight
    assert first().shape == (1, 8, 4, 5)
    assert second.args[1] is third.args[1] is model.again.weight
    assert second.args[0] is third.args[0], "one stand-in for activations of one shape"
    assert last().shape[-1] == 5
    run_products(products)


def test_operations_are_those_of_the_formula(network):
    _, work = network
    pixels = 4 * 5
    expected = 2 * pixels * (3 * 9 * 8 + 8 * 8 + 8 * 8 + 8 * 5)
    assert count_operations(work) == expected
    products = record_products(work)
    assert count_operations(lambda: run_products(products)) == expected


def test_a_square_product():
    work, operations = square_product(6, "cpu")
    assert operations == 2 * 6**3 == count_operations(work)
    assert work().shape == (6, 6)
    assert work().dtype == torch.float32
    with pytest.raises(ValueError, match="side: expected at least 1, got 0"):
        square_product(0, "cpu")


def tiny(system, passes=2):
    base = named_recipe("tiny").model
    return replace(
        base,
        system=system,
        mnc=MNCRecipe(feature_grid=4, mask_grid=8, mask_hidden=16),
        detection=replace(base.detection, passes=passes),
        class_names=("a", "b", "c"),
        category_ids=(1, 2, 3),
    )


def conv(inputs, outputs, side, cells):
    return 2 * inputs * outputs * side**2 * cells


def on_image(recipe, *, conv5, head):
    """Basic blocks of 3 x 3 convolutions; cells at strides 2, 4, 8, 8, 8."""
    height, width = SIDES
    w = recipe.backbone.widths
    half, quarter, eighth = (height * width // n**2 for n in (2, 4, 8))
    total = conv(3, 8, 7, half)
    total += (
        conv(8, w[0], 3, quarter)
        + conv(w[0], w[0], 3, quarter)
        + conv(8, w[0], 1, quarter) * (w[0] != 8)
    )
    for inputs, outputs in ((w[0], w[1]), (w[1], w[2]), (w[2], w[3]))[: 3 if conv5 else 2]:
        total += conv(inputs, outputs, 3, eighth) + conv(outputs, outputs, 3, eighth)
        total += conv(inputs, outputs, 1, eighth)
    anchors = len(recipe.rpn.anchor_sizes) * len(recipe.rpn.anchor_ratios)
    channels = recipe.rpn.channels
    total += conv(w[2], channels, 3, eighth) + conv(channels, 6 * anchors, 1, eighth)
    return total + head * eighth


def test_fcis_by_hand():
    recipe = tiny("fcis")
    r, k = recipe.head.reduction, recipe.head.k
    head = 2 * (recipe.backbone.widths[3] * r + r * k**2 * (2 * (CLASSES + 1) + 4))
    found = system_operations(recipe, SIDES, rois=300)
    assert found == on_image(recipe, conv5=True, head=head)
    assert found == system_operations(recipe, SIDES, rois=1), "its RoIs cost nothing"


@pytest.mark.parametrize("passes", [1, 2])
def test_mnc_by_hand(passes):
    recipe = tiny("mnc", passes)
    c4, c5 = recipe.backbone.widths[2:]
    image = on_image(recipe, conv5=False, head=0)
    mask = 2 * (4 * 4 * c4 * 16 + 16 * 64)
    conv5 = conv(c4, c5, 3, 4) + conv(c5, c5, 3, 4) + conv(c4, c5, 1, 4)
    last = 2 * 2 * c5 * (CLASSES + 1) * (1 + 1 + 4)
    for rois in (1, 10):
        expected = image + rois * passes * (mask + 2 * conv5 + last)
        assert system_operations(recipe, SIDES, rois=rois) == expected


def test_the_methods_of_table_2():
    """MNC on a COCO image costs several times as much, most of it on its RoIs (Paper: 1)."""
    found = {}
    for name in ("coco-resnet101", "mnc", "mnc-3stage"):
        model = replace(
            named_recipe(name).model,
            class_names=tuple(f"c{i}" for i in range(80)),
            category_ids=tuple(range(80)),
        )
        one, *rest = (system_operations(model, (600, 1000), rois=n) for n in (1, 2, 300))
        roi = rest[0] - one
        assert rest[1] == one + 299 * roi
        found[name] = (one - roi, roi, rest[1])
    image, roi, total = found["mnc"]
    assert found["coco-resnet101"][2] == pytest.approx(314e9, rel=0.02)
    assert image < 0.2 * total
    assert 4 < total / found["coco-resnet101"][2] < 8
    assert (image, roi) == (found["mnc-3stage"][0], 2 * found["mnc-3stage"][1])


def test_what_cannot_be_counted():
    with pytest.raises(ValueError, match="rois: expected at least 1, got 0"):
        system_operations(tiny("mnc"), SIDES, rois=0)
    with pytest.raises(ValueError, match="expected the system fcis or mnc, got naive-mnc"):
        system_operations(tiny("naive-mnc"), SIDES, rois=1)
