import math

import pytest
import torch

from fcis.inference.test_time.averages import Pyramid, mean, mean_grids, mean_scores, resampled
from fcis.inference.test_time.views import View
from fcis.structures import MaskGrids


class Fixed:
    """Stands for a network: answers with a number of its own, and says what it was asked."""

    def __init__(self, recipe, number, grid=3):
        self.recipe, self.number, self.grid, self.asked = recipe, number, grid, []

    def score_rois(self, maps, boxes, image_index):
        from fcis.structures import RoIScores

        self.asked += boxes.tolist()
        logits = torch.tensor([0.0, self.number]).expand(len(boxes), 2)
        return RoIScores(class_logits=logits, box_deltas=torch.full((len(boxes), 4), self.number))

    def mask_grids(self, maps, image, boxes, classes):
        n = self.grid
        values = torch.full((len(boxes), n, n), self.number)
        return MaskGrids(values=values, shapes=torch.full((len(boxes), 2), n), extents=boxes)


@pytest.fixture
def fixed(lively, monkeypatch):
    """Makes views of a fixed answer; a view does not look at what its network is."""
    recipes = {s: lively(sampling=s).recipe for s in ("align", "native")}

    def make(number, factor=1.0, sampling="align", grid=3):
        view = object.__new__(View)
        values = {
            "network": Fixed(recipes[sampling], number, grid),
            "maps": None,
            "factor": torch.tensor([factor, factor]),
            "width": 1000,
            "is_mirrored": False,
            "classes": torch.tensor([0, 1]),
        }
        for name, value in values.items():
            object.__setattr__(view, name, value)
        return view

    return make


def pyramid(*views, side=224.0):
    return Pyramid(views=views, roi_pixels=side**2)


def squares(*sides):
    return torch.tensor([[10.0, 10, 10 + s, 10 + s] for s in sides])


def test_each_roi_takes_the_scale_where_it_has_the_wanted_number_of_pixels(fixed):
    paper = [480, 576, 688, 864, 1200, 1400]
    views = pyramid(*(fixed(1.0, side / 600) for side in paper))
    sides = [1.0, 50, 96, 112, 140, 160, 180, 224, 250, 300, 900]
    chosen = views.choose(squares(*sides)).tolist()
    for side, index in zip(sides, chosen, strict=True):
        off = [abs((side * scale / 600) ** 2 - 224**2) for scale in paper]
        assert index == off.index(min(off)), side
    # small RoIs at the largest scale, large ones at the smallest
    assert chosen[0] == 5 and chosen[-1] == 0 and chosen == sorted(chosen, reverse=True)


def test_of_two_scales_as_close_the_smaller_one(fixed):
    # 10 x 10 pixels, and 10 x 50: 100 or 400, both 150 off 250
    views = pyramid(fixed(1.0, 1.0), fixed(1.0, 2.0), side=math.sqrt(250))
    assert views.choose(torch.tensor([[0.0, 0, 10, 10]])).tolist() == [0]
    assert views.choose(torch.tensor([[0.0, 0, 10, 10.1]])).tolist() == [0]
    assert views.choose(torch.tensor([[0.0, 0, 10, 9.9]])).tolist() == [1]


def test_an_inverted_box_has_no_pixels(fixed):
    views = pyramid(fixed(1.0, 1.0), fixed(1.0, 2.0), side=5.0)
    assert views.choose(torch.tensor([[10.0, 10, 0, 0], [0, 0, 2, 2]])).tolist() == [0, 1]


def test_each_roi_is_read_in_its_own_view_alone(fixed):
    views = pyramid(fixed(1.0, 1.0), fixed(2.0, 2.0), side=20.0)
    boxes = squares(10, 20, 9, 30)
    probabilities, deltas = views.score(boxes)
    assert deltas[:, 0].tolist() == [2, 1, 2, 1]
    expected = torch.tensor([2.0, 1, 2, 1]).sigmoid()
    torch.testing.assert_close(probabilities[:, 1], expected)
    small, large = (view.network.asked for view in views.views)
    assert small == boxes[[1, 3]].tolist() and large == (2 * boxes[[0, 2]]).tolist()
    grids = views.grids(boxes, torch.ones(4, dtype=torch.int64))
    assert grids.values[:, 0, 0].tolist() == [2, 1, 2, 1]
    torch.testing.assert_close(grids.extents, boxes)


