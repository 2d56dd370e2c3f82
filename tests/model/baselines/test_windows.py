"""Sliding windows against loops."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from fcis.model.baselines.windows import (
    WindowMaps,
    Windows,
    all_windows,
    best_windows,
    read_windows,
    window_boxes,
)


def maps_of(k=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return WindowMaps(
        parts=torch.randn((2, 6, 9, k * k), generator=generator, dtype=dtype),
        objectness=torch.randn((2, 6, 9), generator=generator, dtype=dtype),
        cells=torch.tensor([[6, 7], [4, 9]]),
        stride=8,
    )


def windows_of(*places):
    image, row, column = torch.tensor(places).T
    return Windows(image=image, row=row, column=column)


PLACES = [(0, 0, 0), (0, 5, 6), (1, 3, 8), (0, 3, 3), (1, 0, 4)]


@pytest.mark.parametrize(("side", "k"), [(4, 1), (5, 3), (6, 3), (7, 3), (14, 7), (8, 4)])
def test_reading_against_a_loop(side, k):
    maps, windows = maps_of(k), windows_of(*PLACES)
    values, inside = read_windows(maps, windows, side=side, k=k)
    for n, (image, row, column) in enumerate(PLACES):
        rows, columns = maps.cells[image].tolist()
        for u in range(side):
            for v in range(side):
                y, x = row - side // 2 + u, column - side // 2 + v
                part = math.floor((u + 0.5) * k / side) * k + math.floor((v + 0.5) * k / side)
                nearest = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
                assert values[n, u, v] == maps.parts[image, nearest[0], nearest[1], part]
                assert inside[n, u, v] == (nearest == (y, x))


def test_boxes_and_cells_of_windows_agree():
    """A window of 14 cells of 16 px has 224 px, its centre at the corner of its cell."""
    row, column = torch.tensor([0, 10]), torch.tensor([3, 20])
    even = window_boxes(row, column, side=14, stride=16)
    assert even.tolist() == [[-64, -112, 160, 112], [208, 48, 432, 272]]
    odd = window_boxes(row, column, side=3, stride=8)
    assert odd.tolist() == [[16, -8, 40, 16], [152, 72, 176, 96]]


def test_gradients():
    maps = maps_of(2, torch.float64)
    windows = windows_of(*PLACES)

    def function(parts):
        own = WindowMaps(
            parts=parts, objectness=maps.objectness, cells=maps.cells, stride=maps.stride
        )
        return read_windows(own, windows, side=4, k=2)[0]

    assert gradcheck(function, (maps.parts.requires_grad_(),), fast_mode=True)


def test_all_windows_are_those_of_an_images_own_cells():
    every = all_windows(maps_of(), 1)
    assert len(every) == 36 and set(every.image.tolist()) == {1}
    places = list(zip(every.row.tolist(), every.column.tolist(), strict=True))
    assert places == [(r, c) for r in range(4) for c in range(9)]


def test_best_windows_come_first():
    maps = maps_of()
    best = best_windows(maps, 0, 5)
    scores = maps.objectness[0, :6, :7].flatten().sort(descending=True).values
    assert maps.objectness[0, best.row, best.column].tolist() == scores[:5].tolist()
    assert len(best_windows(maps, 0, 1000)) == 42


def test_an_index_keeps_its_order():
    some = windows_of(*PLACES).at(torch.tensor([2, 0]))
    assert (some.image.tolist(), some.row.tolist()) == ([1, 0], [3, 0])
    assert some.column.tolist() == [8, 0] and len(some) == 2


def test_no_windows():
    none = windows_of(*PLACES).at(torch.zeros(0, dtype=torch.int64))
    values, inside = read_windows(maps_of(), none, side=4, k=3)
    assert values.shape == inside.shape == (0, 4, 4)
