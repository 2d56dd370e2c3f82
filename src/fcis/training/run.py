"""A training run, from datasets and a recipe to weights."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning.fabric import Fabric

from fcis.core.errors import InputError
from fcis.core.progress import Watcher, say
from fcis.data.dataset import Dataset
from fcis.inference.preprocess import with_channels
from fcis.model.build import build_model
from fcis.model.detector import Detector
from fcis.recipe.bounds import check_record
from fcis.recipe.types import Recipe, TrainingRecipe
from fcis.training.batch_size import with_batch
from fcis.training.checks import check_categories, check_devices
from fcis.training.folder import BEST, CHECKPOINT, begin_folder, check_folder
from fcis.training.loader import Batches, training_loader
from fcis.training.log import Log
from fcis.training.loop import fabric_of, run_loop
from fcis.training.ranks import is_main, place_of
from fcis.training.state import RunState
from fcis.training.validating import Judge
from fcis.training.validation_loss import ValidationLoss
from fcis.weights.weights_file import WeightsInfo, load_what_fits


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Where a run left its weights, and the figures of the best ones.

    Attributes:
        folder: of the run.
        recipe: as it was trained, the batch found included.
        best: the figure on the validation set that the recipe's `metric` names.
        best_step: the step it was found in.
        steps: that the run has come to, fewer than the recipe's if it stopped early.
        images: that this call has trained on.
        seconds: that this call took.
        new_arrays: of the model, that the weights it began with did not have.
    """

    folder: Path
    recipe: Recipe
    best: float
    best_step: int
    steps: int
    images: int
    seconds: float
    new_arrays: tuple[str, ...]

    @property
    def stopped_early(self) -> bool:
        """Tell whether the run has ended because it did not become better."""
        return self.steps < self.recipe.training.steps


