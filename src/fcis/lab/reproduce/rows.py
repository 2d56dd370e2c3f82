"""What a table consists of: networks to train, and rows that test them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from fcis.inference.test_time.ensemble import Averaging
from fcis.recipe.types import Recipe

TableName = Literal["table1", "table2", "table3", "table4"]
TABLES: tuple[TableName, ...] = ("table1", "table2", "table3", "table4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A network and how it is trained.

    Attributes:
        name: of its folders.
        seed_offset: added to the seed of a run.
        is_trained: false if the time of a step is all that is wanted.
    """

    name: str
    recipe: Recipe
    seed_offset: int = 0
    is_trained: bool = True

    def of_seed(self, seed: int) -> Recipe:
        """Return the recipe of one run."""
        training = replace(self.recipe.training, seed=seed + self.seed_offset)
        return replace(self.recipe, training=training)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table.

    Attributes:
        name: key of the paper's figures.
        label: as printed.
        networks: trainings whose weights are tested, several for an ensemble.
        step_of: the training whose step is timed, empty for none.
        averaging: test-time tools.
        has_figures: false where times are all that is shown.
    """

    name: str
    label: str
    networks: tuple[str, ...]
    step_of: str = ""
    averaging: Averaging = field(default_factory=Averaging)
    has_figures: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A table.

    Attributes:
        base: the recipe that all networks are made from.
        metrics: columns of figures, and how they are printed.
        compared: metrics that rows are compared by, with the row `reference`.
        with_operations: are floating-point operations counted.
    """

    table: TableName
    title: str
    base: Recipe
    metrics: Mapping[str, str]
    compared: tuple[str, ...]
    reference: str
    trainings: tuple[Training, ...]
    rows: tuple[Row, ...]
    with_operations: bool = False

    def training(self, name: str) -> Training:
        """Return the training of that name."""
        return next(training for training in self.trainings if training.name == name)
