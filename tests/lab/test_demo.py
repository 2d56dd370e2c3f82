"""What the demo trains; what it shows is tested with `fcis demo`."""

from fcis.lab import demo
from fcis.recipe.named import named_recipe


def test_the_recipe_is_that_of_the_scenes_but_short():
    recipe, base = demo.short_recipe(), named_recipe("scenes")
    assert recipe.model == base.model
    assert recipe.training.steps == demo.STEPS < base.training.steps / 10
    assert recipe.training.optimiser.lr == base.training.optimiser.lr
    assert recipe.training.augmentation.crop == demo._SIDE


def test_what_is_shown_was_not_trained_on():
    seeds = {demo._SEED, demo._TRAIN_SEED, demo._VAL_SEED}
    assert len(seeds) == 3
