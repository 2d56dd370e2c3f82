"""What a training step is given: images with the objects in them, in the network's frame."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fcis.inference.preprocess import Resize, collate
from fcis.structures import ImageBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMask:
    """An object's mask in the network's frame: row `top`, column `left` are its first pixel.

    `values` are 0..1, bilinear between the pixels of the annotated mask.
    """

    top: int
    left: int
    values: Float[Tensor, "h w"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The objects of one image in pixels of the network's frame.

    Attributes:
        boxes: scaled as they are; the release rounds them to whole pixels.
        labels: 1..C.
        masks: in the order of the boxes.
        crowds: boxes of regions whose objects were not told apart.
    """

    boxes: Float[Tensor, "object 4"]
    labels: Int[Tensor, " object"]
    masks: tuple[ObjectMask, ...]
    crowds: Float[Tensor, "region 4"]

    def to(self, device: torch.device | str) -> "Truth":
        """Return the same objects on another device."""
        return Truth(
            boxes=self.boxes.to(device),
            labels=self.labels.to(device),
            masks=tuple(
                ObjectMask(top=m.top, left=m.left, values=m.values.to(device)) for m in self.masks
            ),
            crowds=self.crowds.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One training image before batching.

    Attributes:
        number: of the sample in the run.
        pixels: normalised values.
        plan: size and scale.
        original_size: (height, width) of the image as it was read.
        truth: its objects.
        name: for messages.
    """

    number: int
    pixels: Float[Tensor, "channel h w"]
    plan: Resize
    original_size: tuple[int, int]
    truth: Truth
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """Images with their objects, their numbers in the run and, for messages, their names."""

    images: ImageBatch
    truths: tuple[Truth, ...]
    numbers: tuple[int, ...]
    names: tuple[str, ...]

    def to(self, device: torch.device | str) -> "TrainingBatch":
        """Return the same batch on another device."""
        return TrainingBatch(
            images=self.images.to(device),
            truths=tuple(t.to(device) for t in self.truths),
            numbers=self.numbers,
            names=self.names,
        )

    def of_type(self, kind: torch.dtype) -> "TrainingBatch":
        """Return the same batch with pixels of another type."""
        return replace(self, images=replace(self.images, pixels=self.images.pixels.to(kind)))


def collate_samples(samples: Sequence[Sample]) -> TrainingBatch:
    """Return samples as one batch."""
    return TrainingBatch(
        images=collate([(s.pixels, s.plan) for s in samples], [s.original_size for s in samples]),
        truths=tuple(s.truth for s in samples),
        numbers=tuple(s.number for s in samples),
        names=tuple(s.name for s in samples),
    )
