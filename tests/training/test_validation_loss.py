from dataclasses import replace

import pytest
import torch

from fcis.core.errors import InputError
from fcis.model.build import build_model
from fcis.recipe.types import Augmentation
from fcis.training.batch import collate_samples
from fcis.training.losses import compute_losses
from fcis.training.samples import TrainingSamples
from fcis.training.validation_loss import ValidationLoss


@pytest.fixture
def model(tiny):
    return build_model(tiny.model, seed=3).eval()


def wild(recipe):
    """The recipe with much that changes at random."""
    change = Augmentation(flip=0.5, transpose=0.5, scale=(0.5, 2.0), crop=64, brightness=0.5)
    training = replace(recipe.training, augmentation=change, repeat_threshold=1.0)
    return replace(recipe, training=training)


def test_it_is_the_mean_of_the_training_losses(tiny, model, val_set):
    plain = replace(tiny, training=replace(tiny.training, augmentation=Augmentation(flip=0.0)))
    samples = TrainingSamples(val_set, plain)
    with torch.no_grad():
        losses = [
            compute_losses(model, collate_samples([samples[n]]), plain).total().item()
            for n in range(len(val_set))
        ]
    assert ValidationLoss(val_set, wild(tiny)).measure(model) == sum(losses) / len(losses)


def test_it_is_the_same_every_time_and_changes_nothing(tiny, model, val_set):
    loss = ValidationLoss(val_set, tiny)
    state, chance = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    first = loss.measure(model)
    assert loss.measure(model) == first > 0
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        model.head.reduction.weight.mul_(2)
    assert loss.measure(model) != first


def test_images_without_objects_have_no_loss(tiny, model, val_set):
    first, *others = val_set.images
    some = replace(val_set, images=(first, *(replace(r, annotations=()) for r in others)))
    alone = replace(val_set, images=(first,))
    assert ValidationLoss(some, tiny).measure(model) == ValidationLoss(alone, tiny).measure(model)
    nothing = replace(val_set, images=tuple(replace(r, annotations=()) for r in val_set.images))
    with pytest.raises(InputError, match=r"scenes:3:2: no image has an object, so it has no loss"):
        ValidationLoss(nothing, tiny)


def test_a_network_in_double_precision(tiny, model, val_set):
    single = ValidationLoss(val_set, tiny).measure(model)
    assert ValidationLoss(val_set, tiny).measure(model.double()) == pytest.approx(single, rel=0.05)
