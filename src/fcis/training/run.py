"""A training run, from datasets and a recipe to weights."""

import logging
import signal
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from fcis.core.errors import InputError
from fcis.core.progress import Watcher, say
from fcis.data.dataset import Dataset
from fcis.inference.preprocess import with_channels
from fcis.model.build import build_model
from fcis.model.detector import Detector
from fcis.recipe.bounds import check_record
from fcis.recipe.types import Recipe
from fcis.training.batch_size import with_batch
from fcis.training.callbacks import Metrics, Progress, Validation
from fcis.training.checkpoints import AtomicCheckpoints, Checkpoints
from fcis.training.checks import check_categories, check_devices
from fcis.training.ema import WeightAverage
from fcis.training.folder import BEST, Progressed, begin_folder, check_folder
from fcis.training.module import TrainingModule, training_loader
from fcis.training.ranks import is_main, place_of
from fcis.training.stopping import Best
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
    progressed = check_folder(folder, recipe, resume=resume or not is_main())
    check_devices(recipe.training, device)
    model, new_arrays = _initial_model(recipe, weights, progressed)
    if recipe.training.precision == "float64":
        model.double()
    train_set = train_set.reading(recipe.model.image_reading)
    recipe = _with_batch(recipe, progressed, model, train_set, device)
    loader = training_loader(train_set, recipe, progressed.steps)
    training, steps = recipe.training, progressed.steps
    best = Best(training.metric, training.patience)
    best.value, best.step, best.stale = progressed.best, progressed.best_step, progressed.stale
    info = WeightsInfo(model=recipe.model, recipe=recipe.name, training_data=_describe(train_set))
    images_a_step = training.batch * training.accumulate * processes
    callbacks = _callbacks(recipe, model, val_set, info, folder, best, images_a_step, watch)
    if is_main():
        begin_folder(folder, recipe)
    if steps < training.steps and not best.is_over:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            trainer = _trainer(recipe, folder, device, callbacks)
            _fit(trainer, TrainingModule(model, recipe), loader, progressed.path)
        steps = trainer.global_step
    return RunResult(
        folder=folder,
        recipe=recipe,
        best=best.value,
        best_step=best.step,
        steps=steps,
        images=(steps - progressed.steps) * images_a_step,
        seconds=time.perf_counter() - started,
        new_arrays=tuple(new_arrays),
    )


def _with_batch(
    recipe: Recipe, progressed: Progressed, model: Detector, train_set: Dataset, device: str
) -> Recipe:
    """Return the recipe with the batch of the run that goes on, or the one found for a new one."""
    if recipe.training.batch:
        return recipe
    if progressed.batch:
        return replace(recipe, training=replace(recipe.training, batch=progressed.batch))
    recipe = with_batch(recipe, model, train_set, device)
    say(f"batch: {recipe.training.batch} images at a time on {device}")
    return recipe


def _callbacks(
    recipe: Recipe,
    model: Detector,
    val_set: Dataset,
    info: WeightsInfo,
    folder: Path,
    best: Best,
    images_a_step: int,
    watch: Watcher | None,
) -> list[lightning.Callback]:
    """Return what happens around the steps, in its order: what is saved comes last."""
    training = recipe.training
    average = WeightAverage(model, training.ema) if training.ema else None
    with_loss = training.validation_loss or training.metric == "loss"
    judge = Judge(
        average.model if average else model,
        val_set,
        info=info,
        path=folder / BEST,
        metric=training.metric,
        loss=ValidationLoss(val_set, recipe) if with_loss else None,
        pictures=training.pictures,
    )
    metrics = Metrics(folder, images_a_step)
    validation = Validation(
        training.validate_every,
        metrics,
        judge.validate,
        judge.keep,
        best=best,
        draw=judge.pictures,
    )
    averages: list[lightning.Callback] = [average] if average else []
    return [
        Progress(training.steps, images_a_step, watch),
        metrics,
        *averages,
        validation,
        Checkpoints(folder, training.checkpoint_every),
    ]


def _initial_model(
    recipe: Recipe, weights: Path | None, progressed: Progressed
) -> tuple[Detector, list[str]]:
    """Return the model that a run begins with, and its arrays that are not from `weights`."""
    begins = progressed.path is None
    fetch = begins and weights is None
    model = build_model(recipe.model, seed=recipe.training.seed, fetch=fetch)
    if weights is None or not begins:
        return model, []
    return model, load_what_fits(weights, model, recipe.model.class_names)


def _describe(dataset: Dataset) -> str:
    objects = sum(len(r.annotations) for r in dataset.images)
    return f"{dataset.name}: {len(dataset)} images, {objects} objects"


def _trainer(
    recipe: Recipe, folder: Path, device: str, callbacks: list[lightning.Callback]
) -> lightning.Trainer:
    """Return a Trainer that runs to the last step and does nothing else by itself."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    training = recipe.training
    kind, _, number = device.partition(":")
    together = training.devices * training.num_nodes > 1
    return lightning.Trainer(
        accelerator="gpu" if kind == "cuda" else kind,
        devices=[int(number)] if number else training.devices,
        num_nodes=training.num_nodes,
        strategy="ddp" if together else "auto",
        # on the CPU there is none: each process has statistics of its own images
        sync_batchnorm=together and kind == "cuda",
        max_steps=recipe.training.steps,
        logger=TensorBoardLogger(save_dir=folder, name="", version="tensorboard"),
        callbacks=callbacks,
        plugins=[AtomicCheckpoints()],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _lost_another(error: RuntimeError) -> bool:
    """Tell whether an error means that another process of the run is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return any(text in str(error) for text in ("closed by peer", "gloo", "NCCL"))


def _too_large(module: TrainingModule, step: int) -> str:
    """Return what to say when a device runs out of memory."""
    training = module.recipe.training
    batch = training.batch
    remedy = "smaller images (--set short_side=... or augmentation.crop=...) or the device cpu"
    if batch > 1:
        accumulate = training.accumulate * -(-batch // (batch // 2))
        remedy = (
            f"--set batch={batch // 2} --set accumulate={accumulate}, "
            f"batch=0, which tries what fits, or {remedy}"
        )
    return (
        f"device {module.device}: too little memory for {batch} image(s) at once in step {step}; "
        f"begin again in another --out with {remedy}"
    )


def _fit(
    trainer: lightning.Trainer, module: TrainingModule, loader: object, checkpoint: Path | None
) -> None:
    """Run to the last step."""
    try:
        trainer.fit(module, loader, ckpt_path=checkpoint)
    except torch.OutOfMemoryError:
        raise InputError(_too_large(module, trainer.global_step + 1)) from None
    except RuntimeError as error:
        if trainer.world_size == 1 or not _lost_another(error):
            raise
        raise InputError(
            "another process of this run has stopped, its own message says why; go on with "
            "--resume when that is mended"
        ) from None
    except InputError as error:
        # a process of the loader wraps the message in its traceback, of which it is the last line
        message = str(error).strip().splitlines()[-1]
        raise InputError(message.removeprefix("fcis.core.errors.InputError: ")) from None
    except SystemExit:
        # Lightning ends the program when it is interrupted, and ignores further interrupts
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None
