"""Several networks, scales and mirror images, averaged RoI by RoI (Paper: 4.3, table 4).

RoIs are what all networks propose, each at its own size. Each RoI is scored, refined, scored
again and given masks by every network, at the scale that suits its size, and in the mirror image
too; the means go through the same suppression and voting as those of one network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fcis.core.errors import InputError
from fcis.imaging.instances import Instances
from fcis.inference.preprocess import Resize, collate, prepare
from fcis.inference.test_time.averages import Pyramid, mean_grids, mean_scores
from fcis.inference.test_time.scales import Scale, pyramid
from fcis.inference.test_time.views import View
from fcis.model.detector import Detector
from fcis.recipe.types import ModelRecipe, Preprocessing
from fcis.structures import Frame, ImageBatch

_SAME = 2.0**-10  # px of the original image; corners closer than about this are one


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaging:
    """What is averaged.

    Attributes:
        scales: of the pyramid that RoIs are read at; none for each network's own size.
        flip: average with the mirror image.
        roi_side: side of a square with as many pixels as a RoI should have at its scale; 224 in
            the paper.

    Raises:
        InputError: the side is not a number above 0.
    """

    scales: tuple[Scale, ...] = ()
    flip: bool = False
    roi_side: int | float = 224

    def __post_init__(self) -> None:
        if not 0 < self.roi_side < float("inf"):
            raise InputError(f"RoI side {self.roi_side:g}: expected a number of pixels above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A network, and the number it gives to each category of the first network."""

    network: Detector
    levels: tuple[Preprocessing, ...]
    classes: Tensor


Inputs = dict[Preprocessing, tuple[Float[Tensor, "_ _ _"], Resize]]
"""An image resized as often as the networks and scales need it."""


class Ensemble:
    """Networks whose results are averaged; the first one's recipe says how masks are voted on."""

    def __init__(
        self, networks: Sequence[Detector], names: Sequence[str], settings: Averaging
    ) -> None:
        """Match the networks' categories by name.

        Args:
            networks: on one device; at least one.
            names: of the networks, for messages.
            settings: scales and mirror image.

        Raises:
            InputError: two networks do not know the same categories, or a factor makes images too
                small.
        """
        first = networks[0].recipe
        self.settings = settings
        self._members = tuple(
            _Member(
                network=network.eval(),
                levels=pyramid(network.recipe.preprocessing, settings.scales),
                classes=torch.tensor(_classes(first, network.recipe, (names[0], name))),
            )
            for network, name in zip(networks, names, strict=True)
        )

    @property
    def is_plain(self) -> bool:
        """Tell whether there is nothing to average: one network, at its own size alone."""
        own = (self._members[0].network.recipe.preprocessing,)
        return len(self._members) == 1 and not self.settings.flip and self._members[0].levels == own

    @property
    def networks(self) -> tuple[Detector, ...]:
        """Return the networks in their order."""
        return tuple(member.network for member in self._members)

    def prepare(
        self,
        image: UInt8[np.ndarray, "height width channel"],
        limits: tuple[int, int] | None = None,
    ) -> Inputs:
        """Return an image in all sizes that are needed.

        Args:
            image: as the first network takes it.
            limits: as `fcis.inference.preprocess.prepare` takes them; for networks that stretch
                levels as the first one does.

        Raises:
            InputError: the image has another number of channels than a network.
        """
        inputs: Inputs = {}
        home = self._members[0].network.recipe.preprocessing
        for member in self._members:
            recipe = member.network.recipe
            own = limits if recipe.preprocessing.stretch == home.stretch else None
            for level in (recipe.preprocessing, *member.levels):
                if level not in inputs:
                    inputs[level] = prepare(image, level, own)
        return inputs

    @torch.inference_mode()
    def detect(self, inputs: Inputs, size: tuple[int, int]) -> Instances:
        """Return the instances of one image, best first.

        The maps of all networks and scales are kept until the image is done, because the second
        pass and the masks read them again.

        Args:
            inputs: what `prepare` returned.
            size: (height, width) of the original image.
        """
        home = self._members[0].network
        batch = _batch(home, inputs, home.recipe.preprocessing, size)
        frame = batch.frame(0)
        proposals: list[Tensor] = []
        pyramids: list[Pyramid] = []
        for member in self._members:
            boxes, seen = self._look(member, inputs, frame)
            proposals.append(boxes)
            pyramids += seen
        boxes = unite(proposals, frame.scale)
        probabilities, deltas = mean_scores(pyramids, boxes)
        if home.recipe.detection.passes == 2:
            refined = home.refine(boxes, deltas, frame.size.expand(len(boxes), 2))
            again, _ = mean_scores(pyramids, refined)
            boxes, probabilities = torch.cat([boxes, refined]), torch.cat([probabilities, again])
        return home.assemble_instances(boxes, probabilities, frame, partial(mean_grids, pyramids))

    def _look(
        self, member: _Member, inputs: Inputs, frame: Frame
    ) -> tuple[Float[Tensor, "roi 4"], list[Pyramid]]:
        """Return what a network proposes, in pixels at home, and all that it sees."""
        network = member.network
        own = network.recipe.preprocessing
        proposals = frame.scale.new_zeros((0, 4))
        upright: list[View] = []
        mirrored: list[View] = []
        for level in dict.fromkeys((own, *member.levels)):
            batch = _batch(network, inputs, level, frame.original)
            output, maps = network(batch)
            view = View(
                network=network,
                maps=maps,
                factor=batch.scales[0] / frame.scale,
                width=int(batch.sizes[0, 1]),
                is_mirrored=False,
                classes=member.classes.to(frame.scale.device),
            )
            if level == own:
                proposals = view.to_home(network.find_rois(output, maps, batch).boxes)
            if level in member.levels:
                upright.append(view)
                if self.settings.flip:
                    _, maps = network(replace(batch, pixels=batch.pixels.flip(3)))
                    mirrored.append(replace(view, maps=maps, is_mirrored=True))
        found = [upright, mirrored] if mirrored else [upright]
        return proposals, [self._pyramid(views) for views in found]

    def _pyramid(self, views: list[View]) -> Pyramid:
        views = sorted(views, key=lambda view: float(view.factor.prod()))
        return Pyramid(views=tuple(views), roi_pixels=float(self.settings.roi_side) ** 2)


