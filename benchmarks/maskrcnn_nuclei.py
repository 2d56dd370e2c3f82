"""The peer on nuclei: torchvision's Mask R-CNN with a ResNet-50 and FPN, from scratch.

It sees the same images as `nuclei`, in the same order, with the same crops, mirrorings and
other changes, for as many epochs as it is told; its optimiser has the same schedule at a rate
of its own. What it finds is judged by the same code. One JSON line a finished run; an interrupted
one goes on where its last checkpoint was, and ends in the same weights on a CPU.

    python benchmarks/maskrcnn_nuclei.py path/to/nuclei --device cuda
"""

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from maskrcnn import build_maskrcnn, detect, torchvision_form
from records import add_record, open_nuclei
from torch.nn.utils import clip_grad_norm_
from torchvision.models.detection import MaskRCNN

from fcis.core.coco_types import CocoDetection
from fcis.core.output_files import put_file
from fcis.core.progress import progress
from fcis.data.dataset import Dataset
from fcis.evaluation.operating import best_thresholds
from fcis.evaluation.report import Report, evaluate
from fcis.inference.preprocess import prepare
from fcis.recipe.reading import read_recipe
from fcis.recipe.training import OptimiserRecipe
from fcis.recipe.types import Recipe
from fcis.training.batch import TrainingBatch
from fcis.training.loader import training_loader
from fcis.training.optim import learning_rate_factor
from fcis.training.run import for_dataset

NAME = "maskrcnn-nuclei"
CHECKPOINT = "last.pt"
_A_SEED = 1_000_003  # keeps the steps of two seeds apart


def recipe_of(options: argparse.Namespace, dataset: Dataset, steps: int) -> Recipe:
    """Return `nuclei` with the numbers of the command line: both networks read theirs from it."""
    fields = {
        "max_detections": options.detections,
        "targets.rois": options.rois,
        "training.steps": steps,
        "training.batch": options.batch,
        "training.seed": options.seed,
        "training.workers": options.workers,
        "optimiser.lr": options.lr,
        "augmentation.crop": options.crop,
    }
    recipe = read_recipe("nuclei", [f"{name}={value}" for name, value in fields.items()])
    return for_dataset(recipe, dataset)


def settings_of(recipe: Recipe) -> dict[str, float]:
    """Return what a run's weights depend on, its data and what all runs share aside."""
    training = recipe.training
    return {
        "steps": training.steps,
        "batch": training.batch,
        "crop": training.augmentation.crop,
        "rois": training.targets.rois,
        "lr": training.optimiser.lr,
        "seed": training.seed,
    }


