"""A training run and its folder, from datasets and a recipe to weights."""

import json
import logging
import os
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tqdm import tqdm

from fcis.build import build_model
from fcis.data.dataset import Dataset
from fcis.errors import InputError
from fcis.evaluation.operating import best_thresholds
from fcis.evaluation.report import Report, evaluate
from fcis.model.fcis import FCIS
from fcis.predictor import Predictor
from fcis.recipe import Recipe
from fcis.recipe_json import from_json, to_json
from fcis.training.callbacks import (
    CHECKPOINT,
    AtomicCheckpoints,
    Checkpoints,
    Metrics,
    Progress,
    Validation,
)
from fcis.training.module import TrainingModule, training_loader
from fcis.weights.file import WeightsInfo, load_what_fits, save_weights, with_metrics

BEST = "best.safetensors"
RECIPE = "recipe.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Where a run left its weights, and the figures of the best ones."""

    folder: Path
    best_ap: float
    best_step: int
    seconds: float
    new_arrays: tuple[str, ...]


def for_dataset(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Return the recipe with the categories of a dataset.

    Raises:
        InputError: the dataset has no categories.
    """
    if not dataset.categories:
        raise InputError(f"{dataset.name}: has no categories; add them to the annotations")
    model = replace(
        recipe.model,
        class_names=tuple(c.name for c in dataset.categories),
        category_ids=tuple(c.id for c in dataset.categories),
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
) -> RunResult:
    """Train, validate and leave everything in a folder.

    Args:
        recipe: with the categories of the training set.
        train_set: images without objects are left out.
        val_set: chooses the best weights and the operating thresholds.
        folder: of the run; made if it is not there.
        weights: a file to begin with, of the same or other categories.
        resume: go on from the folder's checkpoint, or begin if there is none.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        InputError: the folder belongs to another run or cannot be written, the datasets do not
            fit each other, or a loss is not finite.
    """
    started = time.perf_counter()
    _check_categories(recipe, train_set, val_set)
    _prepare_folder(folder, recipe, resume)
    checkpoint = folder / CHECKPOINT if resume and (folder / CHECKPOINT).is_file() else None
    fetch = weights is None and checkpoint is None
    model = build_model(recipe.model, seed=recipe.training.seed, fetch=fetch)
    new_arrays: list[str] = []
    if weights is not None and checkpoint is None:
        new_arrays = load_what_fits(weights, model, recipe.model.class_names)
    images_a_step = recipe.training.batch * recipe.training.accumulate
    metrics = Metrics(folder, images_a_step)
    info = WeightsInfo(model=recipe.model, recipe=recipe.name, training_data=_describe(train_set))
    judge = _Judge(model, val_set, info, folder / BEST, device)
    validation = Validation(recipe.training.validate_every, metrics, judge.validate, judge.keep)
    first_step = _checkpoint_step(checkpoint) if checkpoint else 0
    trainer = _trainer(
        recipe,
        folder,
        device,
        [
            Progress(recipe.training.steps, images_a_step),
            metrics,
            validation,
            Checkpoints(folder, recipe.training.checkpoint_every),
        ],
    )
    loader = training_loader(train_set, recipe, first_step)
    if first_step < recipe.training.steps:
        trainer.fit(
            TrainingModule(model, recipe),
            loader,
            ckpt_path=str(checkpoint) if checkpoint else None,
            weights_only=False if checkpoint else None,
        )
    return RunResult(
        folder=folder,
        best_ap=validation.best,
        best_step=validation.best_step,
        seconds=time.perf_counter() - started,
        new_arrays=tuple(new_arrays),
    )


class _Judge:
    """Evaluates the model in training and keeps its weights when told to."""

    def __init__(
        self, model: FCIS, val_set: Dataset, info: WeightsInfo, path: Path, device: str
    ) -> None:
        self.model = model
        self.val_set = val_set
        self.info = info
        self.path = path
        self.device = device
        self._thresholds: tuple[float, ...] = ()

    def validate(self) -> dict[str, float]:
        """Return the mask figures on the validation set."""
        truth = self.val_set.to_coco()
        predictor = Predictor(self.model, self.info, device=self.device)
        found = []
        bar = tqdm(
            predictor.detect_dataset(self.val_set),
            total=len(self.val_set),
            desc="validating",
            unit="image",
            leave=False,
        )
        for instances in bar:
            found += instances.to_coco()
        best = best_thresholds(truth, found)
        self._thresholds = tuple(best[i] for i in self.info.model.category_ids)
        most = self.info.model.detection.max_detections
        report = evaluate(truth, found, max_detections=most, thresholds=best)
        return _figures(report)

    def keep(self, figures: dict[str, float]) -> None:
        """Write the present weights with their figures and thresholds."""
        save_weights(self.path, self.model, with_metrics(self.info, figures, self._thresholds))


def _figures(report: Report) -> dict[str, float]:
    """Return the figures that a weights file carries; no ground truth counts as 0."""
    data = {
        "AP": report.segm.ap,
        "AP50": report.segm.ap_50,
        "AP75": report.segm.ap_75,
        "dsb@0.50": report.dsb["0.50"],
    }
    return {k: 0.0 if v is None else float(v) for k, v in data.items()}


def _describe(dataset: Dataset) -> str:
    objects = sum(len(r.annotations) for r in dataset.images)
    return f"{dataset.name}: {len(dataset)} images, {objects} objects"


def _check_categories(recipe: Recipe, train_set: Dataset, val_set: Dataset) -> None:
    first, second = train_set.class_names[1:], val_set.class_names[1:]
    if first != second or train_set.label_of != val_set.label_of:
        raise InputError(
            f"{val_set.name}: its categories ({', '.join(second)}) are not those of "
            f"{train_set.name} ({', '.join(first)}); make them equal, ids included"
        )
    if recipe.model.class_names != first:
        raise InputError(f"{train_set.name}: its categories are not those of the recipe")


def _prepare_folder(folder: Path, recipe: Recipe, resume: bool) -> None:
    """Make the run folder, or check that it is this run's."""
    path = folder / RECIPE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            if not resume:
                raise InputError(
                    f"{folder}: holds a training run; go on with --resume or choose another --out"
                )
            _check_same(path, recipe)
            return
        partial = folder / f"{RECIPE}.partial"
        partial.write_text(json.dumps(to_json(recipe), indent=2) + "\n")
        os.replace(partial, path)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another --out"
        ) from None


