"""Any image in, instances in pixels of the original image out."""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from torch import Tensor

from fcis.ahead import read_ahead
from fcis.build import build_model
from fcis.data.dataset import Dataset
from fcis.errors import InputError
from fcis.fast import Compile, Precision, compile_maps, to_precision
from fcis.images import as_rgb, read_image
from fcis.instances import Instances
from fcis.model.fcis import FCIS
from fcis.model.folding import fold_norms
from fcis.preprocess import Resize, collate, prepare
from fcis.recipe import ModelRecipe
from fcis.weights.file import WeightsInfo, load_weights, read_info

Threshold = float | int
ImageLike = str | Path | Image.Image | Shaped[np.ndarray, "..."]
_MOST_READERS = 4  # threads that read ahead, and images held for it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """An image that is ready for the network.

    Attributes:
        image: RGB, the original image.
        pixels: the network's input.
        plan: how it was resized.
    """

    image: UInt8[np.ndarray, "height width 3"]
    pixels: Float[Tensor, "channel rows columns"]
    plan: Resize


class Predictor:
    """A trained network with the preprocessing and the thresholds that belong to it."""

    def __init__(self, model: FCIS, info: WeightsInfo, *, device: str = "cpu") -> None:
        self.model = model.eval().to(device)
        self.info = info
        self.device = device

    @overload
    def predict(
        self, images: ImageLike, *, score_threshold: Threshold | None = None
    ) -> Instances: ...

    @overload
    def predict(
        self,
        images: Sequence[ImageLike],
        *,
        score_threshold: Threshold | None = None,
        batch: int = 1,
    ) -> list[Instances]: ...

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        score_threshold: Threshold | None = None,
        batch: int = 1,
    ) -> Instances | list[Instances]:
        """Return the instances of one image, or a list of them for a list of images.

        A long list needs no more memory than a few images, its results aside; these keep their
        images. Files are turned upright as their EXIF orientation says, PIL images are taken as
        they are.

        Args:
            images: paths, PIL images, or arrays of (height, width, 3) 8-bit levels. Arrays of
                other depths and grey ones are read as `fcis.images.as_rgb` says.
            score_threshold: least score; without it the weights' operating thresholds hold.
            batch: images of a list that go through the network at once, of any sizes; what an
                image gets does not depend on it. More than 1 is faster on GPUs.

        Raises:
            InputError: an image cannot be read.
        """
        if isinstance(images, str | Path | Image.Image | np.ndarray):
            (found,) = self.detect([self.read(images)])
            return self._named(found, images, score_threshold)
        reads = [partial(self.read, image) for image in images]
        return [
            self._named(_good(found), image, score_threshold)
            for image, found in zip(images, self.detect_each(reads, batch=batch), strict=True)
        ]

    def read(self, image: ImageLike) -> UInt8[np.ndarray, "height width 3"]:
        """Return an image as the network's preprocessing takes it.

        Raises:
            InputError: it cannot be read.
        """
        percentiles = self.info.model.preprocessing.high_depth
        if isinstance(image, str | Path):
            return read_image(image, percentiles=percentiles)
        return as_rgb(image, percentiles=percentiles)

    def prepare(self, image: UInt8[np.ndarray, "height width 3"]) -> Prepared:
        """Return an image resized and normalised, the part of `detect` that needs no network.

        Raises:
            InputError: the image has another number of channels than the network.
        """
        recipe = self.model.recipe
        pixels, plan = prepare(image, recipe.preprocessing, recipe.conventions)
        return Prepared(image=image, pixels=pixels, plan=plan)

    def detect(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"] | Prepared]) -> list[Instances]:
        """Return all detections of a batch, however low their score, each with its image.

        The images may differ in size.

        Raises:
            InputError: the device has too little memory.
        """
        inputs = [i if isinstance(i, Prepared) else self.prepare(i) for i in images]
        batch = collate(
            [(i.pixels, i.plan) for i in inputs],
            [(i.image.shape[0], i.image.shape[1]) for i in inputs],
        )
        batch = replace(batch, pixels=batch.pixels.to(next(self.model.parameters()).dtype))
        try:
            found = self.model.detect(batch.to(self.device))
        except torch.OutOfMemoryError:
            height, width = batch.pixels.shape[2:]
            raise InputError(
                f"device {self.device}: too little memory for {len(images)} image(s) resized to "
                f"{width} x {height} pixels; take a smaller size or the device cpu"
            ) from None
        return [replace(f, image=i.image) for f, i in zip(found, inputs, strict=True)]

    def detect_each(
        self, reads: Iterable[Callable[[], UInt8[np.ndarray, "_ _ 3"]]], *, batch: int = 1
    ) -> Generator[Instances | InputError, None, None]:
        """Yield for each function that reads an image all detections, or why there are none.

        The next images are read and resized while the network works on the present ones; a few
        images are held at once. The order is that of the functions.

        Args:
            reads: each returns an image or raises an InputError, in a thread of its own.
            batch: images that go through the network at once.

        Raises:
            ValueError: the batch is less than one image.
        """
        if batch < 1:
            raise ValueError(f"batch: expected at least 1, got {batch}")
        threads = max(1, min(_MOST_READERS, (os.cpu_count() or 1) - 1))
        prepared = read_ahead((partial(self._read_and_prepare, r) for r in reads), threads=threads)
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
        percentiles = self.info.model.preprocessing.high_depth
        records = dataset.reading(percentiles=percentiles).images
        each = self.detect_each((record.read for record in records), batch=batch)
        with closing(each):
            for record, found in zip(records, each, strict=True):
                yield replace(_good(found), image_id=record.id, file_name=record.file_name)

    def shown(self, instances: Instances, score_threshold: Threshold | None = None) -> Instances:
        """Return the instances above a score, or above the weights' operating thresholds."""
        if score_threshold is not None:
            return instances.above(float(score_threshold))
        return instances.above(np.asarray(self.info.threshold_of(), dtype=np.float32))

    def _read_and_prepare(self, read: Callable[[], UInt8[np.ndarray, "_ _ 3"]]) -> Prepared:
        return self.prepare(read())

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
        file_name = str(image) if isinstance(image, str | Path) else ""
        return replace(self.shown(found, score_threshold), file_name=file_name)


