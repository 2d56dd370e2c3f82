"""Which values of a recipe make sense for a run; the types leave that open."""

import torch

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.recipe.types import Augmentation, OptimiserRecipe, Recipe, TargetRecipe, TrainingRecipe

_Rule = tuple[str, object, bool, str]
_NAMES_SHOWN = 5


def check_training(recipe: Recipe) -> None:
    """Check how a recipe trains.

    Raises:
        InputError: naming the field, its value and what it may be.
    """
    training = recipe.training
    rules = [
        *_run_rules(training),
        *_optimiser_rules(training.optimiser),
        *_target_rules(training.targets),
        *_augmentation_rules(training.augmentation),
    ]
    for name, value, good, expected in rules:
        if not good:
            raise InputError(f"recipe: training.{name} is {value!r}, expected {expected}")
    sides = training.augmentation.sides
    if sides and not recipe.model.preprocessing.short_side:
        raise InputError(
            f"recipe: training.augmentation.sides is {sides!r}, but the model resizes by a fixed "
            "zoom (model.preprocessing.short_side is 0); take training.augmentation.scale"
        )
    channels = recipe.model.backbone.in_channels
    change = training.augmentation
    if channels != 3 and (change.saturation or change.hue):
        raise InputError(
            f"recipe: training.augmentation.saturation and hue are for colours, but "
            f"model.backbone.in_channels is {channels}; set both to 0"
        )


def check_devices(training: TrainingRecipe, device: str) -> None:
    """Check that a run may have as many devices as its recipe says.

    Raises:
        InputError: naming what is asked for and what there is.
    """
    kind, _, number = device.partition(":")
    count = training.devices
    if count * training.num_nodes == 1:
        return
    if kind == "mps" or number:
        raise InputError(
            f"device {device}: is a single one, the recipe asks for {count} on "
            f"{training.num_nodes} node(s); take cuda or cpu, or --set devices=1"
        )
    if kind == "cuda" and count > torch.cuda.device_count():
        raise InputError(
            f"recipe: training.devices is {count}, but this machine has "
            f"{torch.cuda.device_count()} CUDA device(s)"
        )


def check_categories(recipe: Recipe, train_set: Dataset, val_set: Dataset) -> None:
    """Check that both datasets and the recipe have the same categories.

    Raises:
        InputError: naming what differs.
    """
    first, second = train_set.class_names[1:], val_set.class_names[1:]
    if first != second or train_set.label_of != val_set.label_of:
        raise InputError(
            f"{val_set.name}: its categories ({_listed(val_set)}) are not those of "
            f"{train_set.name} ({_listed(train_set)}); make them equal, ids included"
        )
    if recipe.model.class_names != first or recipe.model.category_ids != tuple(train_set.label_of):
        raise InputError(f"{train_set.name}: its categories are not those of the recipe")


def _listed(dataset: Dataset) -> str:
    shown = [f"{c.id} {c.name}" for c in dataset.categories[:_NAMES_SHOWN]]
    more = len(dataset.categories) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _run_rules(training: TrainingRecipe) -> list[_Rule]:
    return [
        ("steps", training.steps, training.steps >= 1, "at least 1"),
        ("batch", training.batch, training.batch >= 0, "at least 1, or 0 for what fits"),
        (
            "batch",
            training.batch,
            training.batch > 0 or training.devices * training.num_nodes == 1,
            "at least 1 on several devices; batch=0 on one of them tells what fits",
        ),
        ("accumulate", training.accumulate, training.accumulate >= 1, "at least 1"),
        ("seed", training.seed, training.seed >= 0, "at least 0"),
        ("validate_every", training.validate_every, training.validate_every >= 0, "at least 0"),
        (
            "checkpoint_every",
            training.checkpoint_every,
            training.checkpoint_every >= 1,
            "at least 1",
        ),
        ("workers", training.workers, training.workers >= 0, "at least 0"),
        ("devices", training.devices, training.devices >= 1, "at least 1"),
        ("num_nodes", training.num_nodes, training.num_nodes >= 1, "at least 1"),
        (
            "repeat_threshold",
            training.repeat_threshold,
            0 <= training.repeat_threshold <= 1,
            "0 to 1",
        ),
        (
            "repeat_crops",
            training.repeat_crops,
            0 <= training.repeat_crops <= 1
            and (training.augmentation.crop > 0 or training.repeat_crops == 0),
            "0 to 1, and 0 where augmentation.crop is 0",
        ),
        ("ema", training.ema, 0 <= training.ema < 1, "0 to below 1"),
        ("patience", training.patience, training.patience >= 0, "at least 0"),
        (
            "patience",
            training.patience,
            not training.patience or training.validate_every > 0,
            "0 where validate_every is 0",
        ),
        ("pictures", training.pictures, training.pictures >= 0, "at least 0"),
    ]


