"""Find objects in drawn images with weights of the package, then train a little."""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from fcis.core.devices import choose_device
from fcis.core.output_files import make_folder, write_json
from fcis.data.dataset import Dataset
from fcis.data.scenes.cell_scenes import cell_dataset
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.imaging.drawing import contact_sheet
from fcis.imaging.instances import Instances
from fcis.inference.evaluate_dataset import evaluate_predictor
from fcis.inference.load_predictor import load_any
from fcis.inference.results.result_pictures import OVERLAY
from fcis.recipe.named import named_recipe
from fcis.recipe.reading import read_recipe
from fcis.recipe.types import Recipe
from fcis.training.metrics import CURVES, read_metrics
from fcis.training.run import for_dataset, train

NUCLEI, SCENES = "nuclei", "scenes"
SHOWN = 8  # images of each kind
STEPS = 60
_SEED, _TRAIN_SEED, _VAL_SEED = 2, 1, 3
_TRAIN_SCENES, _VAL_SCENES = 200, 4
_SIDE = 192  # px of a scene to train on
SHEET = "sheet.png"
FOUND, FIGURES = "predictions.json", "figures.json"


def show_all(out: Path, *, device: str = "auto") -> None:
    """Show what the weights of the package find, what training does, and how to go on.

    Raises:
        InputError: the folder cannot be written, there is no such device, or weights are missing.
    """
    make_folder(out)
    device = choose_device(device)
    images = {NUCLEI: cell_dataset(SHOWN, _SEED), SCENES: scene_dataset(SHOWN, _SEED)}
    for name, dataset in images.items():
        show(name, dataset, out / name, device)
    show_training(out / "run", device)
    print("next:")
    print(f"  fcis predict YOUR_IMAGES --weights {NUCLEI}")
    print(f"  fcis info {NUCLEI}")
    further = f"--recipe nuclei --weights {NUCLEI} --set steps=1000"
    print(f"  fcis train --train DATA --val DATA {further}")


def show(name: str, dataset: Dataset, folder: Path, device: str) -> None:
    """Find the objects of drawn images, and leave overlays, detections and figures in a folder."""
    predictor = load_any(name, device=device)
    print(f"{len(dataset)} drawn images with the weights {name} ({predictor.info.about}):")
    make_folder(folder)
    pictures, counts = list[Image.Image](), list[int]()

    def draw(instances: Instances) -> None:
        shown = predictor.shown(instances)
        path = folder / f"{Path(instances.file_name).stem}{OVERLAY}"
        pictures.append(shown.draw())
        pictures[-1].save(path)
        counts.append(len(shown))
        if len(pictures) == 1:
            print(f"  first picture: {path}", flush=True)

    report, found = evaluate_predictor(predictor, dataset, watch=draw)
    contact_sheet(pictures, columns=4).save(folder / SHEET)
    write_json(folder / FOUND, found)
    write_json(folder / FIGURES, report.to_json())
    figure = report.segm.ap_50 or 0.0
    print(f"  {sum(counts)} objects found; mask AP50 {figure:.3f}", flush=True)
    print(f"  all images:    {folder / SHEET}")
    print(f"  detections:    {folder / FOUND}")


def show_training(folder: Path, device: str) -> None:
    """Train from scratch for so long that the loss falls; far too short to find anything."""
    recipe = short_recipe()
    print(f"training a network from scratch on drawn scenes, {recipe.training.steps} steps:")
    train_set = scene_dataset(_TRAIN_SCENES, _TRAIN_SEED, size=(_SIDE, _SIDE))
    val_set = scene_dataset(_VAL_SCENES, _VAL_SEED, size=(_SIDE, _SIDE))
    recipe = for_dataset(recipe, train_set)
    train(recipe, train_set, val_set, folder, resume=True, device=device)
    losses = [float(row["loss"]) for row in read_metrics(folder) if row["loss"]]
    whole = named_recipe(SCENES).training.steps
    print(f"  the loss went from {losses[0]:.2f} to {losses[-1]:.2f}; {whole} steps are usual")
    print(f"  losses:        {folder / CURVES}")


def short_recipe() -> Recipe:
    """Return the recipe `scenes` for a look at training."""
    settings = {
        "steps": STEPS,
        "validate_every": 0,
        "training.workers": 0,  # on few cores a second process takes more than it gives
        "warmup_steps": 10,
        "augmentation.crop": _SIDE,
    }
    recipe = read_recipe(SCENES, [f"{name}={value}" for name, value in settings.items()])
    return replace(recipe, name="demo")
