"""What a network multiplies is noted completely, counted, and can be run again."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fcis.lab.benchmark.products import (
    count_operations,
    record_products,
    run_products,
    square_product,
)


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
