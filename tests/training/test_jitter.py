import math

import numpy as np
import pytest

from fcis.recipe.types import Augmentation
from fcis.training.jitter import jitter_colour, jitter_light, saturated, turned

EVERYTHING = {"saturation": 0.5, "hue": 0.3, "channel_gain": 0.4, "blur": 2.0, "noise": 0.1}


def image(height=12, width=15):
    rng = np.random.default_rng(1)
    return rng.uniform(0, 255, (height, width, 3)).astype(np.float32)


def grey(height=12, width=15):
    return np.repeat(image(height, width)[:, :, :1], 3, axis=2)


def colour(levels, seed=0, **strengths):
    return jitter_colour(levels, Augmentation(**strengths), np.random.default_rng(seed))


def test_light_by_hand():
    """With the three numbers that the stream gives."""
    levels = image()
    brightness, contrast, gamma = np.random.default_rng(3).uniform(-1, 1, size=3)
    change = Augmentation(brightness=0.1, contrast=0.2, gamma=0.3)
    expected = 255 * (levels / 255.0) ** np.exp(0.3 * gamma)
    expected = expected.mean() + (expected - expected.mean()) * np.exp(0.2 * contrast)
    expected += 255 * 0.1 * brightness
    changed = jitter_light(levels, change, np.random.default_rng(3))
    np.testing.assert_allclose(changed, expected, rtol=1e-4, atol=1e-3)
    assert jitter_light(levels, Augmentation(), np.random.default_rng(3)) is levels


def test_nothing_is_drawn_or_changed_without_strengths():
    levels, rng = image(), np.random.default_rng(0)
    before = rng.bit_generator.state
    assert jitter_colour(levels, Augmentation(), rng) is levels
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("seed", range(5))
def test_grey_stays_grey_to_the_bit(seed):
    changed = colour(grey(), seed, saturation=0.9, hue=0.5, blur=2.0, noise=0.2)
    assert (changed[:, :, 0] == changed[:, :, 1]).all()
    assert (changed[:, :, 0] == changed[:, :, 2]).all()
    assert (colour(grey(), seed, saturation=0.9, hue=0.5) == grey()).all()


def test_saturation_by_hand():
    levels = np.array([[[30, 60, 90]]], dtype=np.float32)
    assert saturated(levels, 0.0).tolist() == [[[60, 60, 60]]]
    assert saturated(levels, 1.0).tolist() == levels.tolist()
    assert saturated(levels, 2.0).tolist() == [[[0, 60, 120]]]


def test_a_third_of_the_circle_passes_each_channel_on():
    levels = image()
    np.testing.assert_allclose(turned(levels, 1 / 3), levels[:, :, [2, 0, 1]], atol=1e-4)
    np.testing.assert_allclose(turned(levels, -1 / 3), levels[:, :, [1, 2, 0]], atol=1e-4)
    np.testing.assert_allclose(turned(levels, 1.0), levels, atol=1e-4)
    assert turned(levels, 0.0).tolist() == levels.tolist()
    red = turned(np.array([[[255, 0, 0]]], dtype=np.float32), 1 / 3)
    np.testing.assert_allclose(red, [[[0, 255, 0]]], atol=1e-4)


def test_turning_keeps_mean_and_distance_from_grey():
    levels = image()
    for share in (0.05, 0.2, 0.45):
        changed = turned(levels, share)
        np.testing.assert_allclose(changed.mean(axis=2), levels.mean(axis=2), atol=1e-3)
        before, after = (v - v.mean(axis=2, keepdims=True) for v in (levels, changed))
        lengths = (np.linalg.norm(v, axis=2) for v in (before, after))
        np.testing.assert_allclose(*lengths, atol=1e-3)
        cosine = (before * after).sum(axis=2) / (before**2).sum(axis=2)
        np.testing.assert_allclose(cosine, math.cos(2 * math.pi * share), atol=1e-3)


def test_strengths_of_colour_keep_their_bounds_and_use_them():
    levels = np.array([[[30, 60, 90]]], dtype=np.float32)
    factors, angles = [], []
    for seed in range(60):
        spread = colour(levels, seed, saturation=0.4)[0, 0]
        factors.append(math.log((spread[2] - spread[0]) / 60))
        turn = colour(levels, seed, hue=0.2)[0, 0] - 60
        angles.append(np.arccos(np.clip(turn @ [-30, 0, 30] / 1800, -1, 1)) / (2 * math.pi))
    assert -0.4 <= min(factors) < -0.3 and 0.3 < max(factors) <= 0.4 + 1e-6
    assert 0.15 < max(angles) <= 0.2 + 1e-6


def test_channels_have_a_factor_each():
    levels = image()
    ratios = np.array([colour(levels, s, channel_gain=0.3) / levels for s in range(40)])
    factors = ratios[:, 0, 0]
    np.testing.assert_allclose(
        ratios, np.broadcast_to(factors[:, None, None], ratios.shape), rtol=1e-5
    )
    logs = np.log(factors)
    assert -0.3 - 1e-6 <= logs.min() < -0.25 and 0.25 < logs.max() <= 0.3 + 1e-6
    assert abs(np.corrcoef(logs.T)[0, 1]) < 0.5  # each its own


def test_blur_is_gaussian_up_to_its_width():
    """The variance of a blurred point is the square of the standard deviation."""
    point = np.zeros((41, 41, 3), dtype=np.float32)
    point[20, 20] = 255
    offsets = np.arange(41) - 20
    widths = []
    for seed in range(30):
        spread = colour(point, seed, blur=3.0)[:, :, 0] / 255
        assert spread.sum() == pytest.approx(1, abs=1e-4)
        variances = [(spread.sum(axis=axis) * offsets**2).sum() for axis in (0, 1)]
        assert variances[0] == pytest.approx(variances[1], rel=1e-4, abs=1e-6)
        widths.append(math.sqrt(variances[0]))
    assert min(widths) < 0.6 and 2.5 < max(widths) <= 3.01
    flat = np.full((9, 9, 3), 80, dtype=np.float32)
    np.testing.assert_allclose(colour(flat, blur=3.0), flat, rtol=1e-6)  # the border too


def test_noise_has_the_strength_asked_for_and_is_independent_between_pixels():
    flat = np.full((60, 60, 3), 100, dtype=np.float32)
    strengths = []
    for seed in range(30):
        field = (colour(flat, seed, noise=0.1) - flat)[:, :, 0] / 255
        strengths.append(field.std())
        assert abs(field.mean()) < 4 * strengths[-1] / 60 + 1e-6
        assert abs(np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1]) < 0.08
    assert min(strengths) < 0.02 and 0.08 < max(strengths) < 0.105


@pytest.mark.parametrize("option", ["channel_gain", "blur", "noise"])
def test_what_an_option_does_is_independent_of_the_others(option):
    """Of a flat image, blurring and saturation change nothing."""
    flat = np.full((9, 9, 3), 100, dtype=np.float32)
    alone = colour(flat, 4, **{option: EVERYTHING[option]})
    others = {n: v for n, v in EVERYTHING.items() if n in ("saturation", "blur", option)}
    np.testing.assert_allclose(colour(flat, 4, **others), alone, rtol=1e-6)


def test_the_same_stream_gives_the_same_image():
    first, second = (colour(image(), 9, **EVERYTHING) for _ in range(2))
    assert first.dtype == np.float32 and (first == second).all()
    assert not (colour(image(), 10, **EVERYTHING) == first).all()
