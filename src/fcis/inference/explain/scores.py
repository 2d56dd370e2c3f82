"""The score maps of an image as arrays, and what any box reads from them (Paper: Figures 1, 2).

The network runs as it does to predict; what instances do not keep is computed once more here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped, UInt8

from fcis.core.errors import InputError
from fcis.imaging.channel_counts import as_picture
from fcis.inference.image_predictor import ImageLike, ImagePredictor
from fcis.inference.preprocess import collate
from fcis.model.fcis import FCIS
from fcis.ops.roi_sampling import bin_parts
from fcis.structures import INSIDE, OUTSIDE, ImageBatch, ScoreMaps


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """What one RoI reads from the score maps of one category (Paper: 2.2, Figure 2).

    Its samples are `out_size` a side, or the map cells that it covers where sampling is native.

    Attributes:
        box: the RoI (x0, y0, x1, y1), in pixels of the original image.
        extent: the box that the samples cover evenly, in pixels of the original image.
        label: of the category; 0 is the background, which has maps too.
        parts: the part of the RoI that each sample belongs to, row * k + column.
        inside: assembled inside scores: of each sample, those of its part's map.
        outside: assembled outside scores.
        logits: of all categories, background first: the mean over the samples of the greater of
            both scores.
    """

    box: Float32[np.ndarray, " 4"]
    extent: Float32[np.ndarray, " 4"]
    label: int
    parts: Int64[np.ndarray, "row column"]
    inside: Float32[np.ndarray, "row column"]
    outside: Float32[np.ndarray, "row column"]
    logits: Float32[np.ndarray, " class"]

    @property
    def evidence(self) -> Float32[np.ndarray, "row column"]:
        """Return how much each sample looks like its part of such an object's box: the maximum."""
        return np.maximum(self.inside, self.outside)

    @property
    def probability(self) -> Float32[np.ndarray, "row column"]:
        """Return the probability that each sample is inside the object: the softmax of both."""
        both = torch.from_numpy(np.stack([self.outside, self.inside]))
        return both.softmax(dim=0)[INSIDE].numpy()

    @property
    def score(self) -> float:
        """Return the probability of the category, before any calibration."""
        return float(torch.from_numpy(self.logits).softmax(dim=0)[self.label])


