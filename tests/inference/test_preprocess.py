"""Resizing plans, levels, windows and batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from fcis.core.errors import InputError
from fcis.inference.preprocess import (
    Resize,
    collate,
    normalise,
    plan_resize,
    prepare,
    sample_window,
    stretch_levels,
    stretch_limits,
    with_channels,
)
from fcis.recipe.types import Preprocessing

PLAIN = Preprocessing(short_side=0, long_side=0, mean=(0.0,) * 3, std=(1.0,) * 3)


def down(preprocessing):
    return replace(preprocessing, size_rounding="down", resize="float")


def unrounded(preprocessing):
    return replace(preprocessing, resize="float")


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# Plans


@pytest.mark.parametrize(
    ("size", "expected", "factor"),
    [
        ((480, 640), (600, 800), 1.25),
        ((640, 480), (800, 600), 1.25),
        ((427, 640), (600, 899), 600 / 427),  # 899.3
        ((375, 500), (600, 800), 1.6),
        ((300, 640), (469, 1000), 1000 / 640),  # 468.75; the shorter side would give 1280
        ((600, 1000), (600, 1000), 1.0),
        # 600 / 60 * 100.04 = 1000.4 is still 1000 when rounded, 1000.6 is not
        ((1500, 2501), (600, 1000), 0.4),
        ((1000, 1667), (600, 1000), 0.6),
        ((1000, 1668), (600, 1000), 1000 / 1668),  # 1000.8 is above
    ],
)
def test_release_s_sizes(size, expected, factor):
    plan = plan_resize(size, Preprocessing())
    assert plan.size == expected
    assert plan.factors == pytest.approx((factor, factor), rel=1e-12)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((427, 640), (600, 899)),
        # 1000.2 is above 1000; 599.88 becomes 599, and 1667 * (1000 / 1667) an ulp below 1000
        ((1000, 1667), (599, 999)),
        ((480, 641), (600, 801)),  # 801.25
        ((478, 641), (600, 804)),  # 804.6, where the release has 805
    ],
)
def test_chainercv_s_sizes(size, expected):
    plan = plan_resize(size, down(Preprocessing()))
    assert plan.size == expected
    assert plan.factors == (expected[1] / size[1],) * 2


def test_halves_are_rounded_to_even_as_in_opencv():
    halves = replace(PLAIN, zoom=0.5)
    assert plan_resize((5, 7), halves).size == (2, 4)
    assert plan_resize((5, 7), down(halves)).size == (2, 3)


def test_zoom_and_tiny_images():
    assert plan_resize((30, 41), replace(PLAIN, zoom=2.0)).size == (60, 82)
    assert plan_resize((3, 3000), Preprocessing()).size == (1, 1000)
    assert plan_resize((1, 1), down(replace(PLAIN, zoom=0.1))).size == (1, 1)


def test_no_bound_on_the_longer_side():
    plan = plan_resize((100, 1000), replace(Preprocessing(), long_side=0))
    assert plan.size == (600, 6000)


# Levels


def test_stretch_levels():
    image = np.array([[10, 20], [30, 60]], dtype=np.uint8)[:, :, None]
    assert stretch_levels(image, (0.0, 100.0))[..., 0].tolist() == [[10, 20], [30, 60]]
    # a quarter each: the level at which more than 25 % (at least 75 %) of the pixels are reached
    stretched = stretch_levels(image, (25.0, 75.0))[..., 0]
    assert stretched.tolist() == [[0, 0], [255, 255]]
    stretched = stretch_levels(image, (0.0, 75.0))[..., 0]
    np.testing.assert_allclose(stretched, [[0, 127.5], [255, 255]])


def test_stretch_levels_against_percentiles():
    image = np.clip(np.random.default_rng(0).normal(60, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
    low, high = np.percentile(image, (2, 98), method="inverted_cdf")
    expected = np.clip((image - float(low)) * 255 / (high - low), 0, 255)
    np.testing.assert_allclose(stretch_levels(image, (2.0, 98.0)), expected, rtol=1e-5)


def test_stretch_of_one_level_is_zero():
    image = np.full((4, 5, 3), 77, dtype=np.uint8)
    assert not stretch_levels(image, (1.0, 99.0)).any()
    assert (stretch_levels(image, (0.0, 100.0)) == 77).all()


# Windows


SIZES = [(5, 8), (21, 21), (40, 13), (63, 90), (1, 1), (1, 30)]


@pytest.mark.parametrize(("kind", "channels"), [("img", 3), ("mask21", 1)])
@pytest.mark.parametrize("size", SIZES)
def test_resize_is_opencv_s(shared, kind, channels, size):
    with np.load(shared / "golden" / "unit" / "unit_resize.npz") as file:
        image = file[kind].transpose(1, 2, 0)
        expected = file[f"{kind}_{size[0]}x{size[1]}_cv2"].transpose(1, 2, 0)
    assert expected.shape == (*size, channels)
    factors = (size[0] / image.shape[0], size[1] / image.shape[1])
    resized = sample_window(image, factors, (0.0, 0.0), size)
    # seen: 1.5e-5 of levels up to 255, 1.2e-7 of probabilities
    np.testing.assert_allclose(resized, expected, atol=1e-4 if kind == "img" else 1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_resize_is_torch_s(size):
    image = random_image(37, 53).astype(np.float32)
    expected = functional.interpolate(
        torch.from_numpy(image.transpose(2, 0, 1))[None], size=size, mode="bilinear"
    )[0]
    resized = sample_window(image, (size[0] / 37, size[1] / 53), (0.0, 0.0), size)
    np.testing.assert_allclose(resized, expected.numpy().transpose(1, 2, 0), atol=2e-3)


def test_window_is_a_part_of_the_resized_image():
    image = random_image(20, 30).astype(np.float32)
    whole = sample_window(image, (1.5, 2.0), (0.0, 0.0), (30, 60))
    part = sample_window(image, (1.5, 2.0), (7.0, 11.0), (9, 13))
    np.testing.assert_allclose(part, whole[7:16, 11:24], atol=1e-4)


def test_window_outside_repeats_the_edge():
    image = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    window = sample_window(image, (1.0, 1.0), (-2.0, -1.0), (6, 5))[..., 0]
    assert window.tolist() == [[0, 0, 1, 2, 2]] * 3 + [[3, 3, 4, 5, 5]] * 3


def test_window_of_a_single_pixel():
    assert sample_window(np.full((1, 1, 2), 7.0), (3.0, 4.0), (0.0, 0.0), (3, 4)).tolist() == (
        np.full((3, 4, 2), 7.0).tolist()
    )


# Whole images


def test_normalise():
    levels = np.array([[[10.0, 20.0, 30.0]]], dtype=np.float32)
    found = normalise(levels, replace(PLAIN, mean=(1.0, 2.0, 3.0), std=(2.0, 1.0, 3.0)))
    assert found.shape == (3, 1, 1)
    assert found.flatten().tolist() == [4.5, 18, 9]


def test_prepare_leaves_an_image_of_the_right_size_alone():
    image = random_image(60, 100)
    pixels, plan = prepare(image, PLAIN)
    assert plan == Resize(size=(60, 100), factors=(1.0, 1.0))
    assert torch.equal(pixels, torch.from_numpy(image.transpose(2, 0, 1)).float())


def test_release_rounds_to_whole_levels():
    image = random_image(30, 41)
    levels, _ = prepare(image, replace(PLAIN, zoom=1.7))
    exact, _ = prepare(image, unrounded(replace(PLAIN, zoom=1.7)))
    assert torch.equal(levels, levels.round())
    assert not torch.equal(exact, exact.round())
    assert (levels - exact).abs().max() <= 0.5
    # the mean is taken off afterwards
    shifted, _ = prepare(image, replace(PLAIN, zoom=1.7, mean=(0.25,) * 3))
    assert torch.equal(shifted, levels - 0.25)


def test_release_samples_by_the_exact_factor():
    # 41 * 1.7 = 69.7 becomes 70, but samples are 1 / 1.7 apart
    image = random_image(30, 41)
    exact, plan = prepare(image, unrounded(replace(PLAIN, zoom=1.7)))
    assert plan.size == (51, 70)
    expected = sample_window(image.astype(np.float32), (1.7, 1.7), (0.0, 0.0), (51, 70))
    assert torch.equal(exact, torch.from_numpy(expected.transpose(2, 0, 1)))
    by_size, plan = prepare(image, down(replace(PLAIN, zoom=1.7)))
    assert plan.size == (51, 69)
    expected = functional.interpolate(
        torch.from_numpy(image.transpose(2, 0, 1))[None].float(), size=(51, 69), mode="bilinear"
    )[0]
    torch.testing.assert_close(by_size, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["000000017627", "000000037777", "000000331352"])
def test_prepare_is_chainercv_s(shared, name):
    settings = replace(Preprocessing(), short_side=128, long_side=224)
    with np.load(shared / "golden" / "network" / f"{name}.npz") as file:
        image, expected, scale = file["image_uint8"], file["x"][0], file["scale"]
    pixels, plan = prepare(np.ascontiguousarray(image.transpose(1, 2, 0)), down(settings))
    assert plan.size == expected.shape[1:]
    assert plan.factors == (float(scale), float(scale))
    # seen: 3.1e-5
    assert np.abs(pixels.numpy() - expected).max() < 1e-4


def test_wrong_number_of_channels():
    with pytest.raises(InputError, match="image: has 2 channels, the network takes 3"):
        prepare(np.zeros((4, 5, 2), dtype=np.uint8), PLAIN)


def test_grey_is_three_equal_channels():
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5, 1)
    once, _ = prepare(grey, PLAIN)
    thrice, _ = prepare(np.repeat(grey, 3, axis=2), PLAIN)
    assert torch.equal(once, thrice)


def test_other_channels_get_the_mean_of_the_means():
    three = replace(PLAIN, mean=(100.0, 110.0, 120.0), std=(1.0, 2.0, 3.0))
    assert with_channels(three, 3) is three
    five = with_channels(three, 5)
    assert five.mean == (110.0,) * 5 and five.std == (2.0,) * 5
    pixels, _ = prepare(np.full((4, 6, 5), 112, dtype=np.uint8), five)
    assert pixels.shape[0] == 5 and (pixels == 1.0).all()


def test_collate_images_of_several_sizes():
    settings = replace(PLAIN, zoom=2.0)
    images = [random_image(h, w, seed=h) for h, w in ((10, 14), (12, 9), (10, 14))]
    inputs = [prepare(i, settings) for i in images]
    batch = collate(inputs, [(10, 14), (12, 9), (10, 14)])
    assert batch.pixels.shape == (3, 3, 24, 28)
    assert batch.sizes.tolist() == [[20, 28], [24, 18], [20, 28]]
    assert batch.original_sizes.tolist() == [[10, 14], [12, 9], [10, 14]]
    assert batch.scales.tolist() == [[2.0, 2.0]] * 3
    for canvas, (pixels, plan) in zip(batch.pixels, inputs, strict=True):
        rows, columns = plan.size
        assert torch.equal(canvas[:, :rows, :columns], pixels)
        assert not canvas[:, rows:].any()
        assert not canvas[:, :, columns:].any()


def test_collate_nothing():
    with pytest.raises(ValueError, match="inputs: expected at least one image, got none"):
        collate([], [])


def test_parts_of_an_image_are_stretched_as_the_whole():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 200, (40, 60, 3), dtype=np.uint8)
    image[:, :30] //= 4
    percentiles = (1.0, 98.0)
    limits = stretch_limits(np.bincount(image.reshape(-1), minlength=256), percentiles)
    whole = stretch_levels(image, percentiles)
    np.testing.assert_array_equal(stretch_levels(image[:, :30], percentiles, limits), whole[:, :30])
    assert not np.array_equal(stretch_levels(image[:, :30], percentiles), whole[:, :30])
    # limits that are equal are limits, too
    assert stretch_levels(image, percentiles, (0, 0)).max() == 255


def test_limits_by_hand():
    counts = np.zeros(256, dtype=np.int64)
    counts[[10, 20, 30]] = 1, 8, 1
    assert stretch_limits(counts, (10.0, 90.0)) == (20, 20)
    assert stretch_limits(counts, (5.0, 95.0)) == (10, 30)
    assert stretch_limits(np.zeros(256, dtype=np.int64), (5.0, 95.0)) == (256, 256)


@pytest.mark.parametrize(
    ("size", "changes"),
    [
        ((3, 100_000), {"short_side": 600, "long_side": 0}),
        ((100_000, 3), {"short_side": 600, "long_side": 0}),
        ((2000, 2000), {"short_side": 0, "zoom": 32.0}),
    ],
)
@pytest.mark.parametrize("rounding", ["nearest", "down"])
def test_what_would_become_far_too_large(size, changes, rounding):
    preprocessing = replace(PLAIN, **changes, size_rounding=rounding)
    with pytest.raises(InputError, match=r"would be enlarged .* times, to more than 33,554,432 "):
        plan_resize(size, preprocessing)
    assert (
        max(plan_resize(size, replace(preprocessing, long_side=1000, short_side=600)).size) < 1001
    )
    assert plan_resize((8000, 9000), replace(PLAIN, zoom=1.0)).size == (8000, 9000)
