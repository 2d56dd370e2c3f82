"""The model in training, measured on the validation set, and the weights that are worth keeping."""

from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from fcis.data.dataset import Dataset
from fcis.evaluation.operating import best_thresholds
from fcis.evaluation.report import Report, evaluate
from fcis.model.fcis import FCIS
from fcis.predictor import Predictor
from fcis.training.ranks import gather, in_order, is_main, own_share
from fcis.weights.file import WeightsInfo, save_weights, with_metrics


class Judge:
    """Evaluates the model in training and keeps its weights when told to.

    The processes of a run share the images out, each image has one; all get the same figures.
    """

    def __init__(self, model: FCIS, val_set: Dataset, *, info: WeightsInfo, path: Path) -> None:
        self.model = model
        self.val_set = val_set
        self.info = info
        self.path = path
        self._thresholds: tuple[float, ...] = ()

    def validate(self) -> dict[str, float]:
        """Return the mask figures on the validation set; no ground truth counts as 0."""
        images = self.val_set.images
        share = replace(self.val_set, images=tuple(images[i] for i in own_share(len(images))))
        device = str(next(self.model.parameters()).device)
        bar = tqdm(
            Predictor(self.model, self.info, device=device).detect_dataset(share),
            total=len(share),
            desc="validating",
            unit="image",
            leave=False,
            disable=not is_main(),
        )
        truth = self.val_set.to_coco()
        by_image = in_order(gather([instances.to_coco() for instances in bar]))
        found = [detection for detections in by_image for detection in detections]
        best = best_thresholds(truth, found)
        self._thresholds = tuple(best[i] for i in self.info.model.category_ids)
        most = self.info.model.detection.max_detections
        return _figures(evaluate(truth, found, max_detections=most, thresholds=best))

    def keep(self, figures: dict[str, float]) -> None:
        """Write the present weights with their figures and thresholds."""
        save_weights(self.path, self.model, with_metrics(self.info, figures, self._thresholds))


def _figures(report: Report) -> dict[str, float]:
    """Return the figures that a weights file carries."""
    data = {
        "AP": report.segm.ap,
        "AP50": report.segm.ap_50,
        "AP75": report.segm.ap_75,
        "dsb@0.50": report.dsb["0.50"],
    }
    return {k: 0.0 if v is None else float(v) for k, v in data.items()}