class ImageScores:
    """The score maps of one image, from which any box can be read for any category."""

    def __init__(
        self,
        model: FCIS,
        batch: ImageBatch,
        maps: ScoreMaps,
        image: UInt8[np.ndarray, "height width 3"],
    ) -> None:
        """Keep the maps where they are.

        Args:
            model: made the maps.
            batch: of one image.
            maps: of that image.
            image: the original, as it is shown.
        """
        self.image = image
        self._model = model
        self._maps = maps
        self._scale = batch.scales[0].repeat(2).flip(0)  # of x, y, x, y

    @property
    def k(self) -> int:
        """Return into how many parts a RoI is divided along each axis."""
        return self._model.recipe.head.k

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names by label; index 0 is "background"."""
        return ("background", *self._model.recipe.class_names)

    @property
    def mask_threshold(self) -> float:
        """Return the probability from which on a sample belongs to a mask."""
        return self._model.recipe.detection.mask_threshold

    @property
    def cell_size(self) -> tuple[float, float]:
        """Return the (height, width) of a map cell, in pixels of the original image."""
        across, down = (self._maps.stride / self._scale[:2]).tolist()
        return down, across

    def of(
        self, label: int
    ) -> tuple[Float32[np.ndarray, "k k h w"], Float32[np.ndarray, "k k h w"]]:
        """Return the inside maps of a category and its outside maps.

        The first axis counts the parts from top to bottom, the second from left to right; cell
        (0, 0) of each map lies in the top left corner of the image.

        Raises:
            ValueError: there is no such label.
        """
        self._check_label(label)
        rows, columns = (int(n) for n in self._maps.cells[0])
        both = self._maps.classes[0, :rows, :columns, :, :, label].float().cpu().numpy()
        inside, outside = (
            np.ascontiguousarray(both[..., side].transpose(2, 0, 1)).reshape(
                self.k, self.k, rows, columns
            )
            for side in (INSIDE, OUTSIDE)
        )
        return inside, outside

    @torch.inference_mode()
    def read(self, box: Shaped[np.ndarray, " 4"] | Sequence[float | int], label: int) -> Reading:
        """Return what a box reads from the maps of a category.

        Args:
            box: (x0, y0, x1, y1) in pixels of the original image; `Instances.boxes` has such.
            label: of the category.

        Raises:
            ValueError: there is no such label, or the box is not four numbers with x1 > x0 and
                y1 > y0.

        Paper: 2.2.
        """
        self._check_label(label)
        place = np.asarray(box, dtype=np.float32)
        if place.shape != (4,) or not np.isfinite(place).all() or (place[2:] <= place[:2]).any():
            raise ValueError(f"box: expected x0, y0, x1 > x0, y1 > y0, got {place.tolist()}")
        roi = torch.from_numpy(place)[None].to(self._scale) * self._scale
        first = torch.zeros(1, dtype=torch.int64, device=roi.device)
        logits = self._model.score_rois(self._maps, roi, first).class_logits[0]
        masks = self._model.mask_rois(self._maps, roi, first, torch.full_like(first, label))
        rows, columns = (int(n) for n in masks.shapes[0])
        values = masks.values.float().cpu().reshape(rows, columns, 2).numpy()
        return Reading(
            box=place,
            extent=(masks.extents[0] / self._scale).float().cpu().numpy(),
            label=label,
            parts=self._axis_parts(rows)[:, None] * self.k + self._axis_parts(columns),
            inside=np.ascontiguousarray(values[..., INSIDE]),
            outside=np.ascontiguousarray(values[..., OUTSIDE]),
            logits=logits.float().cpu().numpy(),
        )

    def _axis_parts(self, samples: int) -> Int64[np.ndarray, " {samples}"]:
        """Return the part of each sample along one axis."""
        if self._model.recipe.head.sampling == "native":
            # floor((i + 0.5) k / n) in whole numbers, as fcis.ops.roi_sampling.native_cells has it
            return (2 * np.arange(samples) + 1) * self.k // (2 * samples)
        return bin_parts(samples, self.k, torch.device("cpu")).numpy()

    def _check_label(self, label: int) -> None:
        last = len(self.class_names) - 1
        if not 0 <= label <= last:
            raise ValueError(f"label: expected 0..{last}, got {label}")


@torch.inference_mode()
def score_maps(predictor: ImagePredictor, image: ImageLike) -> ImageScores:
    """Return the score maps of an image.

    Of a predictor that averages, those of its first network at that network's own size; tiles are
    not regarded.

    Args:
        predictor: of FCIS.
        image: as `ImagePredictor.predict` takes it.

    Raises:
        InputError: the network is another system, or the image cannot be read.
    """
    model = with_score_maps(predictor)
    pixels = predictor.read(image)
    prepared = predictor.prepare(pixels)
    batch = collate([(prepared.pixels, prepared.plan)], [(pixels.shape[0], pixels.shape[1])])
    batch = replace(batch, pixels=batch.pixels.to(next(model.parameters()).dtype))
    batch = batch.to(predictor.device)
    maps = model.maps(model.backbone(batch))
    return ImageScores(model, batch, maps, as_picture(pixels))


def with_score_maps(predictor: ImagePredictor) -> FCIS:
    """Return the network of a predictor, if it has inside and outside score maps.

    Raises:
        InputError: it is one of the systems that FCIS is compared with.
    """
    if not isinstance(predictor.model, FCIS):
        raise InputError(
            f"score maps: a network of the system {predictor.model.recipe.system} has no inside "
            "and outside maps; take weights of fcis"
        )
    return predictor.model