def test_grids_of_different_shapes_come_together_padded(fixed):
    views = pyramid(fixed(1.0, 1.0, grid=2), fixed(2.0, 2.0, grid=3), side=20.0)
    grids = views.grids(squares(20, 10), torch.ones(2, dtype=torch.int64))
    assert grids.shapes.tolist() == [[2, 2], [3, 3]]
    assert grids.values[0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert grids.values[1].tolist() == [[2] * 3] * 3


def test_no_rois(fixed):
    views = pyramid(fixed(1.0, 1.0), fixed(2.0, 2.0))
    none, classes = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    probabilities, deltas = mean_scores([views, views], none)
    assert probabilities.shape == (0, 2) and deltas.shape == (0, 4)
    assert len(mean_grids([views, views], none, classes).values) == 0


def test_means_over_networks(fixed):
    three = [pyramid(fixed(number)) for number in (1.0, 2.0, 6.0)]
    probabilities, deltas = mean_scores(three, squares(10))
    torch.testing.assert_close(deltas, torch.full((1, 4), 3.0))
    expected = torch.tensor([1.0, 2.0, 6.0]).sigmoid().mean()
    torch.testing.assert_close(probabilities[0, 1], expected)
    grids = mean_grids(three, squares(10), torch.tensor([1]))
    torch.testing.assert_close(grids.values, torch.full((1, 3, 3), 3.0))


def test_the_mean_of_equal_values_is_that_value():
    values = torch.rand(1000)
    for count in (1, 2, 3, 7):
        assert torch.equal(mean([values] * count), values)
    torch.testing.assert_close(mean([values, 3 * values, 5 * values]), 3 * values)


def grid(values, extent, shape=None):
    values = torch.tensor([values])
    shapes = torch.tensor([shape or values.shape[1:]])
    return MaskGrids(values=values, shapes=shapes, extents=torch.tensor([extent]))


def test_resampling_by_hand():
    # centres at 4 and 12; wanted at 2, 6, 10, 14
    two = grid([[0.0, 1.0]], [0.0, 0, 16, 8])
    four = grid([[9.0] * 4], [0.0, 0, 16, 8])
    torch.testing.assert_close(resampled(two, four), torch.tensor([[[0, 0.25, 0.75, 1]]]))
    # a grid moved by 4 px, as a mirror image may be: centres at 8 and 16
    moved = grid([[0.0, 1.0]], [4.0, 0, 20, 8])
    torch.testing.assert_close(resampled(moved, four), torch.tensor([[[0, 0, 0.25, 0.75]]]))


def test_resampling_keeps_to_a_grids_own_shape():
    padded = grid([[0.0, 1.0, 9.0]], [0.0, 0, 16, 8], shape=[1, 2])
    wanted = grid([[0.0] * 5, [0.0] * 5], [0.0, 0, 16, 8], shape=[1, 4])
    expected = torch.tensor([[[0, 0.25, 0.75, 1, 0], [0.0] * 5]])
    torch.testing.assert_close(resampled(padded, wanted), expected)


def test_cells_of_maps_are_averaged_where_they_lie(fixed, monkeypatch):
    """As many cells, but of another place: they are no partners."""
    first, second = (pyramid(fixed(0.0, sampling="native")) for _ in range(2))
    left = grid([[0.0, 1.0]], [0.0, 0, 16, 8])
    right = grid([[0.0, 1.0]], [8.0, 0, 24, 8])
    answers = iter([left, right])
    monkeypatch.setattr(Pyramid, "grids", lambda self, boxes, classes: next(answers))
    found = mean_grids([first, second], squares(10), torch.tensor([1]))
    # at 4: 0 and 0 (nothing further left); at 12: 1 and 0
    torch.testing.assert_close(found.values, torch.tensor([[[0.0, 0.5]]]))
    assert torch.equal(found.extents, left.extents)
