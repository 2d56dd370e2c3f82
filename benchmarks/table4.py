"""The ladder of the competition entry, on nuclei (Paper: 4.3, table 4).

Four networks are trained from scratch, each for a few minutes on a CPU: one at a single scale, the
same at random scales, and two of other shapes and seeds at random scales. Then each row of the
paper's table adds one tool to those above it. At the end the rows take turns on the same images,
for the time of one. One JSON line a finished training, a finished row and the times; what is in the
results already is not done again, and an interrupted training goes on.

    python benchmarks/table4.py path/to/nuclei --out runs/table4 --steps 420
"""

import argparse
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from records import add_record, read_records

from fcis.data.dataset import Dataset
from fcis.data.formats.coco import read_coco
from fcis.inference.evaluate_dataset import evaluate_predictor
from fcis.inference.load_predictor import load_any
from fcis.inference.predictor import Predictor
from fcis.inference.test_time.ensemble import Averaging
from fcis.inference.test_time.scales import read_scales
from fcis.lab.benchmark.timing import Method, alternate, device_clock
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Recipe
from fcis.training.run import BEST, for_dataset, train

NAME = "table4"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "test-time.md"
BLOCK = re.compile(r"(<!-- begin table4 -->\n).*?(<!-- end table4 -->)", re.DOTALL)
SINGLE, MULTI = "single-scale", "multi-scale"
FURTHER = ("ensemble-b", "ensemble-c")
TRAININGS = (SINGLE, MULTI, *FURTHER)
TIMED_IMAGES, TIMED_ROUNDS = 5, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table: networks, and what they are tested with."""

    name: str
    networks: tuple[str, ...]
    multi_scale: bool = True
    flip: bool = True


ROWS = (
    Row(name="baseline", networks=(SINGLE,), multi_scale=False, flip=False),
    Row(name="+ multi-scale testing", networks=(SINGLE,), flip=False),
    Row(name="+ horizontal flip", networks=(SINGLE,)),
    Row(name="+ multi-scale training", networks=(MULTI,)),
    Row(name="+ ensemble of 3", networks=(MULTI, *FURTHER)),
)


def recipe(name: str, steps: int) -> Recipe:
    """Return how one of the networks is trained: `nuclei-cpu`, cut short and changed."""
    base = named_recipe("nuclei-cpu")
    model, training = base.model, replace(base.training, steps=steps, validate_every=0)
    if name == SINGLE:
        single = replace(training.augmentation, scale=(1.0, 1.0))
        training = replace(training, augmentation=single)
    elif name == FURTHER[0]:
        deeper = replace(model.backbone, depths=(1, 1, 2, 1), widths=(24, 64, 96, 128))
        model, training = replace(model, backbone=deeper), replace(training, seed=1)
    elif name == FURTHER[1]:
        wider = replace(model.backbone, widths=(24, 64, 112, 160))
        model, training = replace(model, backbone=wider), replace(training, seed=2)
    return replace(base, name=f"nuclei-{name}", model=model, training=training)


def folder_of(out: Path, name: str, steps: int) -> Path:
    """Return the run folder of a network."""
    return out / f"{name}-{steps}"


def train_missing(train_set: Dataset, val_set: Dataset, out: Path, steps: int) -> None:
    """Train each network that is not finished, one after the other."""
    recorded = {line["training"] for line in read_records(NAME) if line.get("steps") == steps and
                "training" in line}  # fmt: skip
    for name in TRAININGS:
        full = for_dataset(recipe(name, steps), train_set)
        folder = folder_of(out, name, steps)
        result = train(full, train_set, val_set, folder, resume=True)
        if name in recorded and result.images == 0:
            continue
        # a run that was taken up again knows the time of its last part alone
        whole = result.images == steps * full.training.batch
        add_record(
            NAME,
            {
                "training": name,
                "steps": steps,
                "minutes": round(result.seconds / 60, 1) if whole else None,
                "AP": result.best,
            },
        )


def evaluate_missing(val_set: Dataset, options: argparse.Namespace) -> None:
    """Evaluate each row that is not finished."""
    for row in ROWS:
        settings = {
            "row": row.name,
            "steps": options.steps,
            "scales": options.scales if row.multi_scale else "",
            "roi_side": options.roi_side if row.multi_scale else 0.0,
        }
        if any(settings.items() <= line.items() for line in read_records(NAME) if "row" in line):
            continue
        predictor = open_row(row, options)
        report, _ = evaluate_predictor(predictor, val_set)
        figures = report.to_json()
        kept = {name: figures[name] for name in ("segm", "dsb", "seconds_per_image")}
        add_record(NAME, settings | {"networks": row.networks, "flip": row.flip} | kept)


def open_row(row: Row, options: argparse.Namespace) -> Predictor:
    """Return what tests a row."""
    scales = read_scales(options.scales.split(",")) if row.multi_scale else ()
    return load_any(
        [folder_of(options.out, name, options.steps) / BEST for name in row.networks],
        device="cpu",
        averaging=Averaging(scales=scales, flip=row.flip, roi_side=options.roi_side),
    )


def measure_times(val_set: Dataset, options: argparse.Namespace) -> None:
    """Measure how long an image takes, all rows in turn."""
    settings = {"timed": "rows", "steps": options.steps, "scales": options.scales}
    if any(settings.items() <= line.items() for line in read_records(NAME)):
        return
    every = max(1, len(val_set) // TIMED_IMAGES)
    images = [record.read() for record in val_set.images[::every]][:TIMED_IMAGES]

    def work(row: Row) -> Callable[[], object]:
        predictor = open_row(row, options)
        return lambda: [predictor.detect([image]) for image in images]

    works = {row.name: work(row) for row in ROWS}
    seconds = alternate(works, Method(rounds=TIMED_ROUNDS), device_clock("cpu"))
    medians = {name: statistics.median(found) / len(images) for name, found in seconds.items()}
    add_record(NAME, settings | {"images": len(images), "seconds_per_image": medians})


def write_table(options: argparse.Namespace) -> None:
    """Put the rows of these settings between the marks in the documentation, if all are there."""
    found: dict[str, dict] = {}
    for line in read_records(NAME):
        is_trained_so = line.get("steps") == options.steps
        is_tested_so = line.get("scales") in ("", options.scales)
        is_read_so = line.get("roi_side", 0.0) in (0.0, options.roi_side)
        if is_trained_so and is_tested_so and is_read_so:
            found[line.get("row", "times")] = line
    if len(found) < len(ROWS) + 1:
        return
    seconds = found["times"]["seconds_per_image"]
    text = [
        "| | AP | AP50 | AP75 | dsb at 0.5 | s / image |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        line = found[row.name]
        figures = [line["segm"][name] for name in ("AP", "AP50", "AP75")] + [line["dsb"]["0.50"]]
        cells = [f"{figure:.3f}" for figure in figures] + [f"{seconds[row.name]:.2f}"]
        text.append(f"| {row.name} | {' | '.join(cells)} |")
    table = "\n".join(text)
    print(table)
    page = DOCUMENT.read_text()
    DOCUMENT.write_text(BLOCK.sub(lambda match: f"{match[1]}{table}\n{match[2]}", page))


def main() -> None:
    """Train and evaluate what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path, help="folder with train.json, val.json and images/")
    parser.add_argument("--out", type=Path, default=Path("runs/table4"))
    parser.add_argument("--steps", type=int, default=420)
    parser.add_argument("--scales", default="0.7x,1x,1.4x", help="of multi-scale testing")
    parser.add_argument("--roi-side", type=float, default=45.0, help="px, of multi-scale testing")
    parser.add_argument("--train-only", action="store_true", help="leave the rows out")
    options = parser.parse_args()
    train_set, val_set = (read_coco(options.nuclei / f"{s}.json") for s in ("train", "val"))
    train_missing(train_set, val_set, options.out, options.steps)
    if not options.train_only:
        evaluate_missing(val_set, options)
        measure_times(val_set, options)
        write_table(options)


if __name__ == "__main__":
    main()
