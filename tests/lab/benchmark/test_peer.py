"""Mask R-CNN with random weights, with and without work for its mask branch."""

import numpy as np
import pytest

from fcis.lab.benchmark.peer import RESNET50, MaskRCNNPeer, with_resnet50
from fcis.recipe.named import named_recipe


def test_the_recipe_gets_as_deep_a_backbone():
    recipe = with_resnet50(named_recipe("coco-resnet101").model)
    assert recipe.backbone.depths == RESNET50 == (3, 4, 6, 3)
    assert recipe.backbone.pretrained == ""
    assert recipe.head == named_recipe("coco-resnet101").model.head


@pytest.mark.slow
def test_the_threshold_fills_an_image_with_detections():
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    peer = MaskRCNNPeer(image, sides=(96, 128), device="cpu")
    assert peer.most == 100 and peer.usual_threshold == 0.05
    assert peer.full_threshold < peer.usual_threshold
    assert peer.detections(peer.usual_threshold) == 0
    assert peer.detections(peer.full_threshold) == 100
    first, second = peer.detect(2, peer.full_threshold)
    assert first["masks"].shape == (100, 1, 96, 128)
    assert len(second["scores"]) == 100
