"""The losses of training on the validation set: the same targets, nothing changed at random."""

from dataclasses import replace

import torch
from tqdm import tqdm

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.model.detector import Detector
from fcis.recipe.types import Augmentation, Recipe
from fcis.training.batch import collate_samples
from fcis.training.ranks import gather, in_order, is_main, own_share
from fcis.training.samples import TrainingSamples
from fcis.training.systems import losses_of


class ValidationLoss:
    """The mean over the validation images of the sum of the losses.

    Images come whole, at the test's scale, and the choice of their targets is the same at every
    validation: only the weights make a difference. Images without objects are left out, as they
    are in training.

    Raises:
        InputError: no image has an object.
    """

    def __init__(self, val_set: Dataset, recipe: Recipe) -> None:
        plain = replace(
            recipe.training,
            augmentation=Augmentation(flip=0.0),
            repeat_threshold=0.0,
            repeat_crops=0.0,
        )
        self.recipe = replace(recipe, training=plain)
        val_set = val_set.reading(recipe.model.image_reading)
        self.samples = TrainingSamples(val_set, self.recipe)
        if not self.samples.images:
            raise InputError(
                f"{val_set.name}: no image has an object, so it has no loss; add some, or --set "
                "validation_loss=false and another metric"
            )

    @torch.no_grad()
    def measure(self, model: Detector) -> float:
        """Return the loss of a network in its present mode.

        The processes of a run share the images out; each gets the loss of all.
        """
        first = next(model.parameters())
        own = own_share(len(self.samples.images))
        losses = []
        for number in tqdm(own, "losses", unit="image", leave=False, disable=not is_main()):
            batch = collate_samples([self.samples[number]]).to(first.device).of_type(first.dtype)
            losses.append(losses_of(model, batch, self.recipe).total().item())
        every = in_order(gather(losses))
        return sum(every) / len(every)
