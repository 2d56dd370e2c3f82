"""Images of several sizes in one batch: which belong together, and their maps side by side.

Zero padding alone would make what an image gets depend on what it is batched with: the shift of
the first BatchNorm turns the padding into something else than zero, and the next convolution
carries that into the image. So images of equal size go through a network together, without any.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

_LEAST_CHANNELS = 16  # of a strided 1x1 convolution that may be channels-last


def memory_format(network: nn.Module) -> torch.memory_format:
    """Return the memory format in which images go through a network: channels-last if it is wide.

    The channels-last gradient of a strided 1x1 convolution on fewer than 16 channels writes beyond
    its buffers in the oneDNN of torch 2.14, on CPUs with AVX-512.
    """
    narrow = any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < _LEAST_CHANNELS
        for module in network.modules()
    )
    return torch.contiguous_format if narrow else torch.channels_last


def by_size(sizes: Iterable[tuple[int, int]]) -> dict[tuple[int, int], list[int]]:
    """Return the indices of the images of each (height, width), in order."""
    groups: dict[tuple[int, int], list[int]] = {}
    for image, size in enumerate(sizes):
        groups.setdefault(size, []).append(image)
    return groups


def on_canvas(
    parts: Sequence[Float[Tensor, "_ channel _ _"]],
    members: Sequence[Sequence[int]],
    grid: tuple[int, int],
) -> Float[Tensor, "image channel h w"]:
    """Return zero maps of the grid's size with each part in the corner of its members.

    Args:
        parts: the maps of each group of images, no larger than the grid.
        members: the places of each group's images in the batch; together all of them.
        grid: (rows, columns).
    """
    shape = (sum(map(len, members)), parts[0].shape[1], *grid)
    canvas = torch.empty(
        shape,
        dtype=parts[0].dtype,
        device=parts[0].device,
        memory_format=torch.channels_last,
    ).zero_()
    for part, images in zip(parts, members, strict=True):
        canvas[images, :, : part.shape[2], : part.shape[3]] = part
    return canvas
