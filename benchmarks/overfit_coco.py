"""Learn eight COCO images by heart, from scratch: can the whole method fit real images?

The images are the first eight, by file name, with at least four objects of more than 32 x 32
pixels. Smaller objects become crowd regions, which neither training nor metric looks at.

    python benchmarks/overfit_coco.py path/to/instances_train2017.json --out runs/overfit
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from records import add_record

from fcis.data.formats.coco import read_coco
from fcis.inference.evaluate_dataset import evaluate_predictor
from fcis.inference.predictor import load_predictor
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Augmentation, Recipe
from fcis.training.run import BEST, for_dataset, train

LEAST_AREA = 32 * 32
LEAST_OBJECTS = 4
IMAGES = 8


def subset(annotations: Path) -> dict:
    """Return the COCO dictionary of the eight images and the categories that occur in them."""
    data = json.loads(annotations.read_text())
    by_image: dict[int, list[dict]] = {}
    for annotation in data["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    chosen = []
    for image in sorted(data["images"], key=lambda i: i["file_name"]):
        objects = [a for a in by_image.get(image["id"], []) if _counts(a)]
        if len(objects) >= LEAST_OBJECTS:
            chosen.append(image)
        if len(chosen) == IMAGES:
            break
    kept = [
        a | {"iscrowd": 0 if _counts(a) else 1} for i in chosen for a in by_image.get(i["id"], [])
    ]
    used = {a["category_id"] for a in kept}
    return {
        "images": chosen,
        "annotations": kept,
        "categories": [c for c in data["categories"] if c["id"] in used],
    }


def recipe() -> Recipe:
    """Return the recipe: the slim network of the scenes with larger anchors."""
    base = named_recipe("scenes")
    model = replace(
        base.model,
        rpn=replace(base.model.rpn, anchor_sizes=(16.0, 32.0, 64.0, 128.0, 224.0)),
        preprocessing=replace(base.model.preprocessing, zoom=0.5),
    )
    training = replace(
        base.training,
        steps=600,
        batch=4,
        validate_every=0,
        optimiser=replace(base.training.optimiser, lr=0.002),
        augmentation=Augmentation(scale=(0.9, 1.1), crop=320),
    )
    return replace(base, name="overfit-coco", model=model, training=training)


def main() -> None:
    """Train, evaluate on the same images, and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/overfit-coco"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "annotations.json"
    path.write_text(json.dumps(subset(options.annotations)))
    images = options.annotations.parent.parent / options.annotations.stem.split("_")[-1]
    dataset = read_coco(path, images)
    started = time.perf_counter()
    full = for_dataset(recipe(), dataset)
    train(full, dataset, dataset, options.out / "run", resume=True)
    minutes = (time.perf_counter() - started) / 60
    report, _ = evaluate_predictor(load_predictor(options.out / "run" / BEST), dataset)
    print(report.summary())
    add_record(
        "overfit-coco",
        {
            "images": len(dataset),
            "files": [r.file_name for r in dataset.images],
            "steps": full.training.steps,
            "minutes": round(minutes, 1),
            "segm": report.to_json()["segm"],
        },
    )


def _counts(annotation: dict) -> bool:
    return not annotation["iscrowd"] and annotation["area"] > LEAST_AREA


if __name__ == "__main__":
    main()
