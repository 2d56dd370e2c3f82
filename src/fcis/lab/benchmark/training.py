"""`fcis benchmark training`: one optimiser step, stage by stage."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

import fcis.training.losses
import fcis.training.mnc_losses
from fcis.core.errors import InputError
from fcis.data.dataset import Category, Dataset
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.data.source import open_dataset
from fcis.lab.benchmark.memory import peak_bytes
from fcis.lab.benchmark.networks import settle_on
from fcis.lab.benchmark.stages import OTHER, StageTimes, stage_times
from fcis.lab.benchmark.stopwatch import Stopwatch, Watched, watching
from fcis.lab.benchmark.table import Table, byte_count, number, tabulate
from fcis.lab.benchmark.timing import Method, Spread, device_clock, spread
from fcis.model.baselines.mnc import MNC
from fcis.model.build import build_model
from fcis.recipe.types import Recipe
from fcis.training.batch import TrainingBatch
from fcis.training.loader import training_loader
from fcis.training.optim import build_optimiser, clip_gradients
from fcis.training.systems import losses_of

STAGES = (
    "loader",
    "forward",
    "proposals",
    "targets",
    "assembly",
    "losses",
    "backward",
    "optimiser",
    OTHER,
)
CASCADE = "RoI network"  # of MNC, in the place of assembly
_ORDER = (*STAGES[:5], CASCADE, *STAGES[5:])
_SCENES = 64
_SCENE_SIZE = (480, 640)  # (height, width) px, as COCO's images
DEFAULT_BATCH = 4  # images, where a recipe takes as many as fit


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """What is measured.

    Attributes:
        device: of the networks.
        method: how often.
    """

    device: str
    method: Method


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One recipe's steps.

    Attributes:
        images: a step.
        rate: images a second.
        bytes: most that a step allocates at once, beyond weights and images; None where unknown.
    """

    name: str
    images: int
    precision: str
    workers: int
    stages: StageTimes
    rate: Spread
    bytes: int | None

    def to_json(self) -> dict[str, object]:
        """Return the figures; seconds, bytes, shares of 1."""
        return {
            "recipe": self.name,
            "images": self.images,
            "precision": self.precision,
            "workers": self.workers,
            "images_per_second": asdict(self.rate),
            "bytes": self.bytes,
            **self.stages.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What was found, a report a recipe."""

    settings: TrainingSettings
    steps: tuple[StepReport, ...]

    def to_json(self) -> dict[str, object]:
        """Return settings and figures."""
        return {"settings": asdict(self.settings), "steps": [s.to_json() for s in self.steps]}

    def tables(self) -> list[Table]:
        """Return the images a second of all recipes, and the stages of each."""
        rates = tabulate(
            "Training",
            self.steps,
            {
                "recipe": lambda s: s.name,
                "images a step": lambda s: str(s.images),
                "precision": lambda s: s.precision,
                "images / s": lambda s: number(s.rate.median),
                "memory": lambda s: byte_count(s.bytes),
            },
        )
        return [rates, *(s.stages.table(f"{s.name}, one step") for s in self.steps)]

    def notes(self) -> list[str]:
        """Return what the figures rest on."""
        return [
            f"medians of {self.settings.method.rounds} steps; the loader's time is what a step "
            "waits for it"
        ]


class Trainer:
    """The steps of a recipe, without checkpoints and validation.

    The learning rate is 0: the work is the same, and no step leads the network to where another
    one would take longer.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        *,
        device: str,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        training = recipe.training
        self.recipe = recipe
        self.images = training.batch * training.accumulate
        self.model = build_model(recipe.model, seed=training.seed).to(device).train()
        if training.precision == "float64":
            self.model.double()
        self._device = device
        self._stopwatch = stopwatch or Stopwatch(device_clock(device))
        self._optimiser = build_optimiser(self.model, replace(training.optimiser, lr=0.0))
        self._loader: Iterator[tuple[TrainingBatch, ...]] = iter(
            training_loader(dataset, recipe, 0)
        )
        first = self._batches()[0]
        settle_on(self.model, first.images)

    def step(self) -> None:
        """Make one step, and let its stages count.

        Raises:
            InputError: a loss is not finite, or an image cannot be read.
        """
        training, watch = self.recipe.training, self._stopwatch
        half = training.precision == "bfloat16"
        with watch.stage(OTHER):
            with watch.stage("loader"):
                batches = self._batches()
            for batch in batches:
                with watch.stage("losses"):
                    kind = torch.device(self._device).type
                    with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
                        losses = losses_of(self.model, batch, self.recipe)
                    if bad := losses.first_bad(batch.names):
                        raise InputError(
                            f"{bad[0]}: the loss {bad[1]} is not finite; look at this image's "
                            "annotations, or measure other data"
                        )
                    total = losses.total() / len(batches)
                with watch.stage("backward"):
                    total.backward()
            with watch.stage("optimiser"):
                clip_gradients(self.model, training.optimiser.clip_norm)
                self._optimiser.step()
                self._optimiser.zero_grad()

    def _batches(self) -> tuple[TrainingBatch, ...]:
        kind = torch.float64 if self.recipe.training.precision == "float64" else torch.float32
        return tuple(b.to(self._device).of_type(kind) for b in next(self._loader))


def run_training(
    recipes: Sequence[Recipe],
    dataset: Dataset,
    settings: TrainingSettings,
    tell: Callable[[str], None],
) -> TrainingReport:
    """Return the figures of recipes that take turns; `tell` hears what is being measured.

    Args:
        recipes: with the categories of the dataset.
        dataset: what is trained on.
        settings: where, and how often.
        tell: takes a line of text.

    Raises:
        InputError: the dataset has no object, an image cannot be read, or a loss is not finite.
    """
    stopwatch = Stopwatch(device_clock(settings.device))
    trainers = []
    for recipe in recipes:
        tell(f"{recipe.name}: network and loader")
        trainers.append(Trainer(recipe, dataset, device=settings.device, stopwatch=stopwatch))
    runs: list[list[dict[str, float]]] = [[] for _ in trainers]
    for turn in range(settings.method.warm_up + settings.method.rounds):
        for trainer, found in zip(trainers, runs, strict=True):
            tell(f"{trainer.recipe.name}: step {turn + 1}")
            with _watching(stopwatch, trainer):
                stopwatch.take()
                trainer.step()
                found.append(stopwatch.take())
    steps = [
        _report(trainer, found[settings.method.warm_up :], settings)
        for trainer, found in zip(trainers, runs, strict=True)
    ]
    return TrainingReport(settings=settings, steps=tuple(steps))


def measured(recipe: Recipe, *, batch: int | None, workers: int | None) -> Recipe:
    """Return the recipe with another number of images a step, and of loader processes."""
    training = recipe.training
    images = (training.batch or DEFAULT_BATCH) if batch is None else batch
    processes = training.workers if workers is None else workers
    return replace(recipe, training=replace(training, batch=images, workers=processes))


def open_data(data: str | None, images_dir: Path | None, *, classes: int, quick: bool) -> Dataset:
    """Return what is trained on: a dataset as `open_dataset` takes it, or drawn scenes.

    Args:
        data: None: scenes of COCO's size, with so many categories.
        images_dir: where the images of the dataset lie, if not beside its file.
        classes: of the scenes.
        quick: a few small scenes.

    Raises:
        InputError: the dataset cannot be read.
    """
    if data is not None:
        return open_dataset(data, images_dir)
    if images_dir is not None:
        raise InputError("--images belongs to the .json of --data; give that too")
    if quick:
        return scene_dataset(2, 0, size=(64, 96))
    return with_unused_categories(scene_dataset(_SCENES, 0, size=_SCENE_SIZE), classes)


def with_unused_categories(dataset: Dataset, count: int) -> Dataset:
    """Return the dataset with so many categories, the added ones without objects.

    The time of a step depends on how many there are.
    """
    known, last = len(dataset.categories), dataset.categories[-1].id
    added = tuple(
        Category(id=last + n, name=f"class {known + n}") for n in range(1, count - known + 1)
    )
    return replace(dataset, categories=(*dataset.categories, *added))


def _watching(stopwatch: Stopwatch, trainer: Trainer) -> AbstractContextManager[None]:
    model = trainer.model
    functions: list[Watched] = [
        (model, "rpn_proposals", ("proposals",)),
        (fcis.training.losses, "anchor_targets", ("targets",)),
        (fcis.training.losses, "roi_targets", ("targets",)),
        (fcis.training.losses, "mask_targets", ("targets",)),
        (fcis.training.mnc_losses, "mask_targets", ("targets",)),
        (model, "score_rois", ("assembly",)),
        (model, "mask_rois", ("assembly",)),
    ]
    if isinstance(model, MNC):
        functions.append((model, "cascade", (CASCADE,)))
    return watching(stopwatch, {"forward": model}, functions)


def _report(
    trainer: Trainer, runs: Sequence[dict[str, float]], settings: TrainingSettings
) -> StepReport:
    training = trainer.recipe.training
    return StepReport(
        name=trainer.recipe.name,
        images=trainer.images,
        precision=training.precision,
        workers=training.workers,
        stages=stage_times(runs, _ORDER),
        rate=spread([trainer.images / sum(run.values()) for run in runs]),
        bytes=peak_bytes(trainer.step, settings.device),
    )
