"""What the operators are measured on: random maps of one image, and RoIs like those of images."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.ops.roi_sampling import RoIs

STRIDE = 16
_SIDES = (32.0, 600.0)  # px, of RoIs; between them every octave is as frequent


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of a problem.

    Attributes:
        rois: of one image.
        classes: background included.
        rows, columns: cells of the maps.
        k: parts along a side of a RoI.
        out_size: samples a side of a RoI where it is resampled.
    """

    rois: int = 300
    classes: int = 81
    rows: int = 38
    columns: int = 63
    k: int = 7
    out_size: int = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Maps, RoIs, the class whose mask each RoI shows, and gradients of what comes out.

    Attributes:
        classes: channels last, as the network's own head puts them out.
        boxes: likewise.
        chosen: a foreground class a RoI.
    """

    classes: Float[Tensor, "image h w cell side class"]
    boxes: Float[Tensor, "image h w cell 4"]
    rois: RoIs
    chosen: Int[Tensor, " roi"]

    def planes(
        self,
    ) -> tuple[Float[Tensor, "image channel h w"], Float[Tensor, "image box_channel h w"]]:
        """Return copies of the same maps in the release's order, channels first."""
        classes = self.classes.permute(0, 5, 4, 3, 1, 2).flatten(1, 3)
        boxes = self.boxes.permute(0, 4, 3, 1, 2).flatten(1, 2)
        return classes.contiguous(), boxes.contiguous()

    def to(self, device: str, dtype: torch.dtype | None = None) -> "Workload":
        """Return the same on a device, with maps of another type if one is given."""
        rois = RoIs(
            boxes=self.rois.boxes.to(device),
            image_index=self.rois.image_index.to(device),
            cells=self.rois.cells.to(device),
        )
        maps = (self.classes.to(device, dtype), self.boxes.to(device, dtype))
        return Workload(classes=maps[0], boxes=maps[1], rois=rois, chosen=self.chosen.to(device))


def workload(
    size: Size, device: str, *, dtype: torch.dtype = torch.float32, seed: int = 0
) -> Workload:
    """Return a problem of that size with maps of that type, the same one for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    grid = (1, size.rows, size.columns, size.k**2)
    classes = torch.randn((*grid, 2, size.classes), generator=generator)
    boxes = torch.randn((*grid, 4), generator=generator)
    first = min(1, size.classes - 1)
    chosen = torch.randint(first, size.classes, (size.rois,), generator=generator)
    rois = RoIs(
        boxes=random_boxes(size.rois, size.rows * STRIDE, size.columns * STRIDE, generator),
        image_index=torch.zeros(size.rois, dtype=torch.int64),
        cells=torch.tensor([[size.rows, size.columns]]),
    )
    problem = Workload(classes=classes, boxes=boxes, rois=rois, chosen=chosen)
    return problem.to(device, dtype)


def random_boxes(
    count: int, height: int, width: int, generator: torch.Generator
) -> Float[Tensor, "roi 4"]:
    """Return boxes within an image: sides from 32 to 600 px, or to the image's own."""
    limit = torch.tensor([width, height], dtype=torch.float32)
    low = torch.tensor(_SIDES[0]).minimum(limit).log()
    high = torch.tensor(_SIDES[1]).minimum(limit).log()
    sides = (low + (high - low) * torch.rand((count, 2), generator=generator)).exp()
    corner = (limit - sides) * torch.rand((count, 2), generator=generator)
    return torch.cat([corner, corner + sides], dim=1)
