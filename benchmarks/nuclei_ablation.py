"""What each choice of the recipe `nuclei` brings: short trainings that lack one of them.

The rows of the first kind are trained: the recipe with fewer steps, but for what their name says.
Those of the second look with the weights `nuclei`, or others, in another way. One JSON line a row
in results/nuclei-ablation.jsonl; rows that have one are left out, an interrupted training goes on.
The tables are written into docs/nuclei.md.

    python benchmarks/nuclei_ablation.py path/to/nuclei --out runs/ablation [ROW ...]
"""

import argparse
import re
import time
from dataclasses import dataclass
from pathlib import Path

from nuclei_errors import judge, with_settings
from records import add_record, read_records

from fcis.data.dataset import Dataset
from fcis.data.formats.coco import read_coco
from fcis.inference.predictor import load_predictor
from fcis.recipe.as_json import with_setting
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Recipe
from fcis.training.run import BEST, for_dataset, train
from fcis.training.samples import TrainingSamples
from fcis.weights.catalog import resolve_weights

NAME = "nuclei-ablation"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "nuclei.md"
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
    Row(name="mask loss three times", settings=("conventions.mask_loss_weight=3.0",)),
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
    found = named_recipe("nuclei")
    short = (f"training.steps={steps}", "training.validate_every=0", "training.workers=0")
    for setting in (*short, "training.optimiser.warmup_steps=100", "training.ema=0.99"):
        found = with_setting(found, *setting.split("=", 1))
    for setting in row.settings if row.is_trained else ():
        found = with_setting(found, *setting.split("=", 1))
    return found


def folder_of(out: Path, row: Row, steps: int) -> Path:
    """Return the run folder of a row that is trained."""
    return out / f"{re.sub('[^a-z0-9]+', '-', row.name.lower()).strip('-')}-{steps}"


def run(row: Row, train_set: Dataset, val_set: Dataset, options: argparse.Namespace) -> None:
    """Train a row if need be, evaluate it, and record the figures."""
    timed: dict[str, object] = {}
    if not row.is_trained:
        weights = resolve_weights(options.weights)
    else:
        folder = folder_of(options.out, row, options.steps)
        weights = folder / BEST
        full = for_dataset(recipe(row, options.steps), train_set)
        started = time.perf_counter()
        # thresholds are found anew below: a few images are enough for the weights file
        result = train(full, train_set, val_set.first(8), folder, resume=True)
        if result.images == options.steps * full.training.batch:
            timed["minutes"] = round((time.perf_counter() - started) / 60, 2)
        timed["epochs"] = round(result.images / len(TrainingSamples(train_set, full).images), 1)
    predictor = load_predictor(weights)
    with_settings(predictor, [] if row.is_trained else list(row.settings))
    told, _ = judge(predictor, val_set)
    add_record(NAME, key_of(row, options) | {"settings": row.settings} | timed | told)


def key_of(row: Row, options: argparse.Namespace) -> dict[str, object]:
    """Return what a row's line must agree in to count as its own."""
    of = {"steps": options.steps} if row.is_trained else {"weights": options.weights}
    return {"row": row.name} | of


def found_lines(options: argparse.Namespace) -> dict[str, dict]:
    """Return the finished rows of these options, by name."""
    wanted = {row.name: key_of(row, options) for row in ROWS}
    lines = read_records(NAME)
    return {n: line for line in lines for n, k in wanted.items() if k.items() <= line.items()}


def write_tables(found: dict[str, dict]) -> None:
    """Put the finished rows between the marks in the documentation."""
    page = DOCUMENT.read_text()
    for mark, is_trained in (("trained", True), ("looked", False)):
        rows = [r for r in ROWS if r.name in found and r.is_trained == is_trained]
        if rows:
            table = "\n".join(_table(rows, found))
            block = re.compile(rf"(<!-- begin {mark} -->\n).*?(<!-- end {mark} -->)", re.DOTALL)
            page = block.sub(lambda match, new=table: f"{match[1]}{new}\n{match[2]}", page)
    DOCUMENT.write_text(page)


def _table(rows: list[Row], found: dict[str, dict]) -> list[str]:
    text = [
        "| | AP | AP50 | AP75 | AP small | right at 0.5 | pairs merged, split |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        line = found[row.name]
        values = [line["segm"][name] for name in ("AP", "AP50", "AP75", "AP_small")]
        values.append(line["dsb"]["0.50"])
        pairs = line["mistakes"]["touching"]
        cells = [f"{value:.3f}" for value in values]
        cells.append(f"{pairs['merged']}, {pairs['split']}")
        text.append(f"| {row.name} | {' | '.join(cells)} |")
    return text


def wanted(begins: list[str]) -> list[Row]:
    """Return the rows with such names, or such beginnings of names; without any, all."""
    names = {row.name for row in ROWS}

    def is_meant(row: Row, begin: str) -> bool:
        return row.name == begin if begin in names else row.name.startswith(begin)

    return [row for row in ROWS if not begins or any(is_meant(row, begin) for begin in begins)]


def main() -> None:
    """Run what has no line yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path, help="folder with train.json, val.json and images/")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="a row's name, or its beginning")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--weights", default="nuclei", help="of the rows that need no training")
    options = parser.parse_args()
    train_set, val_set = (read_coco(options.nuclei / f"{s}.json") for s in ("train", "val"))
    for row in wanted(options.rows):
        if row.name not in found_lines(options):
            run(row, train_set, val_set, options)
    write_tables(found_lines(options))


if __name__ == "__main__":
    main()