def _optimiser_rules(optimiser: OptimiserRecipe) -> list[_Rule]:
    milestones = optimiser.milestones
    return [
        ("optimiser.lr", optimiser.lr, optimiser.lr > 0, "above 0"),
        ("optimiser.lr_images", optimiser.lr_images, optimiser.lr_images >= 0, "at least 0"),
        ("optimiser.momentum", optimiser.momentum, 0 <= optimiser.momentum < 1, "0 to below 1"),
        (
            "optimiser.weight_decay",
            optimiser.weight_decay,
            optimiser.weight_decay >= 0,
            "at least 0",
        ),
        ("optimiser.reduction_lr", optimiser.reduction_lr, optimiser.reduction_lr > 0, "above 0"),
        ("optimiser.fc_lr", optimiser.fc_lr, optimiser.fc_lr > 0, "above 0"),
        (
            "optimiser.milestones",
            milestones,
            list(milestones) == sorted(milestones),
            "rising steps",
        ),
        (
            "optimiser.warmup_steps",
            optimiser.warmup_steps,
            optimiser.warmup_steps >= 0,
            "at least 0",
        ),
        ("optimiser.clip_norm", optimiser.clip_norm, optimiser.clip_norm >= 0, "at least 0"),
    ]


def _target_rules(targets: TargetRecipe) -> list[_Rule]:
    low, high = targets.anchor_negative, targets.anchor_positive
    share = targets.positive_fraction
    return [
        ("targets.anchors", targets.anchors, targets.anchors >= 2, "at least 2"),
        ("targets.anchor_positive", high, 0 < high <= 1, "above 0, at most 1"),
        ("targets.anchor_negative", low, 0 <= low <= high, "0 to anchor_positive"),
        ("targets.rois", targets.rois, targets.rois >= 1, "at least 1"),
        (
            "targets.roi_positive",
            targets.roi_positive,
            0 < targets.roi_positive <= 1,
            "above 0, at most 1",
        ),
        ("targets.positive_fraction", share, 0 <= share <= 1, "0 to 1"),
    ]


def _augmentation_rules(change: Augmentation) -> list[_Rule]:
    chances = {
        "flip": change.flip,
        "flip_vertical": change.flip_vertical,
        "transpose": change.transpose,
        "paste": change.paste,
    }
    strengths = {
        "brightness": change.brightness,
        "contrast": change.contrast,
        "gamma": change.gamma,
        "saturation": change.saturation,
        "channel_gain": change.channel_gain,
        "blur": change.blur,
        "noise": change.noise,
        "elastic": change.elastic,
    }
    above = change.crop_above
    low, high = change.scale
    return [
        *((f"augmentation.{n}", v, 0 <= v <= 1, "0 to 1") for n, v in chances.items()),
        *((f"augmentation.{n}", v, v >= 0, "at least 0") for n, v in strengths.items()),
        ("augmentation.hue", change.hue, 0 <= change.hue <= 0.5, "0 to 0.5"),
        (
            "augmentation.elastic_smoothness",
            change.elastic_smoothness,
            change.elastic_smoothness > change.elastic,
            "above elastic: content would be turned inside out",
        ),
        ("augmentation.sides", change.sides, all(n >= 1 for n in change.sides), "sides above 0"),
        ("augmentation.scale", change.scale, 0 < low <= high, "two rising factors above 0"),
        ("augmentation.crop", change.crop, change.crop >= 0, "at least 0"),
        (
            "augmentation.crop_above",
            above,
            above == 0 or (above > 0 and change.crop > 0),
            "at least 0, and 0 where crop is 0",
        ),
    ]