def for_dataset(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Return the recipe with the categories of a dataset.

    If its network takes another number of channels than there are means of levels, each gets
    the mean of those.

    Raises:
        InputError: the dataset has no categories.
    """
    if not dataset.categories:
        raise InputError(f"{dataset.name}: has no categories; add them to the annotations")
    model = replace(
        recipe.model,
        class_names=tuple(c.name for c in dataset.categories),
        category_ids=tuple(c.id for c in dataset.categories),
        preprocessing=with_channels(recipe.model.preprocessing, recipe.model.backbone.in_channels),
    )
    return replace(recipe, model=model)


def train(
    recipe: Recipe,
    train_set: Dataset,
    val_set: Dataset,
    folder: Path,
    *,
    weights: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    watch: Watcher | None = None,
) -> RunResult:
    """Train, validate and leave everything in a folder.

    Args:
        recipe: with the categories of the training set; a batch of 0 is found by trying.
        train_set: images without objects are left out.
        val_set: chooses the best weights and the operating thresholds.
        folder: of the run; made if it is not there.
        weights: a file to begin with, of the same or other categories.
        resume: go on from the folder's checkpoint, or begin if there is none.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        watch: called with the steps that are done and with all, in place of a progress bar.

    Raises:
        InputError: the folder belongs to another run or cannot be written, the recipe or the
            datasets do not fit, an image cannot be read, or a loss is not finite.
        KeyboardInterrupt: the user stopped the run; it can be resumed.
    """
    started = time.perf_counter()
    check_record(recipe, "")
    check_categories(recipe, train_set, val_set)
    _, processes = place_of(recipe.training)
    # the others may come by when the first one has already begun the folder
    recipe, checkpoint = check_folder(folder, recipe, resume=resume or not is_main())
    check_devices(recipe.training, device)
    model, new_arrays = _initial_model(recipe, weights, checkpoint)
    if recipe.training.precision == "float64":
        model.double()
    train_set = train_set.reading(recipe.model.image_reading)
    recipe = _with_batch(recipe, model, train_set, device)
    training = recipe.training
    images_a_step = training.batch * training.accumulate * processes
    fabric = fabric_of(training, device)
    model.to(fabric.device)
    state = RunState(model, training, Log(folder, training.steps, images_a_step, watch))
    if checkpoint is not None:
        state.load(checkpoint)
    first, best = state.step, state.best
    loader = training_loader(train_set, recipe, first)
    judge = Judge(
        state.validated,
        val_set,
        info=WeightsInfo(
            model=recipe.model, recipe=recipe.name, training_data=_describe(train_set)
        ),
        path=folder / BEST,
        metric=training.metric,
        loss=_validation_loss(recipe, val_set),
        pictures=training.pictures,
    )
    if is_main():
        begin_folder(folder, recipe)
    if first < training.steps and not best.is_over:
        fabric.launch()
        _run(fabric, state, recipe, loader, judge, folder / CHECKPOINT)
    return RunResult(
        folder=folder,
        recipe=recipe,
        best=best.value,
        best_step=best.step,
        steps=state.step,
        images=(state.step - first) * images_a_step,
        seconds=time.perf_counter() - started,
        new_arrays=tuple(new_arrays),
    )


def _with_batch(recipe: Recipe, model: Detector, train_set: Dataset, device: str) -> Recipe:
    """Return the recipe with the batch that is found for a new run, if it leaves it open."""
    if recipe.training.batch:
        return recipe
    recipe = with_batch(recipe, model, train_set, device)
    say(f"batch: {recipe.training.batch} images at a time on {device}")
    return recipe


def _validation_loss(recipe: Recipe, val_set: Dataset) -> ValidationLoss | None:
    """Return what measures the loss on the validation set, if it is asked for."""
    training = recipe.training
    wanted = training.validation_loss or training.metric == "loss"
    return ValidationLoss(val_set, recipe) if wanted else None


def _initial_model(
    recipe: Recipe, weights: Path | None, checkpoint: Path | None
) -> tuple[Detector, list[str]]:
    """Return the model that a run begins with, and its arrays that are not from `weights`."""
    begins = checkpoint is None
    fetch = begins and weights is None
    model = build_model(recipe.model, seed=recipe.training.seed, fetch=fetch)
    if weights is None or not begins:
        return model, []
    return model, load_what_fits(weights, model, recipe.model.class_names)


def _describe(dataset: Dataset) -> str:
    objects = sum(len(r.annotations) for r in dataset.images)
    return f"{dataset.name}: {len(dataset)} images, {objects} objects"


def _lost_another(error: RuntimeError) -> bool:
    """Tell whether an error means that another process of the run is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return any(text in str(error) for text in ("closed by peer", "gloo", "NCCL"))


def _too_large(training: TrainingRecipe, device: torch.device, step: int) -> str:
    """Return what to say when a device runs out of memory."""
    batch = training.batch
    remedy = "smaller images (--set short_side=... or augmentation.crop=...) or the device cpu"
    if batch > 1:
        accumulate = training.accumulate * -(-batch // (batch // 2))
        remedy = (
            f"--set batch={batch // 2} --set accumulate={accumulate}, "
            f"batch=0, which tries what fits, or {remedy}"
        )
    return (
        f"device {device}: too little memory for {batch} image(s) at once in step {step}; "
        f"begin again in another --out with {remedy}"
    )


def _run(
    fabric: Fabric,
    state: RunState,
    recipe: Recipe,
    loader: Iterable[Batches],
    judge: Judge,
    checkpoint: Path,
) -> None:
    """Run to the end, and say in one line what a device or another process prevents."""
    try:
        run_loop(fabric, state, recipe, loader, judge, checkpoint)
    except torch.OutOfMemoryError:
        raise InputError(_too_large(recipe.training, fabric.device, state.step + 1)) from None
    except RuntimeError as error:
        if "DataLoader worker" in str(error):
            raise InputError(
                "a process that reads images was ended from outside, perhaps for want of memory; "
                "go on with --resume, or with --resume --set workers=0"
            ) from None
        if fabric.world_size == 1 or not _lost_another(error):
            raise
        raise InputError(
            "another process of this run has stopped, its own message says why; go on with "
            "--resume when that is mended"
        ) from None
    finally:
        state.log.close()
