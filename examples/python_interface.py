"""From a dataset to results by the Python interface alone: open, train, evaluate, predict, write.

    python examples/python_interface.py OUT

takes a minute on a CPU. The scenes are drawn; with images of one's own, name a COCO file, a folder
of LabelMe files or of masks in their place.
"""

import json
import logging
import sys
from pathlib import Path

import fcis


def main(out: Path) -> None:
    """Leave a run, figures and predictions in a folder."""
    logging.getLogger("fcis").setLevel(logging.INFO)
    logging.getLogger("fcis").addHandler(logging.StreamHandler(sys.stdout))
    train, val = fcis.open_dataset("scenes:8:1"), fcis.open_dataset("scenes:4:2")
    recipe = fcis.named_recipe("tiny", ["steps=30", "crop=96"])
    run = fcis.train(train, val, recipe=recipe, out=out / "run", device="cpu")

    predictor = fcis.load(run.folder, device="cpu")
    figures = fcis.evaluate(val, predictor)
    (out / "figures.json").write_text(json.dumps(figures.to_json(), indent=1))
    print(f"mask AP {figures.to_json()['segm']['AP']:.3f}")

    image = val.images[0].read()
    for instance in predictor(image, score_threshold=0.05):
        print(f"{instance.class_name}: score {instance.score:.2f}, {instance.area} px")
    outcome = predictor.predict_files("scenes:3:4", out / "found", save="overlay,coco,masks")
    print(f"{outcome.instances} instances in {outcome.done} images: {out / 'found'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
