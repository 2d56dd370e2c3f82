"""Drawn fluorescence images of nuclei, with exact masks: as many as wanted, drawn when read.

The arrow from (seed, index, size) to such an image, and to a `Dataset` of them. They show what the
weights for nuclei find without a photograph that would have to be shipped, and look like the
simpler ones among real images; figures on them say nothing of real ones. An image is a pure
function of those numbers, its masks on every machine.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from fcis.core.errors import InputError
from fcis.data.dataset import Category, Dataset, ImageRecord
from fcis.data.scenes.cell_layout import MIN_IMAGE_SIDE, draw_cells
from fcis.data.scenes.cell_paint import paint_cells
from fcis.data.scenes.shape_layout import Layout
from fcis.data.scenes.shape_scenes import annotations_of

CATEGORIES: tuple[Category, ...] = (Category(id=1, name="nucleus"),)
"""The only category, under the name and the id that it has in the 2018 Data Science Bowl's."""

SIZE = (256, 256)
"""Height and width of an image unless another size is asked for."""

# Streams of random numbers of an image: masks do not depend on how it is painted.
_GEOMETRY, _APPEARANCE = 0, 1
# Ids of annotations: those of image i start at this many times i.
_IDS_PER_IMAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A drawn image of nuclei.

    Attributes:
        image: RGB, the three channels being equal.
        masks: the pixels of each nucleus; no pixel belongs to two.
    """

    image: UInt8[np.ndarray, "height width 3"]
    masks: Bool[np.ndarray, "nucleus height width"]


def _stream(seed: int, index: int, size: tuple[int, int], purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, index, *size, purpose]))


def _layout(seed: int, index: int, size: tuple[int, int]) -> Layout:
    if seed < 0 or index < 0:
        raise ValueError(f"seed, index: expected numbers from 0 on, got {seed}, {index}")
    return draw_cells(_stream(seed, index, size, _GEOMETRY), *size)


def _paint(
    layout: Layout, seed: int, index: int, size: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    grey = paint_cells(layout, _stream(seed, index, size, _APPEARANCE))
    return np.repeat(grey[:, :, None], 3, axis=2)


def render_cells(seed: int, index: int, size: tuple[int, int] = SIZE) -> Cells:
    """Return image number `index` of a seed; `size` is (height, width) in pixels.

    Raises:
        ValueError: the seed or the index is negative, or a side is under 64 px.
    """
    layout = _layout(seed, index, size)
    numbers = np.arange(len(layout.objects), dtype=np.int16)
    return Cells(
        image=_paint(layout, seed, index, size),
        masks=layout.owner[None] == numbers[:, None, None],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSource:
    """The pixels of an image, drawn at each read."""

    seed: int
    index: int
    size: tuple[int, int]

    def read(self) -> UInt8[np.ndarray, "height width 3"]:
        """Return the RGB image."""
        layout = _layout(self.seed, self.index, self.size)
        return _paint(layout, self.seed, self.index, self.size)

    def __str__(self) -> str:
        return f"nuclei {self.index} of seed {self.seed}"


def cell_record(seed: int, index: int, size: tuple[int, int] = SIZE) -> ImageRecord:
    """Return a drawn image as an image of a dataset, with annotations but without its pixels.

    The image's id is `index + 1`; boxes are the tight boxes of the masks.

    Raises:
        ValueError: the seed or the index is negative, or a side is under 64 px.
    """
    return ImageRecord(
        id=index + 1,
        file_name=f"cells-{seed}-{index:06d}.png",
        height=size[0],
        width=size[1],
        source=CellSource(seed=seed, index=index, size=size),
        annotations=annotations_of(_layout(seed, index, size), first_id=_IDS_PER_IMAGE * index + 1),
    )


def cell_dataset(count: int, seed: int, *, size: tuple[int, int] = SIZE) -> Dataset:
    """Return the first `count` drawn images of a seed; `size` is (height, width) in pixels.

    A longer dataset of the same seed and size begins with the shorter.

    Raises:
        InputError: the count is under 1, the seed is negative, or a side is under 64 px.
    """
    if count < 1 or seed < 0 or min(size) < MIN_IMAGE_SIDE:
        raise InputError(
            f"cells: {count} images of {size[0]} x {size[1]} pixels with seed {seed} asked for; "
            f"give 1 or more, sides of {MIN_IMAGE_SIDE} or more, a seed of 0 or more"
        )
    return Dataset(
        name=f"cells:{count}:{seed}",
        categories=CATEGORIES,
        images=tuple(cell_record(seed, index, size) for index in range(count)),
    )
