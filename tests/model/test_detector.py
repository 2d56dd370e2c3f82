"""What systems share, with a system of two fixed answers."""

from dataclasses import replace

import pytest
import torch

from fcis.model.detector import Detector
from fcis.model.fcis import FCIS
from fcis.recipe.conventions import PAPER, with_conventions
from fcis.recipe.types import BackboneRecipe, DetectionRecipe, ModelRecipe
from fcis.structures import ImageBatch, Proposals, RoIMasks, RoIScores

RECIPE = with_conventions(
    ModelRecipe(
        class_names=("a", "b"),
        category_ids=(5, 9),
        backbone=BackboneRecipe(
            depths=(1, 1, 1, 1), widths=(4, 4, 4, 4), block="basic", stem_width=4, norm="group"
        ),
        detection=DetectionRecipe(nms=0.3, max_detections=10, drop_size=0.0),
    ),
    {**PAPER, "sampling": "align"},
)
BATCH = ImageBatch(
    pixels=torch.zeros(1, 3, 64, 96),
    sizes=torch.tensor([[64, 96]]),
    scales=torch.tensor([[2.0, 2.0]]),
    original_sizes=torch.tensor([[32, 48]]),
)


class Halves(Detector[None]):
    """Calls each RoI an `a`, moves it down by a tenth of its height, sees its left half."""

    def maps(self, features):
        return None

    def score_rois(self, maps, boxes, image_index):
        logits = boxes.new_tensor([0.0, 5.0, 0.0]).expand(len(boxes), 3)
        return RoIScores(
            class_logits=logits, box_deltas=boxes.new_tensor([0, 0.1, 0, 0]).expand(len(boxes), 4)
        )

    def mask_rois(self, maps, boxes, image_index, classes):
        grid = torch.full((len(boxes), 4, 4, 2), -9.0)
        grid[:, :, :2, 1] = 9.0
        return RoIMasks(
            values=grid.reshape(-1, 2),
            shapes=torch.full((len(boxes), 2), 4),
            extents=boxes,
        )

    @property
    def mask_size(self):
        return 4


def test_a_system_without_its_parts_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Detector(RECIPE)


def test_two_passes_score_proposals_and_what_becomes_of_them():
    system = Halves(RECIPE)
    proposals = Proposals(
        boxes=torch.tensor([[8.0, 8.0, 48.0, 48.0]]),
        image_index=torch.zeros(1, dtype=torch.int64),
        objectness=torch.ones(1),
    )
    boxes, index, probabilities = system.score(None, proposals, BATCH)
    # 40 px high: 4 px further down
    torch.testing.assert_close(boxes, torch.tensor([[8.0, 8, 48, 48], [8, 12, 48, 52]]))
    assert index.tolist() == [0, 0]
    expected = torch.tensor([0.0, 5.0, 0.0]).softmax(dim=0).expand(2, 3)
    torch.testing.assert_close(probabilities, expected)
    once = Halves(replace(RECIPE, detection=replace(RECIPE.detection, passes=1)))
    assert len(once.score(None, proposals, BATCH)[0]) == 1


def test_detections_are_in_pixels_of_the_original_image():
    (found,) = Halves(RECIPE).eval().detect(BATCH)
    assert found.size == (32, 48) and found.category_ids == (0, 5, 9)
    assert len(found) and set(found.labels.tolist()) == {1}
    for box in found.boxes:
        assert 0 <= box[0] < box[2] <= 48 and 0 <= box[1] < box[3] <= 32


def test_fcis_is_a_detector_whose_masks_have_the_size_of_its_samples():
    recipe = replace(RECIPE, head=replace(RECIPE.head, reduction=8, k=3, out_size=9))
    model = FCIS(recipe)
    assert isinstance(model, Detector) and model.mask_size == 9
    output, maps = model(BATCH)
    assert output.logits.shape[1:3] == maps.classes.shape[1:3] == (4, 6)
    assert maps.classes.shape[3:] == (9, 2, 3)


def test_proposals_of_the_rpn_carry_no_gradient():
    model = Halves(RECIPE)
    output = model.rpn(model.backbone(BATCH))
    assert output.deltas.requires_grad
    found = model.rpn_proposals(output, BATCH)
    assert len(found.boxes) and not found.boxes.requires_grad
    assert not found.objectness.requires_grad
    assert model.find_rois(output, None, BATCH).boxes.equal(found.boxes)