def _good(found: Instances | InputError) -> Instances:
    if isinstance(found, InputError):
        raise found
    return found


def load_predictor(
    path: Path,
    *,
    device: str = "cpu",
    recipe: ModelRecipe | None = None,
    fold: bool = True,
    precision: Precision = "float32",
    compile: Compile = False,
) -> Predictor:
    """Return a predictor from a weights file.

    Args:
        path: a safetensors file.
        device: where it runs; as `choose_device` takes it.
        recipe: changed test-time settings of the same network, instead of the file's own.
        fold: let convolutions take up BatchNorm, which changes results by rounding alone. The
            model then has not the file's arrays any more.
        precision: of the network's convolutions; see `fcis.fast.to_precision`.
        compile: see `fcis.fast.compile_maps`.

    Raises:
        InputError: the file is missing, damaged, or does not fit; there is no such device or
            precision.
    """
    device = choose_device(device)
    info = read_info(path)
    if info.is_backbone:
        raise InputError(
            f"{path}: holds a backbone alone, which finds nothing by itself; train with it: "
            f"fcis train --weights {path}"
        )
    try:
        model = build_model(recipe or info.model)
    except InputError as error:
        raise InputError(f"{path}: {error}; fetch or train the weights anew") from None
    load_weights(path, model)
    model.eval()
    if fold:
        fold_norms(model)
    to_precision(model, precision)
    predictor = Predictor(model, info, device=device)
    compile_maps(model, compile, device)
    return predictor


def choose_device(text: str) -> str:
    """Return the device of that name; `auto` takes a CUDA device, else MPS, else the CPU.

    Raises:
        InputError: no such device on this machine.
    """
    if text == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, colon, number = text.partition(":")
    numbered = kind == "cuda" and number.isascii() and number.isdigit()
    if kind not in ("cpu", "cuda", "mps") or (colon and not numbered):
        raise InputError(f"device {text}: must be auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {text}: torch sees no CUDA device; use cpu")
    if number and int(number) >= torch.cuda.device_count():
        raise InputError(
            f"device {text}: there are {torch.cuda.device_count()}, counted from cuda:0"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {text}: torch sees no MPS device; use cpu")
    return text
