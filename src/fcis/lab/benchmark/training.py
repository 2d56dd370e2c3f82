"""`fcis benchmark training`: one optimiser step, stage by stage."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from fcis.lab.benchmark.report import OTHER, Report, StageTimes, stage_times
from fcis.lab.benchmark.stopwatch import Stopwatch, Watched, watching
from fcis.lab.benchmark.table import Table, byte_count, number, tabulate
from fcis.lab.benchmark.timing import K, Method, Spread, alternate, device_clock, spread
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
class StepReport:
    """One recipe's steps.

    Attributes:
        images: a step.
        images_per_second: of all steps.
        bytes: most that a step allocates at once, beyond weights and images; None where unknown.
    """

    recipe: str
    images: int
    precision: str
    workers: int
    images_per_second: Spread
    bytes: int | None


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


def step_seconds(
    recipes: Mapping[K, Recipe], dataset: Dataset, device: str, method: Method
) -> dict[K, list[float]]:
    """Return the seconds of a step of each of several recipes in turn, a value a round.

    Raises:
        InputError: the dataset has no object, an image cannot be read, or a loss is not finite.
    """
    trainers = {key: Trainer(recipe, dataset, device=device) for key, recipe in recipes.items()}
    works = {key: trainer.step for key, trainer in trainers.items()}
    return alternate(works, method, device_clock(device))


def run_training(
    recipes: Sequence[Recipe],
    dataset: Dataset,
    device: str,
    method: Method,
    tell: Callable[[str], None],
) -> Report:
    """Return the images a second of recipes that take turns, and the stages of each.

    Args:
        recipes: with the categories of the dataset.
        dataset: what is trained on.
        device: of the networks.
        method: how often.
        tell: takes a line of text, on what is being measured.

    Raises:
        InputError: the dataset has no object, an image cannot be read, or a loss is not finite.
    """
    stopwatch = Stopwatch(device_clock(device))
    trainers = []
    for recipe in recipes:
        tell(f"{recipe.name}: network and loader")
        trainers.append(Trainer(recipe, dataset, device=device, stopwatch=stopwatch))
    runs: list[list[dict[str, float]]] = [[] for _ in trainers]
    for turn in range(method.warm_up + method.rounds):
        for trainer, found in zip(trainers, runs, strict=True):
            tell(f"{trainer.recipe.name}: step {turn + 1}")
            with _watching(stopwatch, trainer):
                stopwatch.take()
                trainer.step()
                found.append(stopwatch.take())
    steps, stages = list[StepReport](), list[tuple[str, StageTimes]]()
    for trainer, found in zip(trainers, runs, strict=True):
        training, counted = trainer.recipe.training, found[method.warm_up :]
        step = StepReport(
            recipe=trainer.recipe.name,
            images=trainer.images,
            precision=training.precision,
            workers=training.workers,
            images_per_second=spread([trainer.images / sum(run.values()) for run in counted]),
            bytes=peak_bytes(trainer.step, device),
        )
        steps.append(step)
        stages.append((step.recipe, stage_times(counted, _ORDER)))
    return Report(
        figures={
            "settings": {"device": device, "method": method},
            "steps": [
                asdict(step) | times.to_json()
                for step, (_, times) in zip(steps, stages, strict=True)
            ],
        },
        tables=(_rates(steps), *(times.table(f"{name}, one step") for name, times in stages)),
        notes=(f"medians of {method.rounds} steps; the loader's time is what a step waits for it",),
        stages=tuple(stages),
    )


def _rates(steps: list[StepReport]) -> Table:
    return tabulate(
        "Training",
        steps,
        {
            "recipe": lambda s: s.recipe,
            "images a step": lambda s: str(s.images),
            "precision": lambda s: s.precision,
            "images / s": lambda s: number(s.images_per_second.median),
            "memory": lambda s: byte_count(s.bytes),
        },
    )


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
