"""One network's look at one image at one scale, mirrored or not, as one sees it at home.

Home is the image as the first network resizes it; there RoIs live, in pixels. A view takes RoIs
to its own pixels, reads its maps, and takes what it reads back.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.model.detector import Detector
from fcis.structures import MaskGrids


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a network sees.

    Attributes:
        network: whose maps these are.
        maps: of this image alone.
        factor: pixels of the view a pixel at home, (height, width) order.
        width: of the image in the view, px.
        is_mirrored: left and right are exchanged.
        classes: the network's own number of each category at home, background first.
    """

    network: Detector
    maps: object
    factor: Float[Tensor, " 2"]
    width: int
    is_mirrored: bool
    classes: Int[Tensor, " class"]

    def to_view(self, boxes: Float[Tensor, "roi 4"]) -> Float[Tensor, "roi 4"]:
        """Return boxes at home in pixels of the view."""
        moved = boxes * self.factor.flip(0).repeat(2)
        return mirror_boxes(moved, self.width) if self.is_mirrored else moved

    def to_home(self, boxes: Float[Tensor, "roi 4"]) -> Float[Tensor, "roi 4"]:
        """Return boxes of the view in pixels at home."""
        upright = mirror_boxes(boxes, self.width) if self.is_mirrored else boxes
        return upright / self.factor.flip(0).repeat(2)

    def score(
        self, boxes: Float[Tensor, "roi 4"]
    ) -> tuple[Float[Tensor, "roi class"], Float[Tensor, "roi 4"]]:
        """Return class probabilities and box deltas of RoIs at home.

        Deltas are relative to a box's own size, the same at every scale.
        """
        index = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        found = self.network.score_rois(self.maps, self.to_view(boxes), index)
        deltas = found.box_deltas.float()
        if self.is_mirrored:
            deltas = deltas * deltas.new_tensor([-1, 1, 1, 1])
        return found.class_logits.float().softmax(dim=1)[:, self.classes], deltas

    def grids(self, boxes: Float[Tensor, "roi 4"], classes: Int[Tensor, " roi"]) -> MaskGrids:
        """Return the masks of RoIs at home for categories at home; so are their extents."""
        found = self.network.mask_grids(self.maps, 0, self.to_view(boxes), self.classes[classes])
        if self.is_mirrored:
            found = mirror_grids(found, self.width)
            return _with_extents(found, found.extents / self.factor.flip(0).repeat(2))
        return _with_extents(found, self.to_home(found.extents))


def mirror_boxes(boxes: Float[Tensor, "roi 4"], width: int) -> Float[Tensor, "roi 4"]:
    """Return boxes in the mirror image of an image of that width."""
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    return torch.stack([width - x1, y0, width - x0, y1], dim=1)


def mirror_grids(grids: MaskGrids, width: int) -> MaskGrids:
    """Return grids in the mirror image of an image of that width."""
    column = torch.arange(grids.values.shape[2], device=grids.values.device)
    source = grids.shapes[:, 1:] - 1 - column
    index = source.clamp(min=0)[:, None].expand(-1, grids.values.shape[1], -1)
    values = torch.where((source >= 0)[:, None], grids.values.gather(2, index), 0)
    return MaskGrids(values=values, shapes=grids.shapes, extents=mirror_boxes(grids.extents, width))


def _with_extents(grids: MaskGrids, extents: Tensor) -> MaskGrids:
    return MaskGrids(values=grids.values, shapes=grids.shapes, extents=extents)
