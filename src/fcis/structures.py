"""The records that flow between the stages of the pipeline. Read this file first.

One arrow of the pipeline, one record:

    image -> ImageBatch -> Features -> RPNOutput -> Proposals
                                    -> ScoreMaps -> RoIScores, RoIMasks
          -> Selection, MaskGrids -> Instances

Axis words are the same everywhere:

    image       images of the batch
    height width  pixels of the padded, resized batch
    h w         cells of a feature map; one cell is `stride` pixels
    anchor      anchors of one cell
    roi         regions of interest of all images of the batch, flat
    cell        the k x k parts of a RoI, row-major (row * k + column)
    detection   the RoIs that are kept, one category each
    vote        a RoI's say in the mask of a detection
    side        0 = outside score, 1 = inside score
    class       0 = background, 1..C = the categories
    pixel       samples of all RoI masks of the batch, flat

Boxes are (x0, y0, x1, y1), continuous, right and bottom exclusive, in pixels of the resized
image unless a name says `original`. Sizes and scales are in (height, width) order.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

OUTSIDE, INSIDE = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBatch:
    """Images ready for the network, each in the top left corner of a common canvas.

    Attributes:
        pixels: normalised values; what lies outside an image's own size is never looked at.
        sizes: (height, width) of each resized image.
        scales: resized over original size, per axis.
        original_sizes: (height, width) of each image as it was read.
    """

    pixels: Float[Tensor, "image channel height width"]
    sizes: Int[Tensor, "image 2"]
    scales: Float[Tensor, "image 2"]
    original_sizes: Int[Tensor, "image 2"]

    def frame(self, image: int) -> "Frame":
        """Return the frame of one image."""
        height, width = (int(n) for n in self.original_sizes[image])
        return Frame(size=self.sizes[image], scale=self.scales[image], original=(height, width))

    def to(self, device: torch.device | str) -> "ImageBatch":
        """Return the same batch on another device."""
        return ImageBatch(
            pixels=self.pixels.to(device, non_blocking=True),
            sizes=self.sizes.to(device),
            scales=self.scales.to(device),
            original_sizes=self.original_sizes.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One image and its place among the pixels of the network.

    Attributes:
        size: (height, width) of the resized image.
        scale: resized over original size, (height, width) order.
        original: (height, width) of the image as it was read.
    """

    size: Int[Tensor, " 2"]
    scale: Float[Tensor, " 2"]
    original: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Feature maps of conv4 and conv5, on one grid as in the paper (2.3) or conv5 on a finer one.

    Attributes:
        c4: input of the RPN; zero outside an image's own cells.
        c5: input of the score maps; zero outside an image's own cells; without channels where
            conv5 runs on RoIs.
        cells: (rows, columns) of conv4's grid that belong to each image.
        stride: pixels per cell of conv4.
        finer: cells of `c5` a side for one of `c4`; more than 1 where a finer layer was added.
    """

    c4: Float[Tensor, "image channel4 h w"]
    c5: Float[Tensor, "image channel5 h5 w5"]
    cells: Int[Tensor, "image 2"]
    stride: int
    finer: int = 1

    @property
    def c5_cells(self) -> Int[Tensor, "image 2"]:
        """Return (rows, columns) of conv5's grid that belong to each image."""
        return self.cells * self.finer

    @property
    def c5_stride(self) -> int:
        """Return pixels per cell of conv5."""
        return self.stride // self.finer


@dataclass(frozen=True, slots=True, kw_only=True)
class RPNOutput:
    """Raw output of the region proposal network for every anchor.

    Attributes:
        logits: (background, object) before the softmax.
        deltas: (dx, dy, dw, dh) relative to the anchor.
        anchors: the anchors' boxes, the same for every image of the batch.
        cells: (rows, columns) of the grid that belong to each image.
        stride: pixels per cell.
    """

    logits: Float[Tensor, "image h w anchor 2"]
    deltas: Float[Tensor, "image h w anchor 4"]
    anchors: Float[Tensor, "h w anchor 4"]
    cells: Int[Tensor, "image 2"]
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Regions of interest: boxes, the image of each, and the RPN's object probability."""

    boxes: Float[Tensor, "roi 4"]
    image_index: Int[Tensor, " roi"]
    objectness: Float[Tensor, " roi"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMaps:
    """Position-sensitive score maps, channels last (Paper: 2.1, 2.3).

    The last three axes are cell-major and class-minor, which keeps together what one sample of
    one RoI reads.

    Attributes:
        classes: inside and outside scores of every category.
        boxes: class-agnostic box regression maps, (dx, dy, dw, dh) in units of the box stds.
        cells: (rows, columns) of the grid that belong to each image.
        stride: pixels per map cell.
    """

    classes: Float[Tensor, "image h w cell side class"]
    boxes: Float[Tensor, "image h w cell 4"]
    cells: Int[Tensor, "image 2"]
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoIScores:
    """What the joint inference says of each RoI, masks aside (Paper: 2.2).

    Attributes:
        class_logits: mean over the RoI of max(inside, outside), before the softmax.
        box_deltas: (dx, dy, dw, dh), already multiplied by the box stds.
    """

    class_logits: Float[Tensor, "roi class"]
    box_deltas: Float[Tensor, "roi 4"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoIMasks:
    """Mask scores of one category a RoI, kept flat because RoIs may differ in shape.

    Attributes:
        values: (outside, inside) scores, each RoI's samples row by row, RoI after RoI.
        shapes: (rows, columns) of each RoI's samples.
        extents: the box that each RoI's samples cover evenly.
    """

    values: Float[Tensor, "pixel side"]
    shapes: Int[Tensor, "roi 2"]
    extents: Float[Tensor, "roi 4"]

    @property
    def offsets(self) -> Int[Tensor, " roi"]:
        """Return where each RoI's samples begin in `values`."""
        counts = self.shapes.prod(dim=1)
        return counts.cumsum(0) - counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Kept detections and who votes on their masks, for one image (Paper: 2.3, Inference).

    Attributes:
        rois: the RoI that each detection comes from, best score first.
        labels: 1..C.
        scores: probability of that category.
        voter_of: for each vote, which detection it is for.
        voters: for each vote, the RoI that votes.
        weights: of the votes; those for one detection sum to 1.
    """

    rois: Int[Tensor, " detection"]
    labels: Int[Tensor, " detection"]
    scores: Float[Tensor, " detection"]
    voter_of: Int[Tensor, " vote"]
    voters: Int[Tensor, " vote"]
    weights: Float[Tensor, " vote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskGrids:
    """Inside probabilities of RoIs of one image, one grid each.

    Attributes:
        values: zero beyond a grid's own shape.
        shapes: (rows, columns) of each grid.
        extents: the box that a grid covers evenly; in pixels of the resized image where the grids
            are read, in those of the original image where they vote.
    """

    values: Float[Tensor, "grid row column"]
    shapes: Int[Tensor, "grid 2"]
    extents: Float[Tensor, "grid 4"]
