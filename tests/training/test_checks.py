from dataclasses import replace

import pytest

from fcis.core.errors import InputError
from fcis.recipe.as_json import from_json, to_json, with_setting
from fcis.recipe.bounds import check_record
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Recipe, TrainingRecipe
from fcis.training.checks import check_categories, check_devices
from fcis.training.run import for_dataset

from .conftest import dataset_of


def test_several_machines_have_no_batch_that_fits():
    """The other rules between fields are in tests/recipe/test_bounds.py."""
    recipe = with_setting(with_setting(named_recipe("tiny"), "batch", "0"), "num_nodes", "2")
    with pytest.raises(InputError, match=r"^training\.batch: is 0, expected at least 1 on several"):
        check_record(recipe, "")
    check_record(with_setting(recipe, "num_nodes", "1"), "")


def test_means_of_channels_may_wait_for_a_dataset(tiny):
    recipe = with_setting(named_recipe("tiny"), "in_channels", "5")
    recipe = from_json(Recipe, to_json(recipe), "mine.json: ")
    found = for_dataset(recipe, dataset_of([]))
    check_record(found, "")
    model = replace(found.model, preprocessing=tiny.model.preprocessing)
    with pytest.raises(InputError, match=r"^model\.preprocessing\.mean: is \(.*\), expected one v"):
        check_record(replace(found, model=model), "")


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
