"""Any image in, instances in pixels of the original image out: all but files of results."""

import math
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from torch import Tensor

from fcis.core.errors import InputError
from fcis.core.read_ahead import read_ahead
from fcis.data.dataset import Dataset
from fcis.imaging.channel_counts import as_picture
from fcis.imaging.in_memory import OpenFile, as_readable
from fcis.imaging.instances import Instances
from fcis.imaging.multichannel import read_as
from fcis.imaging.reading import MAX_PIXELS, MAX_TILED_PIXELS, image_size
from fcis.imaging.strips.picture import ArrayPicture, Picture, level_counts, open_picture
from fcis.inference.preprocess import Resize, collate, prepare, stretch_limits
from fcis.inference.test_time.ensemble import Ensemble, Inputs
from fcis.inference.tiling.tile_by_tile import Watch, detect_tiles, unwatched
from fcis.inference.tiling.tile_grid import Tiling, make_tiling, plan_tiles
from fcis.model.detector import Detector
from fcis.weights.weights_file import WeightsInfo

Threshold = float | int
ImageLike = str | Path | OpenFile | Image.Image | Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]
"""A file by its name or open for reading, a PIL image, an array HWC or HW, a tensor CHW or HW."""

Several = list[ImageLike] | tuple[ImageLike, ...]
_MOST_READERS = 4  # threads that read ahead, and images held for it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """An image that is ready for the network.

    Attributes:
        image: the original image; RGB, or of the network's channels.
        pixels: the network's input.
        plan: how it was resized.
        views: at other sizes too, for an ensemble.
    """

    image: UInt8[np.ndarray, "height width channel"]
    pixels: Float[Tensor, "channel rows columns"]
    plan: Resize
    views: Inputs = field(default_factory=dict)


class ImagePredictor:
    """A trained network with the preprocessing and the thresholds that belong to it.

    Attributes:
        model: the network; the first one of an ensemble.
        info: what its weights file says of itself.
        device: where it runs.
        tiling: in which all images go through it, unless `predict` is told otherwise.
        ensemble: in place of the model, if there are several networks, scales or the mirror image.
    """

    def __init__(
        self,
        model: Detector,
        info: WeightsInfo,
        *,
        device: str = "cpu",
        tiling: Tiling | None = None,
        ensemble: Ensemble | None = None,
    ) -> None:
        self.model = model.eval().to(device)
        self.info = info
        self.device = device
        self.tiling = tiling
        self.ensemble = ensemble

    def __repr__(self) -> str:
        """Return one line: which network finds what, on which device."""
        names = self.class_names[1:]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        networks = "" if self.ensemble is None else f", {len(self.ensemble.networks)} network(s)"
        recipe = self.info.recipe or self.info.model.system
        return f"<{type(self).__name__} {recipe}: {shown}{networks}, on {self.device}>"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the labels; label 0 is "background"."""
        return ("background", *self.info.model.class_names)

    @overload
    def predict(
        self,
        images: ImageLike,
        *,
        score_threshold: Threshold | None = None,
        batch: int = 1,
        tile: int | None = None,
        overlap: int | None = None,
    ) -> Instances: ...

    @overload
    def predict(
        self,
        images: Several,
        *,
        score_threshold: Threshold | None = None,
        batch: int = 1,
        tile: int | None = None,
        overlap: int | None = None,
    ) -> list[Instances]: ...

    def predict(
        self,
        images: ImageLike | Several,
        *,
        score_threshold: Threshold | None = None,
        batch: int = 1,
        tile: int | None = None,
        overlap: int | None = None,
    ) -> Instances | list[Instances]:
        """Return the instances of one image, or a list of them for a list of images.

        A long list needs no more memory than a few images, its results aside; these keep their
        images. Files are turned upright as their EXIF orientation says, PIL images are taken as
        they are.

        Args:
            images: file names, files open for reading, PIL images, numpy arrays of (height,
                width, channel) or (height, width), torch tensors of (channel, height, width) or
                (height, width). Other depths than 8 bits are read as
                `fcis.imaging.reading.as_rgb` says.
            score_threshold: least score; without it the weights' operating thresholds hold.
            batch: images of a list, or tiles of an image, that go through the network at once, of
                any sizes; what an image gets does not depend on it. More than 1 is faster on GPUs.
            tile: side of the tiles in which images go through the network, px of the original;
                their instances are joined. Files of more than 100 million pixels are then read
                row by row, and the result has no image. The recipe's `max_detections` holds for
                each tile. An image that is no larger is looked at as it is.
            overlap: of neighbouring tiles, px; best more than the usual object's length. Without
                it, a quarter of a tile, at most 256.

        Raises:
            InputError: an image cannot be read, or no such tiles are possible.
        """
        tiling = self.tiling if tile is None else make_tiling(tile, overlap)
        if tiling is not None:
            if not isinstance(images, list | tuple):
                return self._predict_tiled(images, score_threshold, tiling, batch)
            return [self._predict_tiled(i, score_threshold, tiling, batch) for i in images]
        if not isinstance(images, list | tuple):
            (found,) = self.detect([self.read(images)])
            return self._named(found, images, score_threshold)
        reads = [partial(self.read, image) for image in images]
        return [
            self._named(_good(found), image, score_threshold)
            for image, found in zip(images, self.detect_each(reads, batch=batch), strict=True)
        ]

    def read(
        self, image: ImageLike, *, max_pixels: int = MAX_PIXELS
    ) -> UInt8[np.ndarray, "height width channel"]:
        """Return an image as the network's preprocessing takes it.

        Raises:
            InputError: it cannot be read.
        """
        return read_as(as_readable(image), self.info.model.image_reading, max_pixels=max_pixels)

    def prepare(
        self,
        image: UInt8[np.ndarray, "height width channel"],
        limits: tuple[int, int] | None = None,
    ) -> Prepared:
        """Return an image resized and normalised, the part of `detect` that needs no network.

        Args:
            image: RGB, or of the network's channels.
            limits: for a part of an image, as in `fcis.inference.preprocess.stretch_levels`.

        Raises:
            InputError: the image has another number of channels than the network.
        """
        recipe = self.model.recipe
        if self.ensemble is not None:
            views = self.ensemble.prepare(image, limits)
            pixels, plan = views[recipe.preprocessing]
            return Prepared(image=image, pixels=pixels, plan=plan, views=views)
        pixels, plan = prepare(image, recipe.preprocessing, limits)
        return Prepared(image=image, pixels=pixels, plan=plan)

    def detect(self, images: Sequence[UInt8[np.ndarray, "_ _ _"] | Prepared]) -> list[Instances]:
        """Return all detections of a batch, however low their score, each with its image.

        The images may differ in size. Where the weights have a calibration, scores are
        probabilities; the recipe's `min_score` and limits hold for the network's own scores.

        Raises:
            InputError: the device has too little memory.
        """
        inputs = [i if isinstance(i, Prepared) else self.prepare(i) for i in images]
        try:
            found = self._detect_prepared(inputs)
        except torch.OutOfMemoryError:
            plans = [p for i in inputs for p in (i.plan, *(plan for _, plan in i.views.values()))]
            height, width = (max(plan.size[axis] for plan in plans) for axis in (0, 1))
            raise InputError(
                f"device {self.device}: too little memory for {len(images)} image(s) resized to "
                f"{width} x {height} pixels; take a smaller size or the device cpu"
            ) from None
        return [
            self._calibrated(replace(f, image=as_picture(i.image)))
            for f, i in zip(found, inputs, strict=True)
        ]

    def detect_each(
        self,
        reads: Iterable[Callable[[], UInt8[np.ndarray, "_ _ _"]]],
        *,
        batch: int = 1,
        limits: tuple[int, int] | None = None,
    ) -> Generator[Instances | InputError, None, None]:
        """Yield for each function that reads an image all detections, or why there are none.

        The next images are read and resized while the network works on the present ones; a few
        images are held at once. The order is that of the functions.

        Args:
            reads: each returns an image or raises an InputError, in a thread of its own.
            batch: images that go through the network at once.
            limits: as in `prepare`, where all are parts of one image.

        Raises:
            ValueError: the batch is less than one image.
        """
        if batch < 1:
            raise ValueError(f"batch: expected at least 1, got {batch}")
        threads = max(1, min(_MOST_READERS, (os.cpu_count() or 1) - 1))
        tasks = (partial(self._read_and_prepare, read, limits) for read in reads)
        prepared = read_ahead(tasks, threads=threads)
        with closing(prepared):
            while futures := list(islice(prepared, batch)):
                inputs: list[Prepared | InputError] = []
                for future in futures:
                    try:
                        inputs.append(future.result())
                    except InputError as error:
                        inputs.append(error)
                futures.clear()
                found = iter(self._detect_all([i for i in inputs if isinstance(i, Prepared)]))
                for item in inputs:
                    yield next(found) if isinstance(item, Prepared) else item

    def detect_picture(
        self, picture: Picture, tiling: Tiling, *, batch: int = 1, watch: Watch = unwatched
    ) -> Instances:
        """Return all detections of a picture, found tile by tile and joined, best first.

        A picture that is no larger than a tile gives what `detect` does, with its image; others
        have none. Percentiles of levels are those of the whole picture.

        Args:
            picture: read row by row; several times if levels are stretched.
            tiling: how it is cut.
            batch: tiles that go through the network at once.
            watch: called with all tiles, to show how far it is.

        Raises:
            InputError: the picture is damaged, or the device has too little memory.
        """
        grid = plan_tiles(picture.size, tiling)
        if len(grid) == 1:
            return self.detect([picture.read()])[0]
        limits, stretch = None, self.model.recipe.preprocessing.stretch
        if stretch != (0.0, 100.0):
            counts = level_counts(picture, self.info.model.backbone.in_channels)
            limits = stretch_limits(counts, stretch)
        detect = partial(self.detect_each, batch=batch, limits=limits)
        return detect_tiles(picture, grid, detect, watch=watch)

    def detect_dataset(
        self, dataset: Dataset, *, batch: int = 1
    ) -> Generator[Instances, None, None]:
        """Yield the detections of each image of a dataset in turn, labelled with its ids.

        Args:
            dataset: read as the weights ask for it.
            batch: images that go through the network at once.

        Raises:
            InputError: an image cannot be read or has another size than the dataset states.
        """
        most = MAX_PIXELS if self.tiling is None else MAX_TILED_PIXELS
        records = dataset.reading(self.info.model.image_reading, max_pixels=most).images
        if self.tiling is not None:
            for record in records:
                found = self.detect_picture(record.open(), self.tiling, batch=batch)
                yield replace(found, image_id=record.id, file_name=record.file_name)
            return
        each = self.detect_each((record.read for record in records), batch=batch)
        with closing(each):
            for record, found in zip(records, each, strict=True):
                yield replace(_good(found), image_id=record.id, file_name=record.file_name)

    def shown(self, instances: Instances, score_threshold: Threshold | None = None) -> Instances:
        """Return the instances above a score, or above the weights' operating thresholds."""
        if score_threshold is not None:
            return instances.above(float(score_threshold))
        return instances.above(np.asarray(self.info.threshold_of(), dtype=np.float32))

    def _detect_prepared(self, inputs: Sequence[Prepared]) -> list[Instances]:
        sizes = [(i.image.shape[0], i.image.shape[1]) for i in inputs]
        if self.ensemble is not None:
            # one image after the other: its maps are many
            return [self.ensemble.detect(i.views, s) for i, s in zip(inputs, sizes, strict=True)]
        batch = collate([(i.pixels, i.plan) for i in inputs], sizes)
        batch = replace(batch, pixels=batch.pixels.to(next(self.model.parameters()).dtype))
        return self.model.detect(batch.to(self.device))

    def _calibrated(self, found: Instances) -> Instances:
        calibration = self.info.calibration
        return replace(found, scores=calibration.apply(found.scores)) if calibration else found

    def _read_and_prepare(
        self,
        read: Callable[[], UInt8[np.ndarray, "_ _ _"]],
        limits: tuple[int, int] | None,
    ) -> Prepared:
        return self.prepare(read(), limits)

    def _predict_tiled(
        self, image: ImageLike, threshold: Threshold | None, tiling: Tiling, batch: int
    ) -> Instances:
        image = as_readable(image)
        if isinstance(image, str | Path) and math.prod(image_size(image)) > MAX_PIXELS:
            picture: Picture = open_picture(image, self.info.model.image_reading)
        else:
            picture = ArrayPicture(self.read(image, max_pixels=MAX_TILED_PIXELS))
        found = self.detect_picture(picture, tiling, batch=batch)
        if isinstance(picture, ArrayPicture):
            found = replace(found, image=as_picture(picture.read()))
        return self._named(found, image, threshold)

    def _detect_all(self, images: Sequence[Prepared]) -> list[Instances | InputError]:
        """Return the detections of a batch; if that fails, of each image that goes alone."""
        if not images:
            return []
        try:
            return list(self.detect(images))
        except InputError as error:
            if len(images) == 1:
                return [error]
        return [found for image in images for found in self._detect_all([image])]

    def _named(
        self, found: Instances, image: ImageLike, score_threshold: Threshold | None
    ) -> Instances:
        """Return what is shown of the detections, with the name of the image's file."""
        file_name = str(image) if isinstance(image, str | Path) else getattr(image, "name", "")
        file_name = file_name if isinstance(file_name, str) else ""
        return replace(self.shown(found, score_threshold), file_name=file_name)


def _good(found: Instances | InputError) -> Instances:
    if isinstance(found, InputError):
        raise found
    return found
