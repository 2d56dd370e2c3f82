"""The model in training, measured on the validation set, and the weights that are worth keeping."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fcis.data.dataset import Dataset
from fcis.evaluation.operating import best_thresholds
from fcis.evaluation.report import Report, evaluate
from fcis.imaging.instances import Instances
from fcis.inference.predictor import Predictor
from fcis.model.detector import Detector
from fcis.training.ranks import gather, in_order, is_main, own_share, share_buffers
from fcis.training.validation_loss import ValidationLoss
from fcis.training.validation_pictures import Pair, chosen_records, compare
from fcis.weights.weights_file import WeightsInfo, save_weights, with_metrics

_KEPT = ("AP", "AP50", "AP75", "dsb@0.50")  # figures that a weights file always carries


class Judge:
    """Evaluates the model in training and keeps its weights when told to.

    The processes of a run share the images out, each image has one; all get the same figures.
    """

    def __init__(
        self,
        model: Detector,
        val_set: Dataset,
        *,
        info: WeightsInfo,
        path: Path,
        metric: str = "AP",
        loss: ValidationLoss | None = None,
        pictures: int = 0,
    ) -> None:
        self.model = model
        self.val_set = val_set
        self.info = info
        self.path = path
        self.metric = metric
        self.loss = loss
        self._drawn = chosen_records(val_set, pictures)
        self._shown: list[Instances] = []

    def validate(self) -> dict[str, float]:
        """Return the figures on the validation set, its loss last; no ground truth counts as 0."""
        share_buffers(self.model)
        drawn = {record.id for record in self._drawn}
        detections, shown = [], []
        for instances in self._detect():
            detections.append(instances.to_coco())
            if drawn and instances.image_id in drawn:
                shown.append(instances)
        truth = self.val_set.to_coco()
        found = [detection for of_image in in_order(gather(detections)) for detection in of_image]
        best = best_thresholds(truth, found)
        self.info = replace(
            self.info, thresholds=tuple(best[i] for i in self.info.model.category_ids)
        )
        self._shown = [i for of_process in gather(shown) for i in of_process] if drawn else []
        most = self.info.model.detection.max_detections
        figures = _figures(evaluate(truth, found, max_detections=most, thresholds=best))
        return figures | ({} if self.loss is None else {"loss": self.loss.measure(self.model)})

    def keep(self, figures: dict[str, float]) -> None:
        """Write the present weights with their figures and thresholds."""
        kept = {name: figures[name] for name in (*_KEPT, self.metric)}
        save_weights(self.path, self.model, with_metrics(self.info, kept, self.info.thresholds))

    def pictures(self) -> list[Pair]:
        """Return a few images, always the same, with what the last validation showed in them."""
        thresholds = np.asarray(self.info.threshold_of(), dtype=np.float32)
        shown = {found.image_id: found.above(thresholds) for found in self._shown}
        return [compare(record, self.val_set, shown[record.id]) for record in self._drawn]

    def _detect(self) -> Iterator[Instances]:
        """Yield the detections in this process's share of the images."""
        images = self.val_set.images
        share = replace(self.val_set, images=tuple(images[i] for i in own_share(len(images))))
        device = str(next(self.model.parameters()).device)
        yield from tqdm(
            Predictor(self.model, self.info, device=device).detect_dataset(share),
            total=len(share),
            desc="validating",
            unit="image",
            leave=False,
            disable=not is_main(),
        )


def _figures(report: Report) -> dict[str, float]:
    """Return the figures that may tell which weights are the best."""
    data = {
        "AP": report.segm.ap,
        "AP50": report.segm.ap_50,
        "AP75": report.segm.ap_75,
        "box_AP": report.bbox.ap,
        "dsb@0.50": report.dsb["0.50"],
    }
    return {k: 0.0 if v is None else float(v) for k, v in data.items()}
