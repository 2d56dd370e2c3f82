from dataclasses import replace

import pytest

from fcis.core.errors import InputError
from fcis.recipe.as_json import with_setting
from fcis.recipe.named import RECIPES, named_recipe
from fcis.recipe.types import TrainingRecipe
from fcis.training.checks import check_categories, check_devices, check_training
from fcis.training.run import for_dataset

from .conftest import dataset_of


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_pass(name):
    check_training(named_recipe(name))


BAD = {
    "steps": ("0", "is 0, expected at least 1"),
    "batch": ("-1", "is -1, expected at least 1, or 0 for what fits"),
    "ema": ("1", "is 1.0, expected 0 to below 1"),
    "patience": ("-1", "is -1, expected at least 0"),
    "pictures": ("-1", "is -1, expected at least 0"),
    "accumulate": ("0", "is 0, expected at least 1"),
    "seed": ("-1", "is -1, expected at least 0"),
    "validate_every": ("-1", "is -1, expected at least 0"),
    "checkpoint_every": ("0", "is 0, expected at least 1"),
    "workers": ("-1", "is -1, expected at least 0"),
    "devices": ("0", "is 0, expected at least 1"),
    "num_nodes": ("0", "is 0, expected at least 1"),
    "repeat_threshold": ("1.5", "is 1.5, expected 0 to 1"),
    "repeat_crops": ("1.5", "is 1.5, expected 0 to 1, and 0 where augmentation.crop is 0"),
    "optimiser.lr": ("0", "is 0.0, expected above 0"),
    "optimiser.lr_images": ("-1", "is -1, expected at least 0"),
    "optimiser.momentum": ("1", "is 1.0, expected 0 to below 1"),
    "optimiser.weight_decay": ("-1", "is -1.0, expected at least 0"),
    "optimiser.reduction_lr": ("0", "is 0.0, expected above 0"),
    "optimiser.milestones": ("[9, 3]", r"is \(9, 3\), expected rising steps"),
    "optimiser.warmup_steps": ("-1", "is -1, expected at least 0"),
    "optimiser.clip_norm": ("-1", "is -1.0, expected at least 0"),
    "targets.anchors": ("1", "is 1, expected at least 2"),
    "targets.anchor_positive": ("1.5", "is 1.5, expected above 0, at most 1"),
    "targets.anchor_negative": ("0.8", "is 0.8, expected 0 to anchor_positive"),
    "targets.rois": ("0", "is 0, expected at least 1"),
    "targets.roi_positive": ("0", "is 0.0, expected above 0, at most 1"),
    "targets.positive_fraction": ("2", "is 2.0, expected 0 to 1"),
    "augmentation.flip": ("1.5", "is 1.5, expected 0 to 1"),
    "augmentation.flip_vertical": ("-0.1", "is -0.1, expected 0 to 1"),
    "augmentation.transpose": ("2", "is 2.0, expected 0 to 1"),
    "augmentation.brightness": ("-1", "is -1.0, expected at least 0"),
    "augmentation.contrast": ("-1", "is -1.0, expected at least 0"),
    "augmentation.gamma": ("-1", "is -1.0, expected at least 0"),
    "augmentation.scale": ("[0, 1]", r"is \(0.0, 1.0\), expected two rising factors above 0"),
    "augmentation.crop": ("-1", "is -1, expected at least 0"),
    "augmentation.crop_above": ("-1", "is -1, expected at least 0, and 0 where crop is 0"),
    "augmentation.sides": ("[600, 0]", r"is \(600, 0\), expected sides above 0"),
    "augmentation.paste": ("1.1", "is 1.1, expected 0 to 1"),
    "augmentation.saturation": ("-1", "is -1.0, expected at least 0"),
    "augmentation.hue": ("0.6", "is 0.6, expected 0 to 0.5"),
    "augmentation.channel_gain": ("-1", "is -1.0, expected at least 0"),
    "augmentation.blur": ("-1", "is -1.0, expected at least 0"),
    "augmentation.noise": ("-1", "is -1.0, expected at least 0"),
    "augmentation.elastic": ("-1", "is -1.0, expected at least 0"),
    "augmentation.elastic_smoothness": ("0", "is 0.0, expected above elastic: .* inside out"),
}


