import pytest
import torch
from torch import nn

from fcis.model.strided_1x1 import NarrowShortcut


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 1)])
def test_is_the_convolution_with_that_stride(size):
    torch.manual_seed(0)
    ours = NarrowShortcut(5, 7, 1, stride=2, bias=False).double()
    other = nn.Conv2d(5, 7, 1, stride=2, bias=False).double()
    other.load_state_dict(ours.state_dict())
    images = [torch.randn(2, 5, *size, dtype=torch.float64, requires_grad=True) for _ in "ab"]
    images[1].data.copy_(images[0].data)
    found, expected = ours(images[0]), other(images[1])
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(found)
    found.backward(gradient)
    expected.backward(gradient)
    torch.testing.assert_close(images[0].grad, images[1].grad)
    torch.testing.assert_close(ours.weight.grad, other.weight.grad)


def test_its_gradient_stays_within_its_buffers():
    """Eight rounds of the convolution of PyTorch 2.14 end the process on some CPUs."""
    layer = NarrowShortcut(8, 12, 1, stride=2, bias=False)
    for _ in range(40):
        x = torch.randn(2, 8, 64, 64).to(memory_format=torch.channels_last).requires_grad_()
        layer(x).square().sum().backward()
    assert layer.weight.grad.isfinite().all()