def _check_same(path: Path, recipe: Recipe) -> None:
    """Refuse to go on with another recipe than the run was begun with."""
    try:
        data = json.loads(path.read_text())
    except json.JSONDecodeError:
        raise InputError(f"{path}: not JSON; begin again with another --out") from None
    begun = from_json(Recipe, data, str(path))
    if begun == recipe:
        return
    old, new = dict(_flat(to_json(begun))), dict(_flat(to_json(recipe)))
    name = next(k for k in new if old.get(k) != new[k])
    raise InputError(
        f"{path}: the run was begun with {name} = {old.get(name)}, not {new[name]}; "
        "resume with the same settings and data, or choose another --out"
    )


def _flat(data: object, prefix: str = "") -> list[tuple[str, object]]:
    if not isinstance(data, dict):
        return [(prefix, data)]
    return [p for k, v in data.items() for p in _flat(v, f"{prefix}.{k}" if prefix else k)]


def _checkpoint_step(path: Path) -> int:
    """Return the number of steps that a checkpoint has behind it."""
    try:
        return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])
    except (OSError, RuntimeError, KeyError, EOFError) as error:
        raise InputError(f"{path}: damaged ({error}); begin again with another --out") from None


def _trainer(
    recipe: Recipe, folder: Path, device: str, callbacks: list[lightning.Callback]
) -> lightning.Trainer:
    """Return a Trainer that runs to the last step and does nothing else by itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    kind, _, number = device.partition(":")
    return lightning.Trainer(
        accelerator="gpu" if kind == "cuda" else kind,
        devices=[int(number)] if number else recipe.training.devices,
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
