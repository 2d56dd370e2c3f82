"""The Python interface: what the commands stand on, without torch until it is needed."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fcis.core.errors import InputError

if TYPE_CHECKING:
    from fcis.core.progress import Watcher
    from fcis.data.checks.data_check import DataCheck
    from fcis.data.checks.walk import FactorOf
    from fcis.data.dataset import Dataset
    from fcis.inference.evaluate_dataset import Evaluation
    from fcis.inference.predictor import Predictor
    from fcis.recipe.types import Recipe
    from fcis.training.run import RunResult

Weights = str | Path | Sequence[str | Path] | None


def load(
    weights: Weights = None,
    *,
    device: str = "auto",
    fold: bool = True,
    precision: Literal["float32", "bfloat16"] = "float32",
    compile: bool | Literal["reduce-overhead"] = False,
    scales: Sequence[int | str] = (),
    flip: bool = False,
    roi_side: int | float = 224,
    size: str | None = None,
    tile: int | None = None,
    overlap: int | None = None,
) -> "Predictor":
    """Return a predictor.

    >>> predictor = load("nuclei", device="cpu")
    >>> predictor.class_names
    ('background', 'nucleus')

    Args:
        weights: a zoo name, a `.safetensors` file, a run folder, or `hf://owner/name`; without
            it, the weights that `fcis predict` takes. Of a list of several, the results are
            averaged RoI by RoI; they must know the same categories, and the thresholds of the
            first one hold.
        device: `cpu`, `cuda`, `cuda:N`, `mps`, or `auto` for the fastest of these; results are
            arrays on the CPU in any case.
        fold: let the convolutions take up BatchNorm: faster, the same up to rounding; the model
            then can be neither trained nor saved.
        precision: of the network's convolutions. bfloat16 is much faster on GPUs, and slower on
            CPUs without instructions for it; masks and scores change a little.
        compile: compile the network for each size of image, with a warning where no compiler is.
            Takes a minute or so a size; `reduce-overhead` records CUDA graphs besides.
        scales: sizes in which each image is tested: shorter sides in pixels (480) or factors of
            the weights' own size ("1.5x"). Each RoI is read at the scale that suits its size;
            what is proposed comes from the weights' own size.
        flip: average with what is found in the mirror image.
        roi_side: side of a square with as many pixels as a RoI should have at its scale.
        size: SHORT or SHORT:LONG, sides after resizing, px; as stored in the weights without it.
        tile: side of the tiles in which large images go through the network, px.
        overlap: of neighbouring tiles, px.

    Raises:
        InputError: the weights cannot be found or used, there is no such device, or an argument
            makes no sense.
    """
    # They bring torch, which takes seconds that `import fcis` and `fcis --help` should not.
    from functools import partial

    from fcis.inference.load_predictor import load_any
    from fcis.inference.test_time.ensemble import Averaging
    from fcis.inference.test_time.scales import read_scales
    from fcis.inference.tiling.tile_grid import read_tiling
    from fcis.recipe.reading import with_size

    return load_any(
        weights,
        device=device,
        averaging=Averaging(scales=read_scales(scales), flip=flip, roi_side=roi_side),
        change=None if size is None else partial(with_size, text=size),
        fold=fold,
        precision=precision,
        compile=compile,
        tiling=read_tiling(tile, overlap),
    )


def train(
    train: "str | Path | Dataset",
    val: "str | Path | Dataset",
    *,
    recipe: "str | Path | Recipe",
    out: str | Path | None = None,
    settings: Iterable[str] = (),
    weights: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    train_images: str | Path | None = None,
    val_images: str | Path | None = None,
    watch: "Watcher | None" = None,
) -> "RunResult":
    """Train on annotated images, as `fcis train` does, and return where the results are.

    Lines on the way go to `logging.getLogger("fcis")`.

    >>> run = train("scenes:2:1", "scenes:1:2", recipe="tiny", out=folder / "run",
    ...             settings=["steps=1", "crop=64"], device="cpu", watch=print)
    0 1
    1 1
    >>> (run.folder / "best.safetensors").is_file()
    True

    Args:
        train: DATA as the command takes it, or a dataset.
        val: likewise; chooses the best weights and the operating thresholds.
        recipe: a name, a recipe.json, or a recipe.
        out: folder of the run; `runs/` and the recipe's name without it.
        settings: "key=value", as `--set` takes them.
        weights: to begin with.
        resume: go on from the folder's checkpoint.
        device: as in `load`.
        train_images: where the images of an annotation file lie, if not beside it.
        val_images: the same of the validation set.
        watch: called with the steps that are done and with all, in place of a progress bar.

    Raises:
        InputError: an argument cannot be used, or the run cannot be made.
        KeyboardInterrupt: the user stopped the run; it can be resumed.
    """
    from fcis.recipe.reading import read_recipe, with_settings
    from fcis.training.start import start_training

    if isinstance(recipe, str | Path):
        chosen = read_recipe(str(recipe), settings)
    else:
        chosen = with_settings(recipe, settings)
    return start_training(
        chosen,
        str(train) if isinstance(train, Path) else train,
        str(val) if isinstance(val, Path) else val,
        None if out is None else Path(out),
        train_images=None if train_images is None else Path(train_images),
        val_images=None if val_images is None else Path(val_images),
        weights=None if weights is None else str(weights),
        resume=resume,
        device=device,
        watch=watch,
    )


def evaluate(
    data: "str | Path | Dataset",
    predictor: "Predictor | Weights",
    *,
    images: str | Path | None = None,
    device: str = "auto",
    watch: "Watcher | None" = None,
) -> "Evaluation":
    """Return the figures of weights on annotated images, as `fcis evaluate` prints them.

    >>> found = evaluate("scenes:2:3", "scenes", device="cpu")
    >>> sorted(found.to_json())[:4]
    ['bbox', 'confusion', 'dsb', 'images']

    Args:
        data: DATA as the command takes it, or a dataset.
        predictor: of `load`, or weights as it takes them.
        images: where the images of an annotation file lie, if not beside it.
        device: as in `load`, for weights.
        watch: called with the images that are done and with all, in place of a progress bar.

    Raises:
        InputError: the data or the weights cannot be used, or do not have the same categories.
    """
    from fcis.inference.evaluate_dataset import Evaluation, evaluate_predictor
    from fcis.inference.predictor import Predictor

    if not isinstance(predictor, Predictor):
        predictor = load(predictor, device=device)
    dataset = open_dataset(data, images) if isinstance(data, str | Path) else data
    report, detections = evaluate_predictor(predictor, dataset, progress_watch=watch)
    return Evaluation(report=report, detections=detections)


def calibrate(
    data: "str | Path | Dataset",
    weights: str | Path,
    *,
    out: str | Path | None = None,
    images: str | Path | None = None,
    device: str = "auto",
) -> "Evaluation":
    """Make scores probabilities, as `fcis evaluate --calibrate` does, and return the figures then.

    What makes them so, and the best thresholds, are stored in the weights.

    >>> found = calibrate("scenes:2:3", "scenes", out=folder / "own.safetensors", device="cpu")
    >>> found.calibration.calibration.temperature > 0
    True

    Args:
        data: DATA as the command takes it, or a dataset; not that of the training.
        weights: of one network, as `load` takes them.
        out: a `.safetensors` file for a copy of the weights with what was found; needed where
            they are no file of your own.
        images: where the images of an annotation file lie, if not beside it.
        device: as in `load`.

    Raises:
        InputError: the data or the weights cannot be used, do not have the same categories, or
            too little was found; or the weights cannot be written.
    """
    from fcis.inference import calibrate as steps
    from fcis.inference.evaluate_dataset import Evaluation

    target = steps.check_target([str(weights)], None if out is None else Path(out))
    predictor = load(weights, device=device)
    dataset = open_dataset(data, images) if isinstance(data, str | Path) else data
    steps.warn_if_trained_on(predictor.info, dataset)
    report, detections, found = steps.calibrate_predictor(predictor, dataset)
    steps.store_calibration(str(weights), target, predictor.info)
    return Evaluation(report=report, detections=detections, calibration=found)


def check_dataset(
    data: str | Path,
    *,
    val: str | Path | None = None,
    images: str | Path | None = None,
    val_images: str | Path | None = None,
    recipe: "str | Path | Recipe | None" = None,
) -> "DataCheck":
    """Return all that is wrong with a dataset, as `fcis data check` lists it.

    >>> print(check_dataset("scenes:3").summary())
    scenes:3: 3 images, 29 annotations, 8 categories
    scenes:3: nothing wrong

    Args:
        data: DATA as the command takes it.
        val: the validation set, to find images that are in both.
        images: where the images of an annotation file lie, if not beside it.
        val_images: the same of the validation set.
        recipe: a name, a recipe.json, or a recipe, whose scale tells which objects are small.

    Raises:
        InputError: there is no such data or recipe, or a file that nothing can be made of.
    """
    from fcis.data.checks.check import check
    from fcis.data.checks.data_check import DataCheck
    from fcis.data.source import open_raw

    if val_images is not None and val is None:
        raise InputError(f"--val-images {val_images}: is for --val; leave it out")
    factor_of = None if recipe is None else _factor_of(recipe)
    raw = open_raw(str(data), images)
    raw_val = None if val is None else open_raw(str(val), val_images)
    checked = check(raw, val=raw_val, factor_of=factor_of)
    return DataCheck(data=str(data), raw=raw, checked=checked)


def describe(weights: str | Path | None = None) -> str:
    """Return what `fcis info` prints: what weights say, or versions, devices, recipes and weights.

    >>> describe("scenes").splitlines()[3]
    '  about        shapes of drawn scenes, to try things out'

    Args:
        weights: as `load` takes them; None: of the installation.

    Raises:
        InputError: the weights cannot be found, read or used.
    """
    from fcis.weights.overview import describe, describe_installation

    return describe_installation() if weights is None else describe(str(weights))


def open_dataset(data: str | Path, images: str | Path | None = None) -> "Dataset":
    """Return the dataset that a DATA argument names.

    >>> len(open_dataset("scenes:3"))
    3

    Args:
        data: a COCO .json, a YOLO data.yaml, ROOT:SPLIT of COCO, SBD, VOC or Cityscapes, a folder
            of LabelMe files or of images and masks, or scenes[:N[:seed[:apart]]].
        images: where the images of an annotation file lie, if not beside it.

    Raises:
        InputError: none of these, or one that cannot be read.
    """
    from dataclasses import replace

    from fcis.data.source import open_dataset

    dataset = open_dataset(str(data), images)
    return replace(dataset, name=str(data))


def named_recipe(name: str, settings: Iterable[str] = ()) -> "Recipe":
    """Return a recipe by its name or from a recipe.json.

    >>> named_recipe("nuclei-cpu", ["steps=10"]).training.steps
    10

    Args:
        name: as `fcis info` lists them, or the path of a recipe.json.
        settings: "key=value", as `--set` takes them.

    Raises:
        InputError: there is no such recipe, or a setting does not fit.
    """
    from fcis.recipe.reading import read_recipe

    return read_recipe(name, settings)


def _factor_of(recipe: "str | Path | Recipe") -> "FactorOf":
    """Return by how much a recipe's network enlarges an image of (height, width)."""
    from fcis.inference.preprocess import plan_resize

    chosen = named_recipe(str(recipe)) if isinstance(recipe, str | Path) else recipe
    return lambda size: plan_resize(size, chosen.model.preprocessing).factors[0]
