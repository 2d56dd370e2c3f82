"""The model in training, measured on the validation set, and the weights that are worth keeping."""

from pathlib import Path

from tqdm import tqdm

from fcis.data.dataset import Dataset
from fcis.evaluation.operating import best_thresholds
from fcis.evaluation.report import Report, evaluate
from fcis.model.fcis import FCIS
from fcis.predictor import Predictor
from fcis.weights.file import WeightsInfo, save_weights, with_metrics


class Judge:
    """Evaluates the model in training and keeps its weights when told to."""

    def __init__(
        self, model: FCIS, val_set: Dataset, *, info: WeightsInfo, path: Path, device: str
    ) -> None:
        self.model = model
        self.val_set = val_set
        self.info = info
        self.path = path
        self.device = device
        self._thresholds: tuple[float, ...] = ()

    def validate(self) -> dict[str, float]:
        """Return the mask figures on the validation set; no ground truth counts as 0."""
        predictor = Predictor(self.model, self.info, device=self.device)
        bar = tqdm(
            predictor.detect_dataset(self.val_set),
            total=len(self.val_set),
            desc="validating",
            unit="image",
            leave=False,
        )
        truth = self.val_set.to_coco()
        found = [detection for instances in bar for detection in instances.to_coco()]
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
