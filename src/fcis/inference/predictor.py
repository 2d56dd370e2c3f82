"""Images and files in, instances and files of results out."""

from collections.abc import Sequence
from pathlib import Path

import torch

from fcis.core.devices import choose_device
from fcis.core.errors import InputError
from fcis.core.progress import Watcher
from fcis.imaging.instances import Instances
from fcis.inference.image_predictor import ImageLike, ImagePredictor, Threshold
from fcis.inference.predict_files import Outcome, predict_files
from fcis.inference.tiling.tile_grid import Tiling
from fcis.model.build import build_model
from fcis.model.folding import fold_norms
from fcis.model.precision import Compile, Precision, compile_maps, to_precision
from fcis.recipe.types import ModelRecipe
from fcis.weights.weights_file import check_fits, load_weights, read_info


class Predictor(ImagePredictor):
    """A trained network at work, as `fcis.load` returns it; called, it predicts.

    predictor = fcis.load("nuclei")
    instances = predictor("cells.png")
    """

    def __call__(
        self, images: ImageLike | Sequence[ImageLike], **options: float | int | None
    ) -> Instances | list[Instances]:
        """Return the instances of an image or of several; options are those of `predict`."""
        return self.predict(images, **options)  # type: ignore[arg-type]

    def predict_files(
        self,
        inputs: str | Path | Sequence[str | Path],
        out: str | Path,
        *,
        images_dir: str | Path | None = None,
        save: str | Sequence[str] | None = None,
        score_threshold: Threshold | None = None,
        max_pixels: int | None = None,
        resume: bool = False,
        watch: Watcher | None = None,
    ) -> Outcome:
        """Predict files, folders, globs, videos and datasets, and write results into a folder.

        This is what `fcis predict` does. Images that cannot be read are left out and listed in
        the outcome's `failures`.

        Args:
            inputs: one or several INPUT of `fcis predict`.
            out: folder of the results; made if it is not there.
            images_dir: where the images of annotation files lie, if not beside them.
            save: what to write, names with commas or a list of them, as `--save` takes it.
            score_threshold: least score of an instance; None: as stored in the weights.
            max_pixels: the most pixels that an image may have.
            resume: with jsonl: go on after the last image whose line is complete.
            watch: called with the images that are done and with all, if that is known, in place
                of a progress bar.

        Raises:
            InputError: an argument makes no sense, an input stands for no image, or results
                cannot be written.
            Interrupted: the user stopped; what was found until then is written.
        """
        several = [inputs] if isinstance(inputs, str | Path) else inputs
        return predict_files(
            self,
            [str(item) for item in several],
            Path(out),
            images_dir=None if images_dir is None else Path(images_dir),
            save=save if save is None or isinstance(save, str) else ",".join(save),
            threshold=None if score_threshold is None else float(score_threshold),
            max_pixels=max_pixels,
            resume=resume,
            watch=watch,
        )


def load_predictor(
    path: Path,
    *,
    device: str = "cpu",
    recipe: ModelRecipe | None = None,
    fold: bool = True,
    precision: Precision = "float32",
    compile: Compile = False,
    tiling: Tiling | None = None,
) -> Predictor:
    """Return a predictor from a weights file.

    Args:
        path: a safetensors file.
        device: where it runs; as `choose_device` takes it.
        recipe: changed test-time settings of the same network, instead of the file's own.
        fold: let convolutions take up BatchNorm, which changes results by rounding alone. The
            model then has not the file's arrays any more.
        precision: of the network's convolutions; see `fcis.model.precision.to_precision`.
        compile: see `fcis.model.precision.compile_maps`.
        tiling: in which images go through the network.

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
    with torch.device("meta"):  # which takes no memory, whatever a description asks for
        check_fits(path, build_model(recipe or info.model))
    model = build_model(recipe or info.model)
    load_weights(path, model)
    model.eval()
    if fold:
        fold_norms(model)
    to_precision(model, precision)
    predictor = Predictor(model, info, device=device, tiling=tiling)
    compile_maps(model, compile, device)
    return predictor
