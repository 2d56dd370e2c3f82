"""What the scripts have in common: results of record, and trainings that are judged.

A result is one JSON line a finished run in results/NAME.jsonl, with the environment that it was
found in. Where FCIS_RESULTS names another folder, lines are looked for and written there.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from fcis.data.dataset import Dataset
from fcis.data.formats.coco import read_coco
from fcis.inference.evaluate_dataset import evaluate_predictor
from fcis.inference.load_predictor import load_any
from fcis.lab.environment import environment
from fcis.lab.journal import Journal, Line
from fcis.recipe.types import Recipe
from fcis.training.run import BEST, for_dataset, train
from fcis.training.samples import TrainingSamples

RESULTS = Path(os.environ.get("FCIS_RESULTS") or Path(__file__).resolve().parent / "results")


def records(name: str) -> Journal:
    """Return the lines of a name."""
    return Journal(RESULTS / f"{name}.jsonl")


def add_record(name: str, figures: Mapping[str, object], *, device: str = "cpu") -> Line:
    """Append a line, print it and return it."""
    line = records(name).add({"environment": environment(device).to_json(), **figures})
    print(json.dumps(line, indent=1))
    return line


def record_once(
    name: str, key: Mapping[str, object], measure: Callable[[], Mapping[str, object]]
) -> Line:
    """Return the line of a run, which is measured unless there is one with its key."""
    found = records(name).find(key)
    if found is not None:
        print(f"{name}, recorded already: {json.dumps(found)}")
        return found
    return add_record(name, {**key, **measure()})


def open_nuclei(folder: Path) -> tuple[Dataset, Dataset]:
    """Return the training and the validation set of a folder with train.json and val.json."""
    return read_coco(folder / "train.json"), read_coco(folder / "val.json")


def train_rest(
    recipe: Recipe, train_set: Dataset, val_set: Dataset, folder: Path
) -> dict[str, float | None]:
    """Train what a run lacks; return minutes, None of one that was taken up again, and epochs."""
    recipe = for_dataset(recipe, train_set)
    result = train(recipe, train_set, val_set, folder, resume=True)
    whole = result.images == recipe.training.steps * recipe.training.batch
    epochs = result.images / len(TrainingSamples(train_set, recipe).images)
    minutes = round(result.seconds / 60, 2) if whole else None
    return {"minutes": minutes, "epochs": round(epochs, 1)}


def learn(recipe: Recipe, train_set: Dataset, val_set: Dataset, folder: Path) -> dict[str, object]:
    """Train what a run lacks, and return it with the figures of its best weights."""
    trained = train_rest(recipe, train_set, val_set, folder)
    report, _ = evaluate_predictor(load_any(folder / BEST, device="cpu"), val_set)
    figures = report.to_json()
    return {**trained, "segm": figures["segm"], "dsb": figures["dsb"]}
