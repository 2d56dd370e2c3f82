"""Where a network for nuclei goes wrong: recall by size, touching pairs, causes of false ones.

Weights are tried as they are, or with another way from scores to instances, which needs no
training: any field of their model recipe that is not part of the network. The operating threshold
is the best one on the same images each time, as it is when a training ends. One JSON line a run in
results/nuclei-errors.jsonl, and a picture.

    python benchmarks/nuclei_errors.py path/to/nuclei --weights runs/cells
    python benchmarks/nuclei_errors.py path/to/nuclei --weights runs/cells \\
        --set detection.mask_suppression=soft --set rpn.nms=0.6
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import records

from fcis.data.dataset import Dataset
from fcis.data.formats.coco import read_coco
from fcis.evaluation.mistakes import Mistakes, draw_mistakes, find_mistakes
from fcis.evaluation.operating import best_thresholds
from fcis.evaluation.records import read_evaluation_set, strongest
from fcis.evaluation.report import evaluate
from fcis.inference.evaluate_dataset import detect_all
from fcis.inference.load_predictor import load_any
from fcis.inference.predictor import Predictor
from fcis.recipe.as_json import with_setting
from fcis.recipe.types import ModelRecipe

NAME = "nuclei-errors"
FREE = ("detection.", "rpn.pre_nms", "rpn.post_nms", "rpn.nms", "rpn.min_size", "preprocessing.")


def looking(settings: Sequence[str], recipe: ModelRecipe) -> ModelRecipe:
    """Return a recipe that goes from images to input and from output to instances in another way.

    Raises:
        SystemExit: a field belongs to the trained network.
    """
    for setting in settings:
        key, _, value = setting.partition("=")
        if not key.startswith(FREE):
            raise SystemExit(f"--set {key}: only {', '.join(FREE)} can be changed after training")
        recipe = with_setting(recipe, key, value)
    return recipe


def judge(predictor: Predictor, dataset: Dataset) -> tuple[dict[str, object], Mistakes]:
    """Return the figures of a predictor at the thresholds that are best here, and what is wrong."""
    found, seconds = detect_all(predictor, dataset)
    truth, most = dataset.to_coco(), predictor.info.model.detection.max_detections
    thresholds = best_thresholds(truth, found)
    mistakes = find_mistakes(strongest(read_evaluation_set(truth, found), most), thresholds)
    figures = evaluate(truth, found, max_detections=most, thresholds=thresholds).to_json()
    told = {
        "images": len(dataset),
        "seconds_per_image": round(seconds, 3),
        "threshold": [round(value, 4) for value in thresholds.values()],
        "segm": figures["segm"],
        "dsb": figures["dsb"],
        "mistakes": mistakes.to_json(),
    }
    return told, mistakes


def main() -> None:
    """Detect, count, write one line and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path, help="folder with val.json and images/")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--every", type=int, default=1, help="look at every so manieth image")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", type=Path, default=records.RESULTS / f"{NAME}.png")
    options = parser.parse_args()
    dataset = read_coco(options.nuclei / f"{options.split}.json")
    dataset = replace(dataset, images=dataset.images[:: options.every])
    change = partial(looking, options.set)
    predictor = load_any(options.weights, device=options.device, change=change)
    told, mistakes = judge(predictor, dataset)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    draw_mistakes(mistakes).savefig(options.picture, dpi=110)
    key = {"recipe": predictor.info.recipe, "settings": options.set, "split": options.split}
    records.add_record(NAME, key | told, device=options.device)


if __name__ == "__main__":
    main()
