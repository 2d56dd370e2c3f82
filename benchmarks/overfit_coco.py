"""Learn eight COCO images by heart, from scratch: can the whole method fit real images?

The images are the first eight, by file name, with at least four objects of more than 32 x 32
pixels. Smaller objects become crowd regions, which neither training nor metric looks at.

    python benchmarks/overfit_coco.py path/to/instances_train2017.json --out runs/overfit
"""

import argparse
from dataclasses import replace
from pathlib import Path

from records import add_record, learn

from fcis.data.dataset import Annotation, Dataset
from fcis.data.formats.coco import read_coco
from fcis.recipe.reading import read_recipe
from fcis.recipe.types import Augmentation, Recipe

LEAST_AREA = 32 * 32
LEAST_OBJECTS = 4
IMAGES = 8


def subset(dataset: Dataset) -> Dataset:
    """Return the eight images, with the categories that occur in them."""
    chosen = []
    for record in sorted(dataset.images, key=lambda record: record.file_name):
        kept = tuple(a if _counts(a) else replace(a, is_crowd=True) for a in record.annotations)
        if sum(map(_counts, record.annotations)) >= LEAST_OBJECTS:
            chosen.append(replace(record, annotations=kept))
        if len(chosen) == IMAGES:
            break
    used = {annotation.category_id for record in chosen for annotation in record.annotations}
    categories = tuple(c for c in dataset.categories if c.id in used)
    return replace(dataset, images=tuple(chosen), categories=categories)


def recipe() -> Recipe:
    """Return the recipe: the slim network of the scenes with larger anchors."""
    settings = (
        "rpn.anchor_sizes=[16.0,32.0,64.0,128.0,224.0]",
        "zoom=0.5",
        "steps=600",
        "batch=4",
        "validate_every=0",
        "lr=0.002",
    )
    base = read_recipe("scenes", settings)
    change = Augmentation(scale=(0.9, 1.1), crop=320)
    training = replace(base.training, augmentation=change)
    return replace(base, name="overfit-coco", training=training)


def main() -> None:
    """Train, evaluate on the same images, and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/overfit-coco"))
    options = parser.parse_args()
    images = options.annotations.parent.parent / options.annotations.stem.split("_")[-1]
    dataset = subset(read_coco(options.annotations, images))
    figures = learn(recipe(), dataset, dataset, options.out / "run")
    files = [record.file_name for record in dataset.images]
    add_record(
        "overfit-coco",
        {"images": len(dataset), "files": files, "steps": recipe().training.steps, **figures},
    )


def _counts(annotation: Annotation) -> bool:
    return not annotation.is_crowd and annotation.area > LEAST_AREA


if __name__ == "__main__":
    main()
