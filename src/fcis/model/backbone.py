"""ImageBatch -> Features: what a network must offer to stand under RPN and score maps.

Whoever adds one writes a class of this kind and puts it into the table of `backbones.py`. Nothing
else asks what a backbone is made of. It knows images as normalised tensors, and nothing of
anchors, RoIs or categories.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fcis.core.errors import InputError
from fcis.model.canvas import by_size, on_canvas
from fcis.structures import Features, ImageBatch

Conv5 = Literal["image", "roi"]
"""Where conv5 runs: on whole images, a trous, or with its original stride 2 on each RoI."""


class Backbone(nn.Module, ABC):
    """Whole images to the features of conv4 and conv5, on one grid (Paper: 2.3).

    Attributes:
        channels: channels of C4 and of C5.
        stride: pixels per cell of C4.
        finer: cells of C5 a side for one of C4.
        least_side: px of the smallest image that has a cell.
        stem: name of the first convolution, which sees the image's channels.
        stem_norm: name of the normalisation behind it, empty without one.
        classifier: what the names of a classifier's arrays begin with that are not its backbone's.
        added: what the names of arrays begin with that no classifier has.
        meanings: fields of the recipe that say what arrays mean, where their shapes do not.
        sizes: fields of the recipe that say which arrays there are, and of which shapes.
    """

    channels: tuple[int, int]
    stride: int
    finer: int = 1
    least_side: int = 1
    stem: ClassVar[str]
    stem_norm: ClassVar[str] = ""
    classifier: ClassVar[tuple[str, ...]] = ()
    added: ClassVar[tuple[str, ...]] = ()
    meanings: ClassVar[tuple[str, ...]] = ()
    sizes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def extract(
        self, pixels: Float[Tensor, "image channel height width"]
    ) -> tuple[Float[Tensor, "image channel4 h w"], Float[Tensor, "image channel5 h5 w5"]]:
        """Return C4 and C5 of images that all fill the canvas, best channels-last in memory.

        Where conv5 runs on RoIs, C5 has no channels.
        """

    @abstractmethod
    def cells_along(self, length: int) -> int:
        """Return the cells of C4 along a side of `length` pixels, 0 if it is too short."""

    @property
    @abstractmethod
    def last_stage(self) -> nn.Module:
        """Return conv5, which whoever has the RoIs' features runs where it is left to them."""

    def forward(self, batch: ImageBatch) -> Features:
        """Return C4 and C5 of every image, on the grid of the batch's canvas.

        What an image gets does not depend on what it is batched with (`canvas.py` says why that
        takes care): images of equal size form a group; each group is cut from the canvas to its
        own size, runs at once, and is written into the corner of zero-filled maps. A batch of one
        size that fills the canvas, the usual case, is not copied. Trained BatchNorm
        (`norm="batch"`) therefore takes its statistics from each group by itself and updates the
        running ones once a group.

        An empty batch gives empty maps.

        Raises:
            ValueError: an image is larger than the canvas.
            InputError: an image is too small for one cell.
        """
        height, width = batch.pixels.shape[-2:]
        sizes = [(int(rows), int(columns)) for rows, columns in batch.sizes.tolist()]
        for image, size in enumerate(sizes):
            if size[0] > height or size[1] > width:
                raise ValueError(
                    f"sizes: expected at most the canvas, {height} x {width}, got image {image} "
                    f"with {size[0]} x {size[1]}"
                )
        groups, finer = by_size(sizes), self.finer
        cells = [self.grid_size(*size) for size in sizes]
        if set(groups) <= {(height, width)}:
            c4, c5 = self.extract(batch.pixels)
        else:
            parts = [
                self.extract(batch.pixels[members, :, :rows, :columns])
                for (rows, columns), members in groups.items()
            ]
            grid = self.grid_size(height, width)
            members = list(groups.values())
            c4 = on_canvas([part[0] for part in parts], members, grid)
            fine = (grid[0] * finer, grid[1] * finer)
            c5 = on_canvas([part[1] for part in parts], members, fine)
        return Features(
            c4=c4,
            c5=c5,
            cells=torch.tensor(cells, dtype=torch.int64, device=c4.device).reshape(-1, 2),
            stride=self.stride,
            finer=finer,
        )

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (rows, columns) that C4 and C5 of an image of this size have.

        Raises:
            InputError: the image is too small for one cell.
        """
        rows, columns = self.cells_along(height), self.cells_along(width)
        if rows < 1 or columns < 1:
            raise InputError(
                f"image of {height} x {width} pixels after resizing: the network needs at least "
                f"{self.least_side} x {self.least_side}; raise the size, or cut the image into "
                "less narrow pieces"
            )
        return rows, columns
