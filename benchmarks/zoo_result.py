"""Evaluate a run whose weights are for the package, and record it for `tools/zoo_card.py`.

The figures are those of `fcis evaluate` with the run's best weights and nothing else. One JSON line
in results/NAME.jsonl, with what the run's folder says of the training.

    python benchmarks/zoo_result.py runs/nuclei --data path/to/nuclei/val.json --name zoo-nuclei \\
        --minutes 62 --trained-on "nuclei train.json, 435 images"
"""

import argparse
import json
from pathlib import Path

from records import add_record

from fcis.data.source import open_dataset
from fcis.inference.evaluate_dataset import evaluate_predictor
from fcis.inference.load_predictor import load_any
from fcis.training.metrics import read_metrics
from fcis.training.run import BEST

KEPT = ("segm", "bbox", "voc", "dsb", "max_detections", "images", "seconds_per_image")
VALIDATED = ("val_AP", "val_AP50", "val_AP75")


def by_step(run: Path) -> dict[str, list[float]]:
    """Return AP, AP50 and AP75 of each validation of a run."""
    rows = [row for row in read_metrics(run) if row["val_AP"]]
    return {row["step"]: [round(float(row[name]), 3) for name in VALIDATED] for row in rows}


def main() -> None:
    """Evaluate and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of `fcis train`")
    parser.add_argument("--data", required=True, help="as `fcis evaluate` takes it")
    parser.add_argument("--name", required=True, help="of the results")
    parser.add_argument("--minutes", type=float, required=True, help="that the training took")
    parser.add_argument("--trained-on", required=True, help="data, in words")
    options = parser.parse_args()
    recipe = json.loads((options.run / "recipe.json").read_text())
    dataset = open_dataset(options.data)
    report, _ = evaluate_predictor(load_any(options.run / BEST, device="cpu"), dataset)
    figures = report.to_json()
    add_record(
        options.name,
        {
            "recipe": recipe["name"],
            "seed": recipe["training"]["seed"],
            "steps": recipe["training"]["steps"],
            "precision": recipe["training"]["precision"],
            "minutes": options.minutes,
            "train": options.trained_on,
            "val": options.data.rsplit("/", 1)[-1] + f", {len(dataset)} images",
            **{name: figures[name] for name in KEPT},
            "by_step": by_step(options.run),
        },
    )


if __name__ == "__main__":
    main()
