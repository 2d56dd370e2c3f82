"""Square sliding windows on position-sensitive maps: where they are, and what is read in them.

A window is named by a cell (image, row, column) of the maps: it begins half its cells above and
left of that cell, so that its centre is at the cell. It may leave the image, since an object at
the border needs a window around it (Paper: 2.1; reference: 10.3).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowMaps:
    """What InstFCN computes on whole images of one scale.

    Attributes:
        parts: inside scores, one map for each part of a window.
        objectness: score of the window at each cell, before the sigmoid.
        cells: (rows, columns) of the grid that belong to each image.
        stride: pixels per cell.
    """

    parts: Float[Tensor, "image h w cell"]
    objectness: Float[Tensor, "image h w"]
    cells: Int[Tensor, "image 2"]
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows of a batch of images: image, row and column of the cell of each."""

    image: Int[Tensor, " window"]
    row: Int[Tensor, " window"]
    column: Int[Tensor, " window"]

    def __len__(self) -> int:
        return len(self.image)

    def at(self, index: Int[Tensor, " kept"]) -> "Windows":
        """Return the windows of an index, in its order."""
        return Windows(image=self.image[index], row=self.row[index], column=self.column[index])


def window_boxes(
    row: Int[Tensor, " window"], column: Int[Tensor, " window"], *, side: int, stride: int
) -> Float[Tensor, "window 4"]:
    """Return the boxes of windows of `side` cells, in pixels of the image of the maps' scale."""
    start = torch.stack([column, row], dim=1) - side // 2
    return torch.cat([start, start + side], dim=1).to(torch.float32) * stride


def read_windows(
    maps: WindowMaps, windows: Windows, *, side: int, k: int
) -> tuple[Float[Tensor, "window {side} {side}"], Bool[Tensor, "window {side} {side}"]]:
    """Return the inside scores of windows of `side` cells, and which of them the image has.

    Each cell is read from the map of its own part of the window; a cell outside the image from
    the nearest one inside.

    Paper: 2.1 (copy-paste of k x k parts).
    """
    local = torch.arange(side, device=maps.parts.device)
    part = torch.div((2 * local + 1) * k, 2 * side, rounding_mode="floor")
    limits = maps.cells[windows.image]
    index, inside = [], []
    for axis, centre in enumerate((windows.row, windows.column)):
        place = centre[:, None] - side // 2 + local
        last = limits[:, axis, None] - 1
        index.append(place.clamp(min=0).minimum(last))
        inside.append((place >= 0) & (place <= last))
    values = maps.parts[
        windows.image[:, None, None],
        index[0][:, :, None],
        index[1][:, None, :],
        (part[:, None] * k + part)[None],
    ]
    return values, inside[0][:, :, None] & inside[1][:, None, :]


def all_windows(maps: WindowMaps, image: int) -> Windows:
    """Return the windows of every cell of an image, row by row."""
    rows, columns = maps.cells[image].tolist()
    number = torch.arange(rows * columns, device=maps.parts.device)
    return Windows(
        image=torch.full_like(number, image),
        row=torch.div(number, columns, rounding_mode="floor"),
        column=number % columns,
    )


def best_windows(maps: WindowMaps, image: int, count: int) -> Windows:
    """Return the windows of an image with the highest objectness, at most `count`, best first."""
    every = all_windows(maps, image)
    scores = maps.objectness[image, every.row, every.column].float()
    best = scores.argsort(descending=True, stable=True)[:count]
    return every.at(best)
