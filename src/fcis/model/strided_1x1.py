"""A strided 1x1 convolution on few channels, around a fault of a library."""

from jaxtyping import Float
from torch import Tensor, nn

LEAST_CHANNELS = 16
"""From so many input channels on PyTorch's own convolution is used."""


class NarrowShortcut(nn.Conv2d):
    """A 1x1 convolution that leaves out cells before it instead of while it goes.

    The channels-last gradient of a strided 1x1 convolution on fewer than 16 channels writes beyond
    its buffers in the oneDNN of torch 2.14, on CPUs with AVX-512.
    """

    def forward(
        self, input: Float[Tensor, "image channel h w"]
    ) -> Float[Tensor, "image output h2 w2"]:
        """Return what a convolution with this stride returns."""
        rows, columns = self.stride
        kept = input[:, :, ::rows, ::columns]
        return nn.functional.conv2d(kept, self.weight, self.bias)