def unite(
    proposals: Sequence[Float[Tensor, "_ 4"]], scale: Float[Tensor, " 2"]
) -> Float[Tensor, "roi 4"]:
    """Return the proposals of several networks, those of the first one first.

    A box that an earlier network proposes too counts once: where all corners, rounded to a
    1024th of a pixel of the original image, are equal. Boxes that one network repeats stay.

    Args:
        proposals: of each network, in pixels of one resized image.
        scale: resized over original size, (height, width) order.
    """
    kept: list[Tensor] = []
    known: set[tuple[int, ...]] = set()
    for boxes in proposals:
        places = (boxes.double() / scale.double().flip(0).repeat(2) / _SAME).round().long()
        keys = [tuple(row) for row in places.tolist()]
        is_new = torch.tensor([key not in known for key in keys], dtype=torch.bool)
        kept.append(boxes[is_new.to(boxes.device)])
        known.update(keys)
    return torch.cat(kept)


def _batch(
    network: Detector, inputs: Inputs, level: Preprocessing, size: tuple[int, int]
) -> ImageBatch:
    """Return one image at one scale on the network's device, in its precision."""
    batch = collate([inputs[level]], [size])
    parameter = next(network.parameters())
    return replace(batch, pixels=batch.pixels.to(parameter.dtype)).to(parameter.device)


def _classes(home: ModelRecipe, other: ModelRecipe, names: tuple[str, str]) -> list[int]:
    """Return the number that a network gives to each category of the first one."""
    ours, theirs = home.class_names, other.class_names
    # names may come twice; then they must stand at the same places
    if ours == theirs:
        return list(range(len(ours) + 1))
    if sorted(ours) != sorted(theirs) or len(set(ours)) < len(ours):
        odd = sorted(set(ours) ^ set(theirs))
        what = f"one alone has {', '.join(odd[:5])}" if odd else "names come twice"
        raise InputError(
            f"{names[0]} and {names[1]}: do not have the same categories ({what}); an ensemble "
            "needs networks that were trained for the same ones"
        )
    return [0, *(theirs.index(name) + 1 for name in ours)]
