"""The peer computes what the definition says, gradients included."""

import pytest
import torch

from fcis.lab.benchmark.materialised import assemble_materialised
from fcis.ops import definition
from fcis.ops.roi_sampling import AssemblyRule, RoIs

K, CLASSES = 3, 4
BOXES = torch.tensor(
    [
        [0, 0, 48, 48],
        [10.3, 5.2, 150.7, 130.1],
        [-30, -40, -5, -6],  # outside
        [300, 300, 400, 400],
        [50, 50, 50, 50],  # empty
        [-20, -20, 500, 500],
    ],
    dtype=torch.float32,
)
RULES = [
    AssemblyRule(stride=16, sampling="native"),
    AssemblyRule(stride=16, sampling="align", out_size=6),
    AssemblyRule(stride=16, sampling="pool"),
    AssemblyRule(stride=16, sampling="pool", round_boxes=False, out_size=5),
]


def example(images):
    generator = torch.Generator().manual_seed(0)
    grid = (images, 9, 12, K * K)
    maps, boxes = (
        torch.randn((*grid, *rest), generator=generator, dtype=torch.float64, requires_grad=True)
        for rest in ((2, CLASSES), (4,))
    )
    rois = RoIs(
        boxes=BOXES,
        image_index=torch.arange(len(BOXES)) % images,
        cells=torch.tensor([[9, 10], [7, 12]])[:images],
    )
    return maps, boxes, rois, torch.arange(len(BOXES)) % CLASSES


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("rule", RULES, ids=["native", "align", "pool", "port"])
def test_it_is_the_definition(rule, images):
    maps, boxes, rois, classes = example(images)
    ours = assemble_materialised(
        maps.permute(0, 5, 4, 3, 1, 2).flatten(1, 3),
        boxes.permute(0, 4, 3, 1, 2).flatten(1, 2),
        rois,
        classes,
        rule,
        k=K,
    )
    expected = (
        definition.class_scores(maps, rois, rule),
        definition.mean_deltas(boxes, rois, rule),
        definition.class_masks(maps, rois, classes, rule).values,
    )
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    weights = [torch.randn_like(values) for values in expected]
    gradients = torch.autograd.grad(ours, (maps, boxes), weights)
    for a, b in zip(gradients, torch.autograd.grad(expected, (maps, boxes), weights), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_grid_of_native_cells_is_exact_where_a_roi_covers_as_many():
    maps, boxes, rois, classes = example(1)
    rule = AssemblyRule(stride=16, sampling="native", out_size=6)
    side = 6 * 16.0
    boxes_of = torch.tensor([[0, 0, side, side], [32, 16, 32 + side, 16 + side], [0, 0, 160, 144]])
    rois = RoIs(boxes=boxes_of, image_index=rois.image_index[:3] * 0, cells=rois.cells)
    planes = (
        maps.permute(0, 5, 4, 3, 1, 2).flatten(1, 3),
        boxes.permute(0, 4, 3, 1, 2).flatten(1, 2),
    )
    scores, _, seen = assemble_materialised(*planes, rois, classes[:3], rule, k=K, layout="grid")
    expected = definition.class_scores(maps, rois, rule)
    torch.testing.assert_close(scores[:2], expected[:2])
    masks = definition.class_masks(maps, rois, classes[:3], rule).values
    torch.testing.assert_close(seen[: 2 * 36], masks[: 2 * 36])
    # the third covers 9 x 10 cells, of which the grid leaves some out
    assert seen.shape == (3 * 36, 2)
    assert (scores[2] - expected[2]).abs().max() > 1e-3


@pytest.mark.parametrize("images", [1, 2])
def test_both_layouts_of_a_grid_are_the_same(images):
    maps, boxes, rois, classes = example(images)
    rule = AssemblyRule(stride=16, sampling="native", out_size=6)
    planes = (
        maps.permute(0, 5, 4, 3, 1, 2).flatten(1, 3),
        boxes.permute(0, 4, 3, 1, 2).flatten(1, 2),
    )
    rows = assemble_materialised(*planes, rois, classes, rule, k=K, layout="grid")
    indexed = assemble_materialised(*planes, rois, classes, rule, k=K, layout="indexed")
    torch.testing.assert_close(indexed[:2], rows[:2])
    assert torch.equal(indexed[2], rows[2])
