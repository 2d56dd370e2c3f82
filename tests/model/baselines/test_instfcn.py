"""InstFCN: its pyramid, the boxes of its masks, and what it proposes."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from fcis.core.boxes import box_iou
from fcis.model.baselines.instfcn import (
    InstFCN,
    MaskProposals,
    joined_proposals,
    pick_proposals,
    rescale,
    tight_boxes,
)
from fcis.model.baselines.windows import best_windows, read_windows, window_boxes
from fcis.recipe.named import named_recipe

from .conftest import recipe_of


def proposals_of(logits, windows):
    count = len(logits)
    return MaskProposals(
        boxes=torch.zeros(count, 4),
        image_index=torch.zeros(count, dtype=torch.int64),
        objectness=torch.linspace(0.9, 0.1, count),
        logits=logits,
        windows=torch.tensor(windows, dtype=torch.float32).reshape(-1, 4),
    )


@pytest.fixture
def network(system):
    return system("instfcn-rfcn").instfcn


def test_the_papers_windows():
    """Paper 2.1: 224 x 224 px, k x k parts."""
    model = named_recipe("coco-instfcn-rfcn").model
    own = model.instfcn
    assert own.window_cells * model.backbone.stride == 224
    with torch.device("meta"):
        network = InstFCN(replace(model, class_names=("a",), category_ids=(1,)))
    assert network.mask_parts.weight.shape == (49, 512, 3, 3)
    assert network.object_score.weight.shape == (1, 512, 1, 1)
    steps = [b / a for a, b in zip(own.pyramid, own.pyramid[1:], strict=False)]
    assert steps == pytest.approx([1.5] * 5, rel=1e-3)


def test_rescaling(images):
    recipe = recipe_of("instfcn-rfcn")
    batch, singles = images(recipe)
    factors = [0.5, 1.0, 1.7]
    scaled = rescale(batch, factors, least=8)
    assert scaled.sizes.tolist() == [[45, 60], [104, 72], [102, 226]]
    assert scaled.pixels.shape == (3, 3, 104, 226)
    torch.testing.assert_close(scaled.scales[0], torch.tensor([0.5, 0.5]))
    assert torch.equal(scaled.pixels[1, :, :104, :72], singles[1].pixels[0])
    expected = functional.interpolate(
        singles[2].pixels, size=(102, 226), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(scaled.pixels[2, :, :102, :226], expected[0])
    assert not scaled.pixels[2, :, 102:].any()
    for i, single in enumerate(singles):
        alone = rescale(single, factors[i : i + 1], least=8)
        height, width = alone.sizes[0].tolist()
        assert torch.equal(alone.pixels[0], scaled.pixels[i, :, :height, :width])
    assert rescale(batch, [0.01] * 3, least=8).sizes.tolist() == [[8, 8]] * 3


def test_a_mean_is_kept_when_an_image_shrinks(images):
    batch, _ = images(recipe_of("instfcn-rfcn"), sizes=((96, 96),))
    scaled = rescale(batch, [0.25], least=8)
    torch.testing.assert_close(
        scaled.pixels.mean(), batch.pixels.mean(), rtol=0.05, atol=0.02
    )  # without antialiasing three of four pixels would be lost


def test_tight_boxes_by_hand():
    logits = torch.full((4, 4, 4), -9.0)
    logits[0, 1:3, 2] = 9.0  # rows 1 and 2 of column 2
    logits[1] = 9.0
    logits[2, 0, 0] = 0.0  # 0.5 at the very sample
    found = proposals_of(logits, [[0, 0, 40, 40], [-16, 8, 16, 40], [0, 0, 16, 16], [0, 0, 8, 8]])
    boxes = tight_boxes(found, 0.5)
    # between cells the mask is interpolated, so the edge is that of the cell: 0.5 on both sides
    assert boxes[0].tolist() == [20, 10, 30, 30]
    assert boxes[1].tolist() == [-16, 8, 16, 40]
    assert boxes[3].tolist() == [0, 0, 0, 0]
    # 0.5 falls to 0.4 within 0.2 cells of its sample, and to 0.4375 at the next quarter
    assert boxes[2].tolist() == [0, 0, 2, 2]
    assert tight_boxes(found, 0.4)[2].tolist() == [0, 0, 3, 3]


def test_tight_boxes_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((20, 5, 5), generator=generator) * 2 - 1
    found = proposals_of(logits, [[8.0 * i, 4, 8 * i + 40, 44] for i in range(20)])
    boxes = tight_boxes(found, 0.4)
    for i in range(20):
        fine = functional.interpolate(
            logits[i].sigmoid()[None, None], scale_factor=4, mode="bilinear", align_corners=False
        )[0, 0]
        inside = (fine >= 0.4).nonzero()
        if len(inside) == 0:
            assert not boxes[i].any()
            continue
        top, left = (inside.amin(dim=0) * 2).tolist()  # a quarter of a cell is 2 px
        bottom, right = (inside.amax(dim=0) * 2 + 2).tolist()
        assert boxes[i].tolist() == [8 * i + left, 4 + top, 8 * i + right, 4 + bottom]


def test_maps_do_not_depend_on_the_batch(network, images):
    batch, singles = images(network.recipe)
    together = network(batch)
    for i, single in enumerate(singles):
        alone = network(single)
        rows, columns = alone.cells[0].tolist()
        own = (i, slice(0, rows), slice(0, columns))
        torch.testing.assert_close(together.parts[own], alone.parts[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            together.objectness[own], alone.objectness[0], rtol=1e-4, atol=1e-5
        )


def test_proposals_do_not_depend_on_the_batch(network, images):
    batch, singles = images(network.recipe)
    together = network.propose_masks(batch)
    for i, single in enumerate(singles):
        alone, mine = network.propose_masks(single), together.image_index == i
        assert len(alone.boxes) > 3
        torch.testing.assert_close(together.boxes[mine], alone.boxes, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(together.logits[mine], alone.logits, rtol=1e-3, atol=1e-4)


def test_proposals_are_the_best_windows_of_all_scales(network, images):
    """Each is a window of some scale with the window's own mask; none is like a better one."""
    recipe = network.recipe
    _, singles = images(recipe)
    single, own = singles[0], recipe.instfcn
    found = network.propose_masks(single)
    assert (found.objectness[:-1] >= found.objectness[1:]).all()
    assert len(found.boxes) <= recipe.rpn.post_nms
    overlap = box_iou(found.boxes, found.boxes).fill_diagonal_(0)
    assert overlap.max() <= own.proposal_nms
    windows, logits = [], []
    for factor in own.pyramid:
        scaled = rescale(single, [factor], least=8)
        maps = network(scaled)
        best = best_windows(maps, 0, 10_000)
        boxes = window_boxes(best.row, best.column, side=own.window_cells, stride=8)
        ratio = (single.sizes[0] / scaled.sizes[0]).flip(0).repeat(2)
        windows.append(boxes * ratio)
        logits.append(read_windows(maps, best, side=own.window_cells, k=own.window_parts)[0])
    windows, logits = torch.cat(windows), torch.cat(logits)
    assert len({tuple(w) for w in found.windows.tolist()}) == len(found.windows)
    for window, mask in zip(found.windows, found.logits, strict=True):
        distance = (windows - window).abs().amax(dim=1)
        assert distance.min() < 1e-3
        torch.testing.assert_close(logits[distance.argmin()], mask, rtol=1e-4, atol=1e-5)
    height, width = single.sizes[0].tolist()
    assert found.boxes.min() >= 0 and found.boxes[:, 2].max() <= width
    assert found.boxes[:, 3].max() <= height


def test_nothing_above_the_threshold_is_no_proposal(network, images):
    batch, _ = images(network.recipe)
    torch.nn.init.zeros_(network.mask_parts.weight)
    torch.nn.init.constant_(network.mask_parts.bias, -5.0)
    found = network.propose_masks(batch)
    assert found.boxes.shape == (0, 4) and found.logits.shape[0] == 0


def test_proposals_together_and_apart():
    found = proposals_of(torch.randn(3, 4, 4), [[0, 0, 1, 1], [1, 1, 2, 2], [2, 2, 3, 3]])
    last = pick_proposals(found, torch.tensor([2]))
    assert torch.equal(last.logits, found.logits[2:]) and last.windows.tolist() == [[2, 2, 3, 3]]
    both = joined_proposals([last, found])
    assert torch.equal(both.objectness, torch.cat([last.objectness, found.objectness]))
    assert len(both.boxes) == len(both.image_index) == 4
