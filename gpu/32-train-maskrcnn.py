"""Mask R-CNN R50-FPN of torchvision from scratch, on the images and epochs of `30-train-nuclei`.

The training and its evaluation are those of `benchmarks/maskrcnn_nuclei.py`, whose line of record
has the figures. `--steps` are those of `30-train-nuclei`.
"""

import json
import sys

from common import ROOT, Call, run
from processes import Job
from trainings import add_counts
from travel import FINISHED

from fcis.lab.journal import Journal
from fcis.lab.reproduce.running import figures_by_name
from fcis.recipe.named import named_recipe

TRAINER = ROOT / "benchmarks" / "maskrcnn_nuclei.py"
RECORD, LINES = "record", "maskrcnn-nuclei.jsonl"
"""Folder, in that of a run, of what it records, and the file there."""

SEEDS = 3
_PARALLEL = 2
_NAMES = ("AP", "AP50", "AP75", "dsb@0.50")
_TINY_TRAINING = ("--steps", "1", "--batch", "1", "--crop", "64", "--rois", "8", "--workers", "0")
_TINY = (*_TINY_TRAINING, "--detections", "20", "--val-images", "1")
_USUAL = ("--workers", "4")


def work(call: Call) -> None:
    """Train and evaluate each seed that has no result."""
    epochs = 1.0 if call.quick else epochs_of(call)
    seeds = range(call.options.seeds or (1 if call.quick else SEEDS))
    keys = {seed: {"network": "maskrcnn", "epochs": f"{epochs:g}", "seed": seed} for seed in seeds}
    jobs = {seed: _job(call, epochs, seed) for seed in seeds if not call.known(keys[seed])}
    outcomes = call.run(*jobs.values(), parallel=call.options.parallel or _PARALLEL)
    for seed, job in jobs.items():
        if not outcomes[job.name].done:
            continue
        (call.work / job.name / FINISHED).touch()
        figures = Journal(call.work / job.name / RECORD / LINES).lines[-1]
        named = figures_by_name(figures)
        shown = {name: named[name] for name in _NAMES}
        call.record(keys[seed], figures=figures, shown=shown, seconds=outcomes[job.name].seconds)


def epochs_of(call: Call) -> float:
    """Return how often the recipe `nuclei` sees each image."""
    training = named_recipe("nuclei").training
    data = json.loads((call.nuclei / "train.json").read_text(encoding="utf-8"))
    steps = call.options.steps or training.steps
    return round(steps * training.batch / len(data["images"]), 1)


def _job(call: Call, epochs: float, seed: int) -> Job:
    name = f"maskrcnn-{epochs:g}-{seed}"
    folder = call.work / name
    words = ("--out", folder, "--epochs", f"{epochs:g}", "--seed", seed, "--device", call.device)
    more = _TINY if call.quick else _USUAL
    command = (sys.executable, TRAINER, call.nuclei, *words, *more)
    # the results of record stay as they are
    elsewhere = {"FCIS_RESULTS": str(folder / RECORD)}
    return Job(name=name, command=tuple(map(str, command)), environment=elsewhere)


if __name__ == "__main__":
    sys.exit(run(__file__, __doc__, work, add=add_counts, has_state=True))
