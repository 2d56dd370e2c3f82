"""Which scale a RoI is read at, and means over mirror images and networks (Paper: 4.3).

Means are taken so that equal values give exactly that value, however many there are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.inference.test_time.views import View
from fcis.model.pasting import bilinear_weights
from fcis.structures import MaskGrids


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """The views of one network, of one image or its mirror image, at several scales.

    Attributes:
        views: smallest scale first.
        roi_pixels: the number of pixels of a RoI that a scale is chosen for.
    """

    views: tuple[View, ...]
    roi_pixels: float

    def choose(self, boxes: Float[Tensor, "roi 4"]) -> Int[Tensor, " roi"]:
        """Return the view of each RoI in which its number of pixels is closest to the wanted one.

        That is the area of its box in the resized image of the view. Of two that are as close,
        the smaller scale.

        Paper: 4.3, multi-scale testing.
        """
        sides = (boxes[:, 2:] - boxes[:, :2]).double().clamp(min=0)
        factors = torch.stack([view.factor for view in self.views]).double().prod(dim=1)
        off = (sides.prod(dim=1)[:, None] * factors - self.roi_pixels).abs()
        # of equal ones the first, which argmin does not promise on every device
        nearest = off == off.amin(dim=1, keepdim=True)
        place = torch.arange(len(self.views), 0, -1, device=boxes.device)
        return (nearest * place).argmax(dim=1)

    def score(
        self, boxes: Float[Tensor, "roi 4"]
    ) -> tuple[Float[Tensor, "roi class"], Float[Tensor, "roi 4"]]:
        """Return class probabilities and box deltas of RoIs, each from the view chosen for it."""
        if len(self.views) == 1:
            return self.views[0].score(boxes)
        classes = len(self.views[0].classes)
        probabilities, deltas = boxes.new_zeros((len(boxes), classes)), torch.zeros_like(boxes)
        for view, index in self._parts(boxes):
            probabilities[index], deltas[index] = view.score(boxes[index])
        return probabilities, deltas

    def grids(self, boxes: Float[Tensor, "roi 4"], classes: Int[Tensor, " roi"]) -> MaskGrids:
        """Return the masks of RoIs, each from the view chosen for it."""
        if len(self.views) == 1:
            return self.views[0].grids(boxes, classes)
        parts = [(i, view.grids(boxes[i], classes[i])) for view, i in self._parts(boxes)]
        if not parts:
            return self.views[0].grids(boxes, classes)
        rows, columns = (max(part.values.shape[a] for _, part in parts) for a in (1, 2))
        values = boxes.new_zeros((len(boxes), rows, columns))
        shapes, extents = classes.new_zeros((len(boxes), 2)), torch.zeros_like(boxes)
        for index, part in parts:
            values[index, : part.values.shape[1], : part.values.shape[2]] = part.values
            shapes[index], extents[index] = part.shapes, part.extents
        return MaskGrids(values=values, shapes=shapes, extents=extents)

    def _parts(self, boxes: Tensor) -> Iterable[tuple[View, Tensor]]:
        """Return each view that some RoI is read at, and which RoIs."""
        chosen = self.choose(boxes)
        parts = ((view, (chosen == i).nonzero()[:, 0]) for i, view in enumerate(self.views))
        return [(view, index) for view, index in parts if len(index)]


def mean_scores(
    pyramids: Sequence[Pyramid], boxes: Float[Tensor, "roi 4"]
) -> tuple[Float[Tensor, "roi class"], Float[Tensor, "roi 4"]]:
    """Return the means of class probabilities and of box deltas of RoIs at home."""
    scores = [pyramid.score(boxes) for pyramid in pyramids]
    return mean([p for p, _ in scores]), mean([d for _, d in scores])


def mean_grids(
    pyramids: Sequence[Pyramid], boxes: Float[Tensor, "roi 4"], classes: Int[Tensor, " roi"]
) -> MaskGrids:
    """Return the means of the inside probabilities of RoIs, on the grids of the first pyramid.

    Where a mask always has the same number of samples, which cover its RoI evenly, samples of one
    place in the RoI are averaged. Samples on the cells of a map (`native`) lie elsewhere at every
    scale and in the mirror image; those of the others are interpolated between.
    """
    first, *others = (pyramid.grids(boxes, classes) for pyramid in pyramids)
    values = [first.values]
    for pyramid, other in zip(pyramids[1:], others, strict=True):
        is_same = torch.equal(other.shapes, first.shapes)
        if is_same and not (_on_cells(pyramids[0]) or _on_cells(pyramid)):
            values.append(other.values)
        elif is_same and torch.equal(other.extents, first.extents):
            values.append(other.values)
        else:
            values.append(resampled(other, first))
    return MaskGrids(values=mean(values), shapes=first.shapes, extents=first.extents)


def resampled(grids: MaskGrids, onto: MaskGrids) -> Float[Tensor, "roi row column"]:
    """Return the values of grids at the samples of others, between samples bilinear.

    Beyond the outermost samples the values of these are repeated; the result is zero beyond a
    grid's own shape.
    """
    rows, columns = (_axis_weights(grids, onto, axis) for axis in (1, 0))
    return rows @ grids.values @ columns.transpose(1, 2)


def mean(values: Sequence[Float[Tensor, "*shape"]]) -> Float[Tensor, "*shape"]:
    """Return the mean; of equal values exactly that value."""
    found = values[0]
    for count, value in enumerate(values[1:], start=2):
        found = found + (value - found) / count
    return found


def _on_cells(pyramid: Pyramid) -> bool:
    """Tell whether the samples of a mask are cells of a map."""
    return pyramid.views[0].network.recipe.head.sampling == "native"


def _axis_weights(grids: MaskGrids, onto: MaskGrids, axis: int) -> Float[Tensor, "roi new old"]:
    """Return the weight of each old sample in each new one along x (0) or y (1)."""
    wanted, own = onto.shapes[:, 1 - axis, None], grids.shapes[:, 1 - axis, None]
    sample = torch.arange(onto.values.shape[2 - axis], device=onto.values.device)
    start, end = onto.extents[:, axis, None], onto.extents[:, axis + 2, None]
    position = start + (sample + 0.5) * (end - start) / wanted
    own_start, own_end = grids.extents[:, axis, None], grids.extents[:, axis + 2, None]
    span = (own_end - own_start).clamp(min=1e-6)
    place = (position - own_start) / span * own - 0.5
    weights = bilinear_weights(place, own.to(place), grids.values.shape[2 - axis])
    return weights * (sample < wanted)[..., None]
