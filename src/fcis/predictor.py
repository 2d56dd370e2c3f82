"""Any image in, instances in pixels of the original image out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from PIL import Image

from fcis.build import build_model
from fcis.data.dataset import Dataset
from fcis.errors import InputError
from fcis.images import as_rgb, read_image
from fcis.instances import Instances
from fcis.model.fcis import FCIS
from fcis.preprocess import collate, prepare
from fcis.recipe import ModelRecipe
from fcis.weights.file import WeightsInfo, load_weights, read_info

Threshold = float | int
ImageLike = str | Path | Image.Image | Shaped[np.ndarray, "..."]


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
        self, images: Sequence[ImageLike], *, score_threshold: Threshold | None = None
    ) -> list[Instances]: ...

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        score_threshold: Threshold | None = None,
    ) -> Instances | list[Instances]:
        """Return the instances of one image, or a list of them for a list of images.

        Each image goes through the network alone, so a long list needs no more memory than one
        image, its results aside; these keep their images. Files are turned upright as their EXIF
        orientation says, PIL images are taken as they are.

        Args:
            images: paths, PIL images, or arrays of (height, width, 3) 8-bit levels. Arrays of
                other depths and grey ones are read as `fcis.images.as_rgb` says.
            score_threshold: least score; without it the weights' operating thresholds hold.

        Raises:
            InputError: an image cannot be read.
        """
        if isinstance(images, str | Path | Image.Image | np.ndarray):
            return self._predict(images, score_threshold)
        return [self._predict(image, score_threshold) for image in images]

    def read(self, image: ImageLike) -> UInt8[np.ndarray, "height width 3"]:
        """Return an image as the network's preprocessing takes it.

        Raises:
            InputError: it cannot be read.
        """
        percentiles = self.info.model.preprocessing.high_depth
        if isinstance(image, str | Path):
            return read_image(image, percentiles=percentiles)
        return as_rgb(image, percentiles=percentiles)

    def detect(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Instances]:
        """Return all detections of a batch, however low their score, each with its image.

        The images may differ in size.

        Raises:
            InputError: the device has too little memory.
        """
        recipe = self.model.recipe
        inputs = [prepare(i, recipe.preprocessing, recipe.conventions) for i in images]
        batch = collate(inputs, [(i.shape[0], i.shape[1]) for i in images])
        batch = replace(batch, pixels=batch.pixels.to(next(self.model.parameters()).dtype))
        try:
            found = self.model.detect(batch.to(self.device))
        except torch.OutOfMemoryError:
            height, width = batch.pixels.shape[2:]
            raise InputError(
                f"device {self.device}: too little memory for {len(images)} image(s) resized to "
                f"{width} x {height} pixels; take a smaller size or the device cpu"
            ) from None
        return [replace(f, image=i) for f, i in zip(found, images, strict=True)]

    def detect_dataset(self, dataset: Dataset) -> Iterator[Instances]:
        """Yield the detections of each image of a dataset in turn, labelled with its ids.

        Raises:
            InputError: an image cannot be read or has another size than the dataset states.
        """
        percentiles = self.info.model.preprocessing.high_depth
        for record in dataset.reading(percentiles=percentiles).images:
            (found,) = self.detect([record.read()])
            yield replace(found, image_id=record.id, file_name=record.file_name)

    def shown(self, instances: Instances, score_threshold: Threshold | None = None) -> Instances:
        """Return the instances above a score, or above the weights' operating thresholds."""
        if score_threshold is not None:
            return instances.above(float(score_threshold))
        return instances.above(np.asarray(self.info.threshold_of(), dtype=np.float32))

    def _predict(self, image: ImageLike, score_threshold: Threshold | None) -> Instances:
        (found,) = self.detect([self.read(image)])
        file_name = str(image) if isinstance(image, str | Path) else ""
        return replace(self.shown(found, score_threshold), file_name=file_name)


def load_predictor(
    path: Path, *, device: str = "cpu", recipe: ModelRecipe | None = None
) -> Predictor:
    """Return a predictor from a weights file.

    Args:
        path: a safetensors file.
        device: where it runs; as `choose_device` takes it.
        recipe: changed test-time settings of the same network, instead of the file's own.

    Raises:
        InputError: the file is missing, damaged, or does not fit; there is no such device.
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
    return Predictor(model, info, device=device)


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
