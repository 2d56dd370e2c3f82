"""`fcis demo`: train on synthetic scenes for a few minutes and show what was learnt."""

import argparse
from dataclasses import replace
from pathlib import Path

from fcis.commands.common import make_folder, write_json
from fcis.commands.evaluate import evaluate_predictor
from fcis.data.dataset import Dataset
from fcis.data.source import open_dataset
from fcis.predictor import Predictor, choose_device, load_predictor
from fcis.recipes import named_recipe
from fcis.training.run import BEST, for_dataset, train
from fcis.visualize import contact_sheet

TRAIN, HELD_OUT = "scenes:1500:1", "scenes:64:2"
STEPS = 900
_PICTURES = 12


def run(options: argparse.Namespace) -> int:
    """Train, measure on held-out scenes, draw overlays, and say where everything is."""
    out = options.out
    make_folder(out)
    device = choose_device(options.device)
    print(f"Training on synthetic scenes ({TRAIN}); the categories differ by shape alone.")
    train_set, held_out = open_dataset(TRAIN), open_dataset(HELD_OUT)
    recipe = for_dataset(named_recipe("scenes"), train_set)
    recipe = replace(recipe, training=replace(recipe.training, steps=STEPS, validate_every=0))
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