@pytest.mark.parametrize("field", BAD)
def test_impossible_values_are_named(tiny, field):
    text, message = BAD[field]
    recipe = with_setting(tiny, f"training.{field}", text)
    with pytest.raises(InputError, match=f"recipe: training.{field} {message}$"):
        check_training(recipe)


def test_a_setting_that_nothing_looks_at_is_refused(tiny):
    with_crop = with_setting(tiny, "training.augmentation.crop_above", "300")
    check_training(with_crop)
    with pytest.raises(InputError, match="crop_above is 300, expected at least 0, and 0 where"):
        check_training(with_setting(with_crop, "training.augmentation.crop", "0"))


def test_sides_are_for_models_that_resize_to_a_side(tiny):
    recipe = with_setting(tiny, "training.augmentation.sides", "[480, 600]")
    message = (
        r"sides is \(480, 600\), but the model resizes by a fixed zoom "
        r"\(model\.preprocessing\.short_side is 0\); take training\.augmentation\.scale"
    )
    with pytest.raises(InputError, match=message):
        check_training(recipe)
    check_training(with_setting(recipe, "short_side", "600"))


def test_values_that_do_not_go_together(tiny):
    recipe = with_setting(with_setting(tiny, "validate_every", "0"), "patience", "2")
    with pytest.raises(InputError, match=r"training\.patience is 2, expected 0 where validate_eve"):
        check_training(recipe)
    check_training(with_setting(recipe, "validate_every", "5"))
    recipe = with_setting(with_setting(tiny, "batch", "0"), "devices", "2")
    message = r"training\.batch is 0, expected at least 1 on several devices; batch=0 on one"
    with pytest.raises(InputError, match=message):
        check_training(recipe)
    check_training(with_setting(recipe, "devices", "1"))


def test_categories_must_agree(tiny):
    painted = dataset_of([], name="painted")
    recipe = for_dataset(tiny, painted)
    check_categories(recipe, painted, painted)
    renamed = replace(
        painted,
        name="other",
        categories=(*painted.categories[:2], replace(painted.categories[2], name="x")),
    )
    message = r"other: its categories \(10 r, 20 g, 30 x\) are not those of painted \(10 r, 20 g"
    with pytest.raises(InputError, match=message):
        check_categories(recipe, painted, renamed)
    renumbered = replace(
        painted,
        name="other",
        categories=(*painted.categories[:2], replace(painted.categories[2], id=31)),
    )
    with pytest.raises(InputError, match="make them equal, ids included"):
        check_categories(recipe, painted, renumbered)
    for other in (renamed, renumbered):
        with pytest.raises(InputError, match="other: its categories are not those of the recipe"):
            check_categories(recipe, other, other)


def test_long_lists_of_categories_are_cut(tiny, scene_set):
    with pytest.raises(
        InputError, match=r"\(1 disc, 2 square, 3 triangle, 4 star, 5 ring and 3 more\)"
    ):
        check_categories(tiny, scene_set, dataset_of([]))


def test_colours_need_three_channels(tiny):
    check_training(with_setting(tiny, "in_channels", "5"))
    coloured = with_setting(with_setting(tiny, "hue", "0.1"), "in_channels", "5")
    with pytest.raises(InputError, match=r"hue are for colours, but model.backbone.in_channels is"):
        check_training(coloured)


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "cuda:1"])
def test_one_process_may_have_any_device(device):
    check_devices(TrainingRecipe(), device)


def test_several_processes_need_devices_of_their_own(monkeypatch):
    check_devices(TrainingRecipe(devices=2), "cpu")
    for device in ("mps", "cuda:1"):
        with pytest.raises(InputError, match=f"device {device}: is a single one, the recipe asks"):
            check_devices(TrainingRecipe(devices=2), device)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    check_devices(TrainingRecipe(devices=2, num_nodes=4), "cuda")
    with pytest.raises(InputError, match="devices is 3, but this machine has 2 CUDA"):
        check_devices(TrainingRecipe(devices=3), "cuda")
