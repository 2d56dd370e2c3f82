"""Images of several sizes in one batch: which belong together, and their maps side by side.

Zero padding alone would make what an image gets depend on what it is batched with: the shift of
the first BatchNorm turns the padding into something else than zero, and the next convolution
carries that into the image. So images of equal size go through a network together, without any.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


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
