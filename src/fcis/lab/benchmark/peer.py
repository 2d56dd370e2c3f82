"""The peer of a whole network: torchvision's Mask R-CNN with a ResNet-50 and a feature pyramid.

With random weights it finds nothing above its usual threshold, and its mask branch has no work;
without a threshold it sorts 90,000 boxes, which a trained one does not. So it is measured twice:
as it is, and with the threshold at which it finds as many as it may output.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.roi_heads import RoIHeads

from fcis.lab.benchmark.sane_activations import settle
from fcis.model.precision import Precision
from fcis.recipe.types import ModelRecipe

RESNET50 = (3, 4, 6, 3)


def with_resnet50(recipe: ModelRecipe) -> ModelRecipe:
    """Return the recipe with as many blocks as the peer's backbone has."""
    return replace(recipe, backbone=replace(recipe.backbone, depths=RESNET50, pretrained=""))


class MaskRCNNPeer:
    """Mask R-CNN with random weights and statistics of the image it is measured on.

    Attributes:
        most: detections that an image may have.
        usual_threshold: the least score of a detection, torchvision's default.
        full_threshold: the score at which one image has as many detections as it may have, or 0.
    """

    def __init__(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        *,
        sides: tuple[int, int],
        device: str,
        precision: Precision = "float32",
        seed: int = 0,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._model: MaskRCNN = maskrcnn_resnet50_fpn(
                weights=None, weights_backbone=None, min_size=min(sides), max_size=max(sides)
            )
        self._model.eval().to(device)
        assert isinstance(self._model.roi_heads, RoIHeads)
        self._heads = self._model.roi_heads
        self._device = device
        self._precision: Precision = precision
        self._image = torch.from_numpy(image.copy()).permute(2, 0, 1) / 255
        self.most: int = self._heads.detections_per_img
        self.usual_threshold: float = self._heads.score_thresh
        settle(lambda: self.detect(1, self.usual_threshold))
        self.full_threshold = self._full_threshold()

    @torch.inference_mode()
    def detect(self, batch: int, threshold: float) -> list[dict[str, Tensor]]:
        """Return what it finds in so many copies of its image, resizing included.

        Masks are as large as the image and on the device.
        """
        self._heads.score_thresh = threshold
        kind, half = torch.device(self._device).type, self._precision == "bfloat16"
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            return self._model([self._image.to(self._device)] * batch)

    def detections(self, threshold: float) -> int:
        """Return how many instances it finds in one image."""
        return len(self.detect(1, threshold)[0]["scores"])

    def _full_threshold(self) -> float:
        found: list[Tensor] = []
        with self._heads.box_predictor.register_forward_hook(
            lambda _module, _inputs, output: found.append(output[0])
        ):
            self.detect(1, self.usual_threshold)
        # the foreground scores of all proposals, best first
        scores = found[0].float().softmax(dim=1)[:, 1:].flatten().sort(descending=True).values
        wanted = self.most
        while wanted < len(scores):
            threshold = float(scores[wanted])
            if self.detections(threshold) >= self.most:
                return threshold
            wanted *= 2
        return 0.0
