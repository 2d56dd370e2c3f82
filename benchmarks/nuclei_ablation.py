"""What each choice of the recipe `nuclei` brings: short trainings that lack one of them.

The rows of the first kind are trained: the recipe with fewer steps, but for what their name says.
Those of the second look with the weights `nuclei`, or others, in another way. One JSON line a row
in results/nuclei-ablation.jsonl; rows that have one are left out, an interrupted training goes on.
`tools/write_tables.py` writes the tables of docs/nuclei.md.

    python benchmarks/nuclei_ablation.py path/to/nuclei --out runs/ablation [ROW ...]
"""

import argparse
import re
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: what is changed, and whether that needs a training of its own."""

    name: str
    settings: tuple[str, ...] = ()
    is_trained: bool = True


def _look(name: str, *settings: str) -> Row:
    return Row(name=name, settings=settings, is_trained=False)


_PLAIN = tuple(f"training.augmentation.{name}=0" for name in ("paste", "blur", "noise", "elastic"))
_LIGHT = tuple(f"training.augmentation.{n}=0" for n in ("brightness", "contrast", "gamma"))

ROWS = (
    Row(name=WHOLE),
    Row(name=f"{WHOLE}, seed 1", settings=("training.seed=1",)),
    Row(name=f"{WHOLE}, seed 2", settings=("training.seed=2",)),
    Row(
        name="network of `nuclei-cpu`: 32 to 128 channels, 4 blocks",
        settings=("backbone.widths=[32,64,96,128]", "backbone.depths=[1,1,1,1]"),
    ),
    Row(name="all images equally often", settings=("training.repeat_crops=0",)),
    Row(name="64 RoIs an image", settings=("targets.rois=64",)),
    Row(name="hard examples (OHEM)", settings=("targets.ohem=true",)),
    Row(name="no running average of weights", settings=("training.ema=0",)),
    Row(name="no elastic, paste, blur, noise", settings=_PLAIN),
    Row(name="no changes of intensity", settings=_LIGHT),
    Row(name="one scale", settings=("training.augmentation.scale=[1.0,1.0]",)),
    Row(name="float32", settings=("training.precision=float32",)),
    Row(
        name="input as it is, not twice as large",
        settings=(
            "preprocessing.zoom=1.0",
            "training.augmentation.crop=160",
            "rpn.anchor_sizes=[8.0,14.0,22.0,36.0,60.0]",
        ),
    ),
    Row(name="stride 16", settings=("backbone.stride=16",)),
    Row(name="score maps on conv2's grid (stride 4)", settings=("backbone.fusion=c2",)),
    Row(name="RoIs positive from IoU 0.6", settings=("targets.roi_positive=0.6",)),
    Row(name="mask loss three times", settings=("losses.mask_loss_weight=3.0",)),
    _look(AS_IT_IS),
    _look(
        "suppression by boxes alone, IoU 0.3",
        "detection.mask_suppression=none",
        "detection.nms=0.3",
    ),
    _look("scores times certainty of masks", "detection.mask_score=true"),
    _look("as many proposals whatever the size", "rpn.nms_area=0"),
    _look("300 proposals", "rpn.post_nms=300"),
    _look("500 proposals", "rpn.post_nms=500"),
    _look("proposals suppressed at IoU 0.6", "rpn.nms=0.6"),
    _look("100 instances an image", "detection.max_detections=100"),
    _look("one pass", "detection.passes=1"),
    _look("no voting on masks", "detection.merge_iou=1.0"),
)


def recipe(row: Row, steps: int) -> Recipe:
    """Return the recipe of a row, with fewer steps and a running average to match."""
    short = (f"training.steps={steps}", "training.validate_every=0", "training.workers=0")
    average = ("training.optimiser.warmup_steps=100", "training.ema=0.99")
    own = row.settings if row.is_trained else ()
    return with_settings(named_recipe("nuclei"), (*short, *average, *own))


def folder_of(out: Path, row: Row, steps: int) -> Path:
    """Return the run folder of a row that is trained."""
    return out / f"{re.sub('[^a-z0-9]+', '-', row.name.lower()).strip('-')}-{steps}"


def measure(
    row: Row, train_set: Dataset, val_set: Dataset, options: argparse.Namespace
) -> dict[str, object]:
    """Train a row if need be, and return its figures."""
    trained = {}
    if row.is_trained:
        folder = folder_of(options.out, row, options.steps)
        # thresholds are found anew below: a few images are enough for the weights file
        trained = train_rest(recipe(row, options.steps), train_set, val_set.first(8), folder)
        predictor = load_any(folder / BEST, device="cpu")
    else:
        change = partial(looking, list(row.settings))
        predictor = load_any(options.weights, device="cpu", change=change)
    told, _ = judge(predictor, val_set)
    return {"settings": row.settings, **trained, **told}


def wanted(begins: list[str]) -> list[Row]:
    """Return the rows with such names, or such beginnings of names; without any, all."""
    whole = {row.name for row in ROWS} & set(begins)
    begun = tuple(begin for begin in begins if begin not in whole)
    return [r for r in ROWS if not begins or r.name in whole or r.name.startswith(begun)]


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
        of = {"steps": options.steps} if row.is_trained else {"weights": options.weights}
        key = {"row": row.name} | of
        record_once(NAME, key, lambda row=row: measure(row, *datasets, options))


if __name__ == "__main__":
    main()
