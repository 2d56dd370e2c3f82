"""How long each network is trained: by a number of steps that is fixed before the first of them.

A budget in minutes becomes steps once, by measuring a few steps of each network, and is written
down, so that a table that was interrupted goes on with the same number.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Literal

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.lab.benchmark.timing import Method
from fcis.lab.benchmark.training import step_seconds
from fcis.lab.journal import Journal
from fcis.lab.reproduce.rows import TableName
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Recipe
from fcis.training.run import for_dataset

STEPS: Mapping[TableName, tuple[int, int]] = {
    "table1": (420, 300),
    "table2": (220, 180),
    "table3": (400, 300),
    "table4": (400, 380),
}
"""Steps of `cpu` on scenes, and with `nuclei-cpu`, which has more and smaller objects.

They are what the slowest network of a table makes in four minutes on one core. That is naive MNC in
Table 1, where InstFCN and R-FCN are two networks with a training each, and MNC with five stages in
Table 2.
"""

_STEPS_FILE = "steps.json"
_CPU_CROP = 192  # px; a step costs about half of what it costs with crops of 256 or 320
METHOD = Method(rounds=5, least_seconds=0.0)
_LEAST_STEPS = 2


Budget = float | Literal["cpu", "full"]
"""What `--budget` asks for: `cpu`, small networks and few steps; `full`, the paper's; else small
networks, and the minutes of each training."""


def read_budget(text: str) -> Budget:
    """Return what `--budget` asks for.

    Raises:
        InputError: something else.
    """
    if text == "cpu" or text == "full":
        return text
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise InputError(
            f"--budget {text}: expected cpu, full, or the minutes of a training, as in 20"
        )
    return minutes


def base_recipe(table: TableName, budget: Budget, *, is_scenes: bool) -> Recipe:
    """Return the recipe of FCIS that a table's networks are made from.

    The release's settings of the paper's tables for `full`; else a small network from scratch,
    that of `scenes` on synthetic scenes and of `nuclei-cpu` on other data, with smaller crops.
    """
    if budget == "full":
        base = named_recipe("voc-resnet101" if table == "table1" else "coco-resnet101")
        return with_steps(base, base.training.steps)
    base = named_recipe("scenes" if is_scenes else "nuclei-cpu")
    training = base.training
    change = replace(training.augmentation, crop=_CPU_CROP)
    training = replace(training, augmentation=change)
    scenes, others = STEPS[table]
    return with_steps(replace(base, training=training), scenes if is_scenes else others)


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """Return the recipe with another number of steps, and its schedule in proportion.

    The weights of the last step are what counts: there is no validation before.
    """
    training = recipe.training
    share = steps / training.steps
    schedule = replace(
        training.optimiser,
        milestones=tuple(max(1, round(m * share)) for m in training.optimiser.milestones),
        warmup_steps=min(training.optimiser.warmup_steps, max(1, steps // 4)),
    )
    every = min(training.checkpoint_every, max(1, steps // 4))
    training = replace(
        training, steps=steps, optimiser=schedule, validate_every=0, checkpoint_every=every
    )
    return replace(recipe, training=training)


def steps_for(
    recipes: Mapping[str, Recipe],
    dataset: Dataset,
    minutes: float,
    journal: Journal,
    *,
    device: str,
    tell: Callable[[str], None],
) -> int:
    """Return how many steps the slowest network can make in a time.

    They are measured once and kept in the table's journal; earlier versions kept them in a file of
    their own.

    Args:
        recipes: of all networks of a table.
        dataset: what is trained on.
        minutes: of a training.
        journal: of the table.
        device: where it is trained.
        tell: takes a line of text.

    Raises:
        InputError: the table was begun with another budget, or the file of an earlier version is
            damaged.
    """
    key = {"kind": "steps", "name": "of all networks", "seed": 0}
    if journal.find(key) is None:
        _take_over(journal, key)
    line = journal.find(key, f"{minutes:g} minutes")
    if line is None:
        tell(f"measuring {METHOD.rounds} steps of {', '.join(recipes)}")
        ready = {name: for_dataset(recipe, dataset) for name, recipe in recipes.items()}
        found = step_seconds(ready, dataset, device, METHOD)
        seconds = {name: fmean(values) for name, values in found.items()}
        steps = max(_LEAST_STEPS, int(60 * minutes / max(seconds.values())))
        facts = {"settings": f"{minutes:g} minutes", "steps": steps, "step_seconds": seconds}
        line = journal.add(key | facts)
    return line["steps"]


def _take_over(journal: Journal, key: Mapping[str, object]) -> None:
    """Write the steps that an earlier version has measured, if it has, into the journal."""
    path = journal.path.with_name(_STEPS_FILE)
    if not path.is_file():
        return
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        known, steps, seconds = float(data["minutes"]), int(data["steps"]), data["step_seconds"]
    except (OSError, ValueError, LookupError, TypeError):
        raise InputError(f"{path}: damaged; delete it, or choose another --out") from None
    facts = {"settings": f"{known:g} minutes", "steps": steps, "step_seconds": seconds}
    journal.add({**key, **facts})
