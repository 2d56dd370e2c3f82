"""Score maps and readings against the operators' slow definition and the network itself."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.core.errors import InputError
from fcis.inference.explain.scores import Reading, score_maps, with_score_maps
from fcis.inference.preprocess import collate
from fcis.inference.test_time.ensemble import Averaging, Ensemble
from fcis.model.joint import assembly_rule
from fcis.ops import definition
from fcis.structures import INSIDE, OUTSIDE, Proposals, ScoreMaps

BOX = np.array([20.0, 30.0, 84.0, 70.0], dtype=np.float32)


def network_maps(predictor, image):
    """The record that the network itself puts out, by the way that predicts."""
    prepared = predictor.prepare(image)
    batch = collate([(prepared.pixels, prepared.plan)], [image.shape[:2]])
    with torch.inference_mode():
        return predictor.model(batch)[1], batch


def wide(predictor, factor):
    """The same predictor with images enlarged."""
    recipe = predictor.model.recipe
    sized = replace(recipe.preprocessing, zoom=factor)
    predictor.model.recipe = replace(recipe, preprocessing=sized)
    return predictor


def test_maps_are_those_of_the_network(make_predictor, picture):
    predictor = make_predictor()
    scores = score_maps(predictor, picture)
    maps, _ = network_maps(predictor, picture)
    rows, columns = maps.cells[0].tolist()
    assert (scores.k, scores.class_names) == (3, ("background", "a", "b"))
    assert scores.cell_size == (8.0, 8.0)
    assert np.array_equal(scores.image, picture)
    for label in (0, 1, 2):
        inside, outside = scores.of(label)
        assert inside.shape == outside.shape == (3, 3, rows, columns)
        for row, column in ((0, 0), (1, 2), (2, 1)):
            expected = maps.classes[0, :rows, :columns, row * 3 + column, :, label]
            assert np.array_equal(inside[row, column], expected[..., INSIDE].numpy())
            assert np.array_equal(outside[row, column], expected[..., OUTSIDE].numpy())


@pytest.mark.parametrize("sampling", ["pool", "align", "native"])
@pytest.mark.parametrize("k", [1, 3])
def test_a_reading_is_the_definitions_assembly(make_predictor, picture, sampling, k):
    predictor = wide(make_predictor(sampling=sampling, k=k), 2.0)
    scores = score_maps(predictor, picture)
    maps, batch = network_maps(predictor, picture)
    reading = scores.read(BOX, 2)
    box = torch.from_numpy(BOX) * 2
    rule = assembly_rule(predictor.model.recipe)
    both = definition.assemble(maps.classes[0].double(), box, maps.cells[0], rule)
    inside, outside = both[:, :, INSIDE].numpy(), both[:, :, OUTSIDE].numpy()
    assert np.allclose(reading.inside, inside[..., 2], atol=1e-5)
    assert np.allclose(reading.outside, outside[..., 2], atol=1e-5)
    greater = np.maximum(inside, outside)
    assert np.allclose(reading.evidence, greater[..., 2], atol=1e-5)
    assert np.allclose(reading.logits, greater.mean(axis=(0, 1)), atol=1e-5)
    powers = np.exp(reading.logits.astype(float))
    assert math.isclose(reading.score, powers[2] / powers.sum(), rel_tol=1e-5)
    odds = 1 / (1 + np.exp(outside[..., 2] - inside[..., 2]))
    assert np.allclose(reading.probability, odds, atol=1e-5)
    samples = [
        definition.axis_samples(low, high, int(limit), rule, k)
        for low, high, limit in (
            (box[1].item(), box[3].item(), maps.cells[0, 0]),
            (box[0].item(), box[2].item(), maps.cells[0, 1]),
        )
    ]
    parts = [[k * r.part + c.part for c in samples[1]] for r in samples[0]]
    assert reading.parts.tolist() == parts
    assert batch.scales.tolist() == [[2.0, 2.0]]


def test_native_pieces_are_the_maps_at_the_cells_of_the_roi(make_predictor, picture):
    scores = score_maps(make_predictor(sampling="native"), picture)
    inside, outside = scores.of(1)
    # cells of 8 px: rows 3 to 8 and columns 2 to 10 are covered, two or three to each part
    reading = scores.read([20, 30, 84, 70], 1)
    assert reading.inside.shape == (6, 9)
    assert reading.extent.tolist() == [16.0, 24.0, 88.0, 72.0]
    for row in range(3):
        for column in range(3):
            rows, columns = slice(2 * row, 2 * row + 2), slice(3 * column, 3 * column + 3)
            cells = (slice(3 + rows.start, 3 + rows.stop), slice(2 + 3 * column, 5 + 3 * column))
            assert (reading.parts[rows, columns] == 3 * row + column).all()
            assert np.array_equal(reading.inside[rows, columns], inside[row, column][cells])
            assert np.array_equal(reading.outside[rows, columns], outside[row, column][cells])


def test_extents_are_in_the_original_image(make_predictor, picture):
    enlarged = score_maps(wide(make_predictor(), 2.0), picture)
    assert enlarged.cell_size == (4.0, 4.0)
    assert np.allclose(enlarged.read(BOX, 1).extent, BOX)
    # rounded to whole pixels of the resized image: 41.5 becomes 42, the last pixel 99.6 100
    pooled = score_maps(wide(make_predictor(sampling="pool"), 2.0), picture)
    extent = pooled.read([20.75, 30, 50.3, 70], 1).extent
    assert extent.tolist() == [21.0, 30.0, 50.5, 70.0]


def test_the_mask_is_that_of_the_instance(make_predictor, picture, monkeypatch):
    """Maps of a disc; what is detected and what its box reads agree."""
    predictor = make_predictor(k=1)
    model, centre, radius = predictor.model, (52.0, 44.0), 24.0
    x, y = np.meshgrid((np.arange(16) + 0.5) * 8, (np.arange(12) + 0.5) * 8)
    margin = radius - np.hypot(x - centre[0], y - centre[1])
    classes = torch.zeros(1, 12, 16, 1, 2, 3)
    classes[0, :, :, 0, INSIDE, 1] = torch.from_numpy(margin).float()
    classes[0, :, :, 0, OUTSIDE, 1] = -classes[0, :, :, 0, INSIDE, 1]
    box = torch.tensor([[centre[0] - 25, centre[1] - 25, centre[0] + 25, centre[1] + 25]])

    def maps(features):
        boxes = torch.zeros(1, 12, 16, 1, 4)
        return ScoreMaps(classes=classes, boxes=boxes, cells=features.cells, stride=8)

    def propose(output, batch):
        index = torch.zeros(1, dtype=torch.int64)
        return Proposals(boxes=box, image_index=index, objectness=torch.ones(1))

    monkeypatch.setattr(model, "maps", maps)
    monkeypatch.setattr(model, "rpn_proposals", propose)
    found = predictor.predict(picture).select(np.array([0]))
    assert found.labels.tolist() == [1] and found.scores[0] > 0.9
    reading = score_maps(predictor, picture).read(found.boxes[0], 1)
    assert abs(reading.score - found.scores[0]) < 0.05
    mask = reading.probability >= 0.5
    x0, y0, x1, y1 = reading.extent
    rows, columns = mask.shape
    centres = np.meshgrid(
        np.floor(y0 + (np.arange(rows) + 0.5) * (y1 - y0) / rows).astype(int),
        np.floor(x0 + (np.arange(columns) + 0.5) * (x1 - x0) / columns).astype(int),
        indexing="ij",
    )
    own = found.masks[0][centres[0], centres[1]]
    assert 0.6 < own.mean() < 0.95
    assert (mask & own).sum() / (mask | own).sum() > 0.9


def test_an_ensemble_shows_its_first_network(make_predictor, picture):
    predictor = make_predictor()
    alone = score_maps(predictor, picture).of(1)
    settings = Averaging(flip=True)
    predictor.ensemble = Ensemble([predictor.model], ["w"], settings)
    for maps, expected in zip(score_maps(predictor, picture).of(1), alone, strict=True):
        assert np.array_equal(maps, expected)


@pytest.mark.parametrize("system", ["fcis-separate", "naive-mnc", "mnc", "instfcn-rfcn"])
def test_other_systems_have_no_such_maps(make_predictor, picture, system):
    predictor = make_predictor(system=system)
    text = (
        f"score maps: a network of the system {system} has no inside and outside maps; take "
        "weights of fcis"
    )
    with pytest.raises(InputError, match=f"^{text}$"):
        score_maps(predictor, picture)
    with pytest.raises(InputError, match=f"^{text}$"):
        with_score_maps(predictor)


def test_bad_labels_and_boxes_are_refused(make_predictor, picture):
    scores = score_maps(make_predictor(), picture)
    with pytest.raises(ValueError, match=r"^label: expected 0\.\.2, got 3$"):
        scores.of(3)
    with pytest.raises(ValueError, match=r"^label: expected 0\.\.2, got -1$"):
        scores.read(BOX, -1)
    for box in ([5, 5, 5, 9], [5, 9, 8, 5], [0, 0, math.nan, 4], [1, 2, 3]):
        with pytest.raises(ValueError, match=r"^box: expected x0, y0, x1 > x0, y1 > y0, got \["):
            scores.read(box, 1)


def test_a_box_beyond_the_image_reads_what_there_is(make_predictor, picture):
    scores = score_maps(make_predictor(sampling="pool"), picture)
    reading = scores.read([100, 40, 164, 104], 1)
    assert isinstance(reading, Reading) and reading.inside.shape == (9, 9)
    assert (reading.inside[:, -2:] == 0).all() and (reading.outside[-1:] == 0).all()
    assert (reading.inside[:4, :2] != 0).all()
