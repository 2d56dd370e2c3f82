"""`fcis demo` while no weights come with the package: train on scenes, show what was learnt.

To be deleted, with its test and the two lines of `fcis.commands.demo` that call it, when they do.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from fcis.commands.common import make_folder, write_json
from fcis.commands.evaluate import evaluate_predictor
from fcis.data.dataset import Dataset
from fcis.data.scenes import scene_dataset
from fcis.devices import choose_device
from fcis.predictor import Predictor, load_predictor
from fcis.recipe import Recipe
from fcis.recipes import named_recipe
from fcis.training.run import BEST, for_dataset, train
from fcis.visualize import contact_sheet

TRAIN_SCENES, HELD_OUT_SCENES = 1500, 64
TRAIN_SEED, HELD_OUT_SEED = 1, 2
_SIDE = 128  # px of a scene; small scenes, enlarged, show the network more of them in the time
_PICTURES = 12


def run(options: argparse.Namespace) -> int:
    """Train, measure on held-out scenes, draw overlays, and say where everything is."""
    out = options.out
    make_folder(out)
    device = choose_device(options.device)
    print(
        f"Training on {TRAIN_SCENES} synthetic scenes, where shape alone tells the categories; "
        f"{HELD_OUT_SCENES} others are held out."
    )
    train_set = scene_dataset(TRAIN_SCENES, TRAIN_SEED, size=(_SIDE, _SIDE))
    held_out = scene_dataset(HELD_OUT_SCENES, HELD_OUT_SEED, size=(_SIDE, _SIDE))
    recipe = for_dataset(demo_recipe(), train_set)
    result = train(recipe, train_set, held_out, out / "run", resume=True, device=device)
    predictor = load_predictor(out / "run" / BEST, device=device)
    report, found = evaluate_predictor(predictor, held_out)
    write_json(out / "predictions.json", found)
    write_json(out / "figures.json", report.to_json())
    draw_scenes(predictor, held_out, out / "overlays")
    print(report.summary())
    print(f"mask AP50 on {len(held_out)} held-out scenes: {report.segm.ap_50 or 0.0:.3f}")
    print(f"trained in {result.seconds / 60:.1f} min: {out / 'run'}")
    print(f"overlays:    {out / 'overlays'} (all in one: {out / 'overlays' / 'sheet.png'})")
    print(f"detections:  {out / 'predictions.json'}")
    print(f"try it:      fcis predict YOUR_IMAGES --weights {out / 'run'}")
    return 0


def demo_recipe() -> Recipe:
    """Return the recipe `scenes` for small scenes and a few minutes."""
    base = named_recipe("scenes")
    model = replace(
        base.model,
        rpn=replace(base.model.rpn, anchor_sizes=(24.0, 36.0, 54.0, 80.0)),
        preprocessing=replace(base.model.preprocessing, zoom=1.5),
    )
    training = replace(
        base.training,
        steps=1000,
        validate_every=0,
        workers=0,  # few cores: a second process would take more from the first than it gives
        optimiser=replace(base.training.optimiser, warmup_steps=50),
        augmentation=replace(base.training.augmentation, crop=192),
    )
    return replace(base, name="demo", model=model, training=training)


def draw_scenes(predictor: Predictor, dataset: Dataset, folder: Path) -> None:
    """Write overlays of the first images and one sheet of them."""
    make_folder(folder)
    pictures = []
    for record in dataset.images[:_PICTURES]:
        (found,) = predictor.detect([record.read()])
        picture = predictor.shown(found).draw()
        picture.save(folder / f"{record.file_name.rsplit('.', 1)[0]}.overlay.png")
        pictures.append(picture)
    contact_sheet(pictures, columns=4).save(folder / "sheet.png")
