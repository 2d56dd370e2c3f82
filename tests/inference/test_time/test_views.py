from dataclasses import replace

import pytest
import torch

from fcis.inference.test_time.views import View, mirror_boxes, mirror_grids
from fcis.structures import MaskGrids, ScoreMaps

STRIDE, H, W = 8, 9, 12
# 72 px or parts of it: the bins of `pool` begin and end at exact numbers
WHOLE = torch.tensor([[0, 0, 72, 72], [8, 0, 80, 36], [24, 36, 96, 72], [60, 0, 96, 72]]).float()
ODD = torch.tensor([[3.3, 5.2, 50.7, 60.1], [70.5, -3.0, 99.0, 20.0], [40.0, 40.0, 44.0, 43.0]])
BOXES = {"align": torch.cat([WHOLE, ODD]), "native": torch.cat([WHOLE, ODD]), "pool": WHOLE}


def maps_of(model, seed=0):
    k, classes = model.recipe.head.k, len(model.recipe.class_names) + 1
    generator = torch.Generator().manual_seed(seed)
    return ScoreMaps(
        classes=torch.randn((1, H, W, k * k, 2, classes), generator=generator),
        boxes=torch.randn((1, H, W, k * k, 4), generator=generator),
        cells=torch.tensor([[H, W]]),
        stride=STRIDE,
    )


def mirrored_maps(maps, k):
    """What a network that treats left and right alike would make of the mirror image."""

    def mirror(values):
        parts = values.flip(2).unflatten(3, (k, k)).flip(4)
        return parts.flatten(3, 4)

    boxes = mirror(maps.boxes) * torch.tensor([-1.0, 1, 1, 1])
    return replace(maps, classes=mirror(maps.classes), boxes=boxes)


def view(model, maps, *, factor=(1.0, 1.0), width=STRIDE * W, is_mirrored=False, classes=None):
    order = range(len(model.recipe.class_names) + 1) if classes is None else classes
    return View(
        network=model,
        maps=maps,
        factor=torch.tensor(factor),
        width=width,
        is_mirrored=is_mirrored,
        classes=torch.tensor(list(order)),
    )


@pytest.mark.parametrize("sampling", ["align", "native", "pool"])
def test_mirrored_maps_at_mirrored_rois_give_the_mirrored_result(lively, sampling):
    model, boxes = lively(sampling=sampling), BOXES[sampling]
    maps = maps_of(model)
    upright = view(model, maps)
    mirrored = view(model, mirrored_maps(maps, model.recipe.head.k), is_mirrored=True)
    for found, expected in zip(mirrored.score(boxes), upright.score(boxes), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    classes = torch.arange(len(boxes)) % 3 + 1
    found, expected = mirrored.grids(boxes, classes), upright.grids(boxes, classes)
    assert torch.equal(found.shapes, expected.shapes)
    torch.testing.assert_close(found.values, expected.values, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.extents, expected.extents)
    # and the mirror image of the wrong maps is something else
    wrong = view(model, maps, is_mirrored=True)
    assert (wrong.score(boxes)[0] - upright.score(boxes)[0]).abs().max() > 0.02


def test_boxes_go_to_the_view_and_back(lively):
    model = lively()
    boxes = torch.tensor([[10.0, 20, 30, 60]])
    seen = view(model, None, factor=(0.5, 1.5), width=144)
    assert seen.to_view(boxes).tolist() == [[15, 10, 45, 30]]
    mirrored = replace(seen, is_mirrored=True)
    assert mirrored.to_view(boxes).tolist() == [[99, 10, 129, 30]]
    for each in (seen, mirrored):
        torch.testing.assert_close(each.to_home(each.to_view(boxes)), boxes)


def test_a_view_of_the_home_size_moves_no_box(lively):
    boxes = torch.rand(50, 4) * 100
    assert torch.equal(view(lively(), None).to_view(boxes), boxes)
    assert torch.equal(view(lively(), None).to_home(boxes), boxes)


def test_rois_are_read_in_the_pixels_of_the_view(lively):
    model = lively()
    maps = maps_of(model)
    seen = view(model, maps, factor=(2.0, 2.0))
    expected = view(model, maps).score(WHOLE)
    for found, own in zip(seen.score(WHOLE / 2), expected, strict=True):
        torch.testing.assert_close(found, own)
    grids = seen.grids(WHOLE / 2, torch.ones(len(WHOLE), dtype=torch.int64))
    torch.testing.assert_close(grids.extents, WHOLE / 2)


def test_categories_are_those_at_home(lively):
    model = lively()
    maps = maps_of(model)
    order = [0, 3, 1, 2]
    own, home = view(model, maps), view(model, maps, classes=order)
    assert torch.equal(home.score(WHOLE)[0], own.score(WHOLE)[0][:, order])
    twos, ones = torch.full((4,), 2), torch.full((4,), 1)
    assert torch.equal(home.grids(WHOLE, twos).values, own.grids(WHOLE, ones).values)


def test_no_rois_give_nothing(lively):
    model = lively()
    maps, none = maps_of(model), torch.zeros(0, 4)
    for is_mirrored in (False, True):
        seen = view(model, maps, is_mirrored=is_mirrored)
        probabilities, deltas = seen.score(none)
        assert probabilities.shape == (0, 4) and deltas.shape == (0, 4)
        assert len(seen.grids(none, torch.zeros(0, dtype=torch.int64)).values) == 0


def test_mirror_boxes_by_hand():
    boxes = torch.tensor([[0.0, 1, 10, 5], [90, 2, 100, 3], [-5, 0, 110, 9]])
    expected = [[90, 1, 100, 5], [0, 2, 10, 3], [-10, 0, 105, 9]]
    assert mirror_boxes(boxes, 100).tolist() == expected


def test_mirror_grids_turns_each_within_its_own_shape():
    grids = MaskGrids(
        values=torch.tensor([[[1.0, 2, 3], [4, 5, 6]], [[7, 8, 0], [0, 0, 0]]]),
        shapes=torch.tensor([[2, 3], [1, 2]]),
        extents=torch.tensor([[0.0, 0, 30, 20], [8, 0, 24, 8]]),
    )
    found = mirror_grids(grids, 32)
    assert found.values.tolist() == [[[3, 2, 1], [6, 5, 4]], [[8, 7, 0], [0, 0, 0]]]
    assert found.extents.tolist() == [[2, 0, 32, 20], [8, 0, 24, 8]]
    assert torch.equal(found.shapes, grids.shapes)
