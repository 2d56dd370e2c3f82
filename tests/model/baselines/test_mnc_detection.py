"""The cascade of MNC as a detector."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fcis.inference.predictor import load_predictor
from fcis.inference.preprocess import collate, prepare
from fcis.model.baselines.mnc import MNC
from fcis.model.folding import fold_norms
from fcis.model.precision import to_precision
from fcis.structures import RPNOutput
from fcis.weights.weights_file import WeightsInfo, save_weights

from .mnc_cases import BOXES, IMAGES, SIZES, batch_of, lively, tiny


def assert_same(one, two, tolerance=1e-5):
    """The same detections; scores to rounding."""
    assert one.size == two.size
    assert one.labels.tolist() == two.labels.tolist()
    np.testing.assert_allclose(one.scores, two.scores, atol=tolerance)
    for a, b in zip(one.crops, two.crops, strict=True):
        assert (a.top, a.left) == (b.top, b.left)
        assert np.array_equal(a.bits, b.bits)


def test_each_image_gets_its_own_detections(mnc_model):
    together, alone = batch_of(SIZES, mnc_model.recipe)
    found = mnc_model.detect(together)
    for instances, batch, size in zip(found, alone, SIZES, strict=True):
        assert instances.size == size
        assert len(instances) > 5 and len(set(instances.labels.tolist())) > 1
        assert_same(instances, mnc_model.detect(batch)[0])


@pytest.mark.parametrize("passes", [1, 2])
def test_three_stages_and_five(passes):
    detection = replace(tiny().detection, passes=passes)
    model = lively(tiny(detection=detection))
    batch, _ = batch_of(SIZES, model.recipe)
    with torch.no_grad():
        output, maps = model(batch)
        proposals = model.rpn_proposals(output, batch)
        boxes, index, probabilities = model.score(maps, proposals, batch)
    count = len(proposals.boxes)
    assert len(boxes) == len(index) == len(probabilities) == passes * count
    # the RoIs that are put out are those before the regression
    assert torch.equal(boxes[:count], proposals.boxes)
    assert [len(s.boxes) for s in maps.seen] == [count] * passes
    if passes == 2:
        assert not torch.equal(boxes[count:], proposals.boxes)


def test_proposals_carry_the_gradient_of_the_rpn(mnc_model):
    batch, _ = batch_of(SIZES[:1], mnc_model.recipe)
    output, _ = mnc_model(batch)
    assert isinstance(output, RPNOutput)
    proposals = mnc_model.rpn_proposals(output, batch)
    (gradient,) = torch.autograd.grad(proposals.boxes.sum(), output.deltas)
    assert 0 < int(gradient.ne(0).any(dim=-1).sum()) <= len(proposals.boxes)
    assert not proposals.objectness.requires_grad


def test_saved_weights_detect_the_same(mnc_model, tmp_path):
    path = tmp_path / "mnc.safetensors"
    save_weights(path, mnc_model, WeightsInfo(model=mnc_model.recipe, recipe="x"))
    predictor = load_predictor(path)
    assert isinstance(predictor.model, MNC)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    batch = collate([prepare(image, mnc_model.recipe.preprocessing)], [(90, 120)])
    (found,) = predictor.detect([image])
    assert len(found) > 5
    assert_same(mnc_model.detect(batch)[0], found, tolerance=1e-4)


def test_folded_norms_score_the_same(mnc_model, mnc_maps):
    with torch.no_grad():
        before = mnc_model.cascade(mnc_maps, BOXES, IMAGES)
        fold_norms(mnc_model)
        after = mnc_model.cascade(mnc_maps, BOXES, IMAGES)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in mnc_model.modules())
    torch.testing.assert_close(before.instances, after.instances, atol=1e-4, rtol=1e-4)


def test_half_precision_runs(mnc_model):
    batch, _ = batch_of(SIZES, mnc_model.recipe)
    whole = mnc_model.detect(batch)
    to_precision(mnc_model, "bfloat16")
    half = mnc_model.detect(replace(batch, pixels=batch.pixels.bfloat16()))
    for one, two in zip(whole, half, strict=True):
        assert len(two) > 3 and abs(len(one) - len(two)) < 10
