"""At which scales images are seen, and which part of them."""

from dataclasses import replace

import numpy as np
import pytest

from fcis.training.samples import TrainingSamples

from .conftest import dataset_of
from .samples_cases import assert_same, full_mask, painted_record


def with_side(recipe, short_side, long_side):
    preprocessing = replace(recipe.model.preprocessing, short_side=short_side, long_side=long_side)
    return replace(recipe, model=replace(recipe.model, preprocessing=preprocessing))


def test_sides_take_the_place_of_the_shorter_side_and_scale_its_bound(plain):
    """An image of 60 x 80; the bound of 80 on the longer side makes 60 of 66."""
    sides = (30, 66, 120)
    samples = TrainingSamples(dataset_of([painted_record()]), with_side(plain(sides=sides), 66, 80))
    sizes = [samples[n].plan.size for n in range(60)]
    bounds = {side: round(80 * side / 66) for side in sides}
    assert bounds == {30: 36, 66: 80, 120: 145}
    expected = {(27, 36), (60, 80), (109, 145)}
    assert set(sizes) == expected
    assert min(sizes.count(size) for size in expected) > 8
    number = sizes.index((109, 145))
    assert samples[number].plan.factors == (145 / 80, 145 / 80)
    x0, y0, x1, y1 = painted_record().annotations[1].box
    box = np.array([x0, y0, x1, y1]) * 145 / 80
    np.testing.assert_allclose(samples[number].truth.boxes[1], box, rtol=1e-6)


def test_the_side_of_the_test_is_the_test_time_sample(plain):
    dataset = dataset_of([painted_record()])
    still = with_side(plain(), 90, 130)
    assert_same(
        TrainingSamples(dataset, with_side(plain(sides=(90,)), 90, 130))[0],
        TrainingSamples(dataset, still)[0],
    )


def test_only_finer_scales_are_cropped(plain):
    """The paper crops the finer scales; at the others the network sees the whole image."""
    recipe = with_side(plain(sides=(48, 60, 61, 120), crop=60, crop_above=60), 60, 0)
    samples = TrainingSamples(dataset_of([painted_record()]), recipe)
    seen = [samples[n].plan for n in range(60)]
    expected = {(48, 64), (60, 80), (60, 60)}
    assert {plan.size for plan in seen} == expected
    factors = {round(p.factors[0], 4) for p in seen if p.size == (60, 60)}
    assert factors == {round(61 / 60, 4), 2.0}


@pytest.mark.parametrize(("draw", "middle"), [("log", 0.4), ("uniform", 0.85)])
def test_scales_are_as_frequent_per_octave_or_per_unit(plain, draw, middle):
    """Medians of 0.1 to 1.6: the geometric and the arithmetic middle."""
    recipe = plain(scale=(0.1, 1.6), scale_draw=draw)
    samples = TrainingSamples(dataset_of([painted_record()]), recipe)
    factors = np.array([samples[n].plan.factors[0] for n in range(200)])
    assert 0.1 <= factors.min() < 0.16 and 1.5 < factors.max() <= 1.6
    assert 70 <= (factors < middle).sum() <= 130


def test_large_scale_jitter_shows_squares_and_drops_what_is_cut_away(plain):
    recipe = plain(scale=(0.1, 2.0), scale_draw="uniform", crop=64)
    samples = TrainingSamples(dataset_of([painted_record()]), recipe)
    counts = []
    for sample in (samples[n] for n in range(60)):
        assert sample.pixels.shape == (3, 64, 64)
        counts.append(len(sample.truth.masks))
        for box, mask in zip(sample.truth.boxes, sample.truth.masks, strict=True):
            rows, columns = np.nonzero(full_mask(mask, (64, 64)) >= 0.5)
            tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (box.numpy()[:2] <= tight[:2] + 0.5).all()
            assert (box.numpy()[2:] >= tight[2:] - 0.5).all()
            if sample.plan.factors[0] >= 0.5:  # smaller ones lose bars of 4 pixels, not the box
                np.testing.assert_allclose(box, tight, atol=1.001)
        shrunk = 80 * sample.plan.factors[1] <= 64 and 60 * sample.plan.factors[0] <= 64
        assert not shrunk or counts[-1] == 3  # nothing is lost by shrinking
    assert 0 < counts.count(3) < 60


def test_a_small_image_lies_in_a_larger_crop_on_the_mean(plain):
    recipe = plain(crop=100)
    preprocessing = replace(recipe.model.preprocessing, mean=(30.0, 40.0, 50.0))
    recipe = replace(recipe, model=replace(recipe.model, preprocessing=preprocessing))
    dataset = dataset_of([painted_record()])
    corners = set()
    for number in range(10):
        sample = TrainingSamples(dataset, recipe)[number]
        assert sample.pixels.shape == (3, 100, 100)
        outside = (sample.pixels == 0).all(dim=0)
        assert outside.sum() == 100 * 100 - 60 * 80
        rows, columns = (~outside).nonzero().unbind(dim=1)
        assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (60, 80)
        corners.add((int(rows.min()), int(columns.min())))
        assert sample.truth.labels.tolist() == [1, 2, 3]
    assert len(corners) > 5
