"""Grouping by size and the common canvas; independence of the batch is tested with the backbone."""

import pytest
import torch

from fcis.model.canvas import by_size, on_canvas


def test_images_of_a_size_in_order():
    sizes = [(4, 5), (5, 4), (4, 5), (4, 4)]
    assert by_size(sizes) == {(4, 5): [0, 2], (5, 4): [1], (4, 4): [3]}
    assert by_size([]) == {}


def test_each_part_in_the_corner_of_its_members():
    first, second = torch.full((2, 3, 2, 4), 1.0), torch.full((1, 3, 3, 1), 2.0)
    canvas = on_canvas([first, second], [[2, 0], [1]], (3, 4))
    assert canvas.shape == (3, 3, 3, 4)
    assert canvas.is_contiguous(memory_format=torch.channels_last)
    for image, part in ((0, first[1]), (2, first[0]), (1, second[0])):
        rows, columns = part.shape[1:]
        assert torch.equal(canvas[image, :, :rows, :columns], part)
        assert canvas[image].count_nonzero() == part.numel()


def test_parts_keep_their_type_and_gradient():
    part = torch.ones((1, 2, 2, 2), dtype=torch.float64, requires_grad=True)
    canvas = on_canvas([part], [[0]], (4, 4))
    assert canvas.dtype == torch.float64
    (canvas * torch.arange(16.0).reshape(4, 4)).sum().backward()
    assert part.grad[0, 0].tolist() == [[0, 1], [4, 5]]


def test_parts_larger_than_the_grid():
    with pytest.raises(RuntimeError, match="shape"):
        on_canvas([torch.ones(1, 2, 3, 3)], [[0]], (2, 4))