def build_optimiser(model: MaskRCNN, recipe: OptimiserRecipe) -> torch.optim.AdamW:
    """Return AdamW; biases, scales and shifts are not decayed."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    decayed = {"params": matrices, "weight_decay": recipe.weight_decay}
    return torch.optim.AdamW([decayed, {"params": others, "weight_decay": 0.0}], lr=recipe.lr)


def load_checkpoint(
    path: Path, recipe: Recipe, model: MaskRCNN, optimiser: torch.optim.Optimizer
) -> tuple[int, float]:
    """Put a checkpoint into network and optimiser; return its step and seconds, 0 without one.

    Raises:
        SystemExit: the checkpoint is of another run.
    """
    if not path.is_file():
        return 0, 0.0
    state = torch.load(path, map_location=next(model.parameters()).device)
    if state["settings"] != settings_of(recipe):
        raise SystemExit(f"{path}: is of a run with {state['settings']}; choose another --out")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"], state["seconds"]


def make_step(
    model: MaskRCNN, optimiser: torch.optim.Optimizer, batch: TrainingBatch, clip_norm: float
) -> float:
    """Make one step and return the loss.

    Raises:
        SystemExit: the loss is not finite.
    """
    losses = model(*torchvision_form(batch))
    loss = torch.stack(list(losses.values())).sum()
    if not loss.isfinite():
        raise SystemExit(f"{', '.join(batch.names)}: the loss is not finite; lower --lr")
    optimiser.zero_grad()
    loss.backward()
    clip_grad_norm_(model.parameters(), clip_norm)
    optimiser.step()
    return loss.item()


def train(model: MaskRCNN, dataset: Dataset, recipe: Recipe, path: Path, every: int) -> float:
    """Train to the last step, from a checkpoint on if there is one; return seconds.

    Args:
        model: on its device.
        dataset: the training images.
        recipe: of the run.
        path: of the checkpoint.
        every: steps between checkpoints.
    """
    training, device = recipe.training, next(model.parameters()).device
    schedule = training.optimiser
    optimiser = build_optimiser(model, schedule)
    first, before = load_checkpoint(path, recipe, model, optimiser)
    started = time.perf_counter() - before
    batches = iter(training_loader(dataset, recipe, first))
    model.train()
    steps = range(first, training.steps)
    for step in (bar := progress(steps, total=len(steps), what="training", unit="step")):
        (batch,) = next(batches)
        # torchvision draws anchors and RoIs from the global generator
        torch.manual_seed(_A_SEED * training.seed + step)
        for group in optimiser.param_groups:
            group["lr"] = schedule.lr * learning_rate_factor(step, schedule, training.steps)
        loss = make_step(model, optimiser, batch.to(device), schedule.clip_norm)
        bar.set_postfix(loss=f"{loss:.3f}")
        if (step + 1) % every == 0 or step + 1 == training.steps:
            state = {
                "settings": settings_of(recipe),
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "seconds": time.perf_counter() - started,
            }
            put_file(path, partial(torch.save, state))
    return time.perf_counter() - started


def judge(model: MaskRCNN, dataset: Dataset, recipe: Recipe) -> Report:
    """Return all figures, at the operating thresholds that are best on this dataset."""
    device = next(model.parameters()).device
    names, ids = recipe.model.class_names, (0, *recipe.model.category_ids)
    found: list[CocoDetection] = []
    model.eval()
    started = time.perf_counter()
    for record in progress(dataset.images, total=len(dataset), what="evaluating"):
        pixels, plan = prepare(record.read(), recipe.model.preprocessing)
        size = (record.height, record.width)
        instances = detect(model, pixels.to(device), plan, size, names)
        found += replace(instances, category_ids=ids).to_coco(record.id)
    seconds = (time.perf_counter() - started) / max(1, len(dataset))
    truth = dataset.to_coco()
    return evaluate(
        truth,
        found,
        max_detections=recipe.model.detection.max_detections,
        thresholds=best_thresholds(truth, found),
        seconds_per_image=seconds,
    )


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path, help="folder with train.json, val.json and images/")
    parser.add_argument("--out", type=Path, default=Path(f"runs/{NAME}"))
    parser.add_argument("--epochs", type=float, default=74.0, help="74 are those of nuclei")
    parser.add_argument("--steps", type=int, help="in place of --epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=320, help="px of the resized image")
    parser.add_argument("--rois", type=int, default=128, help="an image in the heads' losses")
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--workers", type=int, default=1, help="processes that read images")
    parser.add_argument("--detections", type=int, default=400, help="an image at most")
    parser.add_argument("--val-images", type=int, help="validate on the first ones alone")
    parser.add_argument("--checkpoint-every", type=int, default=100, help="steps")
    return parser.parse_args()


def main() -> None:
    """Train what is missing, evaluate, and write one line."""
    options = parse()
    train_set, val_set = open_nuclei(options.nuclei)
    val_set = replace(val_set, images=val_set.images[: options.val_images])
    with_objects = sum(bool(record.annotations) for record in train_set.images)
    steps = options.steps or max(1, round(options.epochs * with_objects / options.batch))
    recipe = recipe_of(options, train_set, steps)
    options.out.mkdir(parents=True, exist_ok=True)
    model = build_maskrcnn(recipe.model, seed=options.seed, rois=options.rois).to(options.device)
    path = options.out / CHECKPOINT
    seconds = train(model, train_set, recipe, path, options.checkpoint_every)
    report = judge(model, val_set, recipe)
    print(report.summary())
    figures = {
        **settings_of(recipe),
        "epochs": round(steps * options.batch / with_objects, 2),
        "parameters": sum(p.numel() for p in model.parameters()),
        "minutes": round(seconds / 60, 1),
        **report.to_json(),
    }
    add_record(NAME, figures, device=options.device)


if __name__ == "__main__":
    main()
