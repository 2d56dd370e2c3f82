"""Any image in, instances in pixels of the original image out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
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

ImageLike = str | Path | Image.Image | np.ndarray


class Predictor:
    """A trained network with the preprocessing and the thresholds that belong to it."""

    def __init__(self, model: FCIS, info: WeightsInfo, *, device: str = "cpu") -> None:
        self.model = model.eval().to(device)
        self.info = info
        self.device = device

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        score_threshold: float | None = None,
    ) -> Instances | list[Instances]:
        """Return the instances of one image, or a list of them for a list of images.

        Args:
            images: paths, PIL images, or arrays of (height, width, 3) 8-bit levels. Arrays of
                other depths and grey ones are read as `fcis.images.as_rgb` says.
            score_threshold: least score; without it the weights' operating thresholds hold.

        Raises:
            InputError: an image cannot be read.
        """
        if isinstance(images, str | Path | Image.Image | np.ndarray):
            return self.shown(self.detect([self.read(images)])[0], score_threshold)
        return [self.shown(self.detect([self.read(i)])[0], score_threshold) for i in images]

    def read(self, image: ImageLike) -> UInt8[np.ndarray, "height width 3"]:
        """Return an image as the network's preprocessing takes it."""
        percentiles = self.info.model.preprocessing.high_depth
        if isinstance(image, str | Path):
            return read_image(image, percentiles=percentiles)
        return as_rgb(image, percentiles=percentiles)

    def detect(self, images: Sequence[UInt8[np.ndarray, "height width 3"]]) -> list[Instances]:
        """Return all detections of a batch, however low their score, each with its image."""
        recipe = self.model.recipe
        inputs = [prepare(i, recipe.preprocessing, recipe.conventions) for i in images]
        batch = collate(inputs, [(i.shape[0], i.shape[1]) for i in images])
        found = self.model.detect(batch.to(self.device))
        return [replace(f, image=i) for f, i in zip(found, images, strict=True)]

    def detect_dataset(self, dataset: Dataset) -> Iterator[Instances]:
        """Yield the detections of each image of a dataset in turn, labelled with its ids."""
        for record in dataset.images:
            (found,) = self.detect([record.read()])
            yield replace(found, image_id=record.id, file_name=record.file_name)

    def shown(self, instances: Instances, score_threshold: float | None = None) -> Instances:
        """Return the instances above a score, or above the weights' operating thresholds."""
        if score_threshold is not None:
            return instances.above(score_threshold)
        return instances.above(np.asarray(self.info.threshold_of(), dtype=np.float32))


def load_predictor(
    path: Path, *, device: str = "cpu", recipe: ModelRecipe | None = None
) -> Predictor:
    """Return a predictor from a weights file.

    Args:
        path: a safetensors file, or a run folder with `best.safetensors`.
        device: where it runs.
        recipe: changed test-time settings of the same network, instead of the file's own.

    Raises:
        InputError: the file is missing, damaged, or does not fit.
    """
    if path.is_dir():
        if not (path / "best.safetensors").is_file():
            raise InputError(f"{path}: has no best.safetensors; is the training finished?")
        path = path / "best.safetensors"
    info = read_info(path)
    model = build_model(recipe or info.model)
    load_weights(path, model)
    return Predictor(model, info, device=device)
