"""What each choice of the recipe `nuclei` brings: short trainings that lack one of them.

The rows of the first kind are trained: the recipe with fewer steps, but for what their name says.
Those of the second look with the weights `nuclei`, or others, in another way. One JSON line a row
in results/nuclei-ablation.jsonl; rows that have one are left out, an interrupted training goes on.
`tools/write_tables.py` writes the tables of docs/nuclei.md.

    python benchmarks/nuclei_ablation.py path/to/nuclei --out runs/ablation [ROW ...]
"""

import argparse
import re
from functools import partial
from pathlib import Path

from nuclei_errors import judge, looking
from records import open_nuclei, record_once, train_rest

from fcis.data.dataset import Dataset
from fcis.inference.load_predictor import load_any
from fcis.recipe.named import named_recipe
from fcis.recipe.reading import with_settings
from fcis.recipe.types import Recipe
from fcis.training.run import BEST

NAME = "nuclei-ablation"
STEPS = 500
WHOLE = "the recipe"
AS_IT_IS = "as it is"


_PLAIN = tuple(f"training.augmentation.{name}=0" for name in ("paste", "blur", "noise", "elastic"))
_LIGHT = tuple(f"training.augmentation.{n}=0" for n in ("brightness", "contrast", "gamma"))

TRAINED = {
    WHOLE: (),
    f"{WHOLE}, seed 1": ("training.seed=1",),
    f"{WHOLE}, seed 2": ("training.seed=2",),
    "network of `nuclei-cpu`: 32 to 128 channels, 4 blocks": (
        "backbone.widths=[32,64,96,128]",
        "backbone.depths=[1,1,1,1]",
    ),
    "all images equally often": ("training.repeat_crops=0",),
    "64 RoIs an image": ("targets.rois=64",),
    "hard examples (OHEM)": ("targets.ohem=true",),
    "no running average of weights": ("training.ema=0",),
    "no elastic, paste, blur, noise": _PLAIN,
    "no changes of intensity": _LIGHT,
    "one scale": ("training.augmentation.scale=[1.0,1.0]",),
    "float32": ("training.precision=float32",),
    "input as it is, not twice as large": (
        "preprocessing.zoom=1.0",
        "training.augmentation.crop=160",
        "rpn.anchor_sizes=[8.0,14.0,22.0,36.0,60.0]",
    ),
    "stride 16": ("backbone.stride=16",),
    "score maps on conv2's grid (stride 4)": ("backbone.fusion=c2",),
    "RoIs positive from IoU 0.6": ("targets.roi_positive=0.6",),
    "mask loss three times": ("losses.mask_loss_weight=3.0",),
}
"""Rows that need a training of their own, and what is changed."""

LOOKED = {
    AS_IT_IS: (),
    "suppression by boxes alone, IoU 0.3": (
        "detection.mask_suppression=none",
        "detection.nms=0.3",
    ),
    "scores times certainty of masks": ("detection.mask_score=true",),
    "as many proposals whatever the size": ("rpn.nms_area=0",),
    "300 proposals": ("rpn.post_nms=300",),
    "500 proposals": ("rpn.post_nms=500",),
    "proposals suppressed at IoU 0.6": ("rpn.nms=0.6",),
    "100 instances an image": ("detection.max_detections=100",),
    "one pass": ("detection.passes=1",),
    "no voting on masks": ("detection.merge_iou=1.0",),
}
"""The same of rows that look in another way."""

ROWS = TRAINED | LOOKED


def recipe(row: str, steps: int) -> Recipe:
    """Return the recipe of a row, with fewer steps and a running average to match."""
    short = (f"training.steps={steps}", "training.validate_every=0", "training.workers=0")
    average = ("training.optimiser.warmup_steps=100", "training.ema=0.99")
    return with_settings(named_recipe("nuclei"), (*short, *average, *TRAINED.get(row, ())))


def folder_of(out: Path, row: str, steps: int) -> Path:
    """Return the run folder of a row that is trained."""
    return out / f"{re.sub('[^a-z0-9]+', '-', row.lower()).strip('-')}-{steps}"


def measure(
    row: str, train_set: Dataset, val_set: Dataset, options: argparse.Namespace
) -> dict[str, object]:
    """Train a row if need be, and return its figures."""
    trained = {}
    if row in TRAINED:
        folder = folder_of(options.out, row, options.steps)
        # thresholds are found anew below: a few images are enough for the weights file
        trained = train_rest(recipe(row, options.steps), train_set, val_set.first(8), folder)
        predictor = load_any(folder / BEST, device="cpu")
    else:
        change = partial(looking, LOOKED[row])
        predictor = load_any(options.weights, device="cpu", change=change)
    told, _ = judge(predictor, val_set)
    return {"settings": ROWS[row], **trained, **told}


def wanted(begins: list[str]) -> list[str]:
    """Return the rows with such names, or such beginnings of names; without any, all."""
    begun = tuple(begin for begin in begins if begin not in ROWS)
    return [row for row in ROWS if not begins or row in begins or row.startswith(begun)]


def main() -> None:
    """Run what has no line yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path, help="folder with train.json, val.json and images/")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="a row's name, or its beginning")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--weights", default="nuclei", help="of the rows that need no training")
    options = parser.parse_args()
    datasets = open_nuclei(options.nuclei)
    for row in wanted(options.rows):
        of = {"steps": options.steps} if row in TRAINED else {"weights": options.weights}
        key = {"row": row} | of
        record_once(NAME, key, lambda row=row: measure(row, *datasets, options))


if __name__ == "__main__":
    main()
