"""Which losses a system is trained with; the only place of training that knows them all."""

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
