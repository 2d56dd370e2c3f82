"""Which losses a system is trained with; the only place of training that knows them all."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fcis.model.baselines.instfcn_rfcn import InstFCNRFCN
from fcis.model.baselines.mnc import MNC
from fcis.model.detector import Detector
from fcis.recipe.types import Recipe
from fcis.training.batch import TrainingBatch
from fcis.training.instfcn_losses import pair_losses
from fcis.training.losses import Losses, compute_losses
from fcis.training.mnc_losses import mnc_losses


def losses_of(model: Detector, batch: TrainingBatch, recipe: Recipe) -> Losses:
    """Return the losses of one batch; all chance comes from the samples' numbers."""
    if isinstance(model, MNC):
        return mnc_losses(model, batch, recipe)
    if isinstance(model, InstFCNRFCN):
        return pair_losses(model, batch, recipe)
    return compute_losses(model, batch, recipe)


class LossModule(nn.Module):
    """A system whose output are its losses: gradients of processes are averaged on its way."""

    def __init__(self, model: Detector, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe

    def forward(self, batch: TrainingBatch) -> dict[str, Float[Tensor, " image"]]:
        """Return the terms of `Losses`, in the recipe's precision."""
        half = self.recipe.training.precision == "bfloat16"
        kind = batch.images.pixels.device.type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            return losses_of(self.model, batch, self.recipe).terms
