"""Each channel is filled with what it means, in the source's order and in ours."""

import numpy as np
import pytest

from fcis.weights.foreign.transforms import (
    as_is,
    background_scores_first,
    box_layout,
    mean_less_bias,
    x_first_in_anchors,
    x_first_in_box_maps,
)


def numbers(count):
    return np.arange(count, dtype=np.float32)


def test_rpn_scores():
    # bg0 fg0 bg1 fg1 bg2 fg2 -> bg0 bg1 bg2 fg0 fg1 fg2
    assert background_scores_first(numbers(6)).tolist() == [0, 2, 4, 1, 3, 5]
    weight = numbers(24).reshape(6, 4, 1, 1)
    found = background_scores_first(weight)
    assert found.shape == weight.shape
    assert found[:, 0, 0, 0].tolist() == [0, 8, 16, 4, 12, 20]


def test_rpn_shifts():
    # dy dx dh dw of two anchors -> dx dy dw dh
    assert x_first_in_anchors(numbers(8)).tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    weight = numbers(16).reshape(8, 2, 1, 1)
    assert x_first_in_anchors(weight)[:, 1, 0, 0].tolist() == [3, 1, 7, 5, 11, 9, 15, 13]


@pytest.mark.parametrize("slots", [1, 2])
def test_box_maps(slots):
    # slot, coordinate, cell as the digits of a number
    digits = [100 * s + 10 * c + cell for s in range(slots) for c in range(4) for cell in range(9)]
    found = x_first_in_box_maps(np.float32(digits))
    expected = [
        100 * s + 10 * c + cell for s in range(slots) for c in (1, 0, 3, 2) for cell in range(9)
    ]
    assert found.tolist() == expected
    weight = np.float32(digits)[:, None, None, None] + np.zeros((1, 5, 1, 1), np.float32)
    assert np.array_equal(x_first_in_box_maps(weight)[:, 3, 0, 0], found)


def test_a_swap_undoes_itself():
    weight = np.random.default_rng(0).standard_normal((72, 3, 1, 1), dtype=np.float32)
    for transform in (x_first_in_anchors, x_first_in_box_maps, as_is):
        assert np.array_equal(transform(transform(weight)), weight)


def test_a_bias_before_a_norm():
    rng = np.random.default_rng(0)
    x, bias, mean, scale, shift = rng.standard_normal((5, 7), dtype=np.float32)
    before = (x + bias - mean) * scale + shift
    after = (x - mean_less_bias(mean, bias)) * scale + shift
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_box_layouts():
    for slots in (1, 2):
        for k in range(1, 40):
            assert box_layout(4 * slots * k**2) == (slots, k)


@pytest.mark.parametrize("channels", [0, 1, 6, 12, 390, 393])
def test_no_box_layout(channels):
    with pytest.raises(ValueError, match=rf"channels: expected 4 k\^2 or 8 k\^2, got {channels}"):
        box_layout(channels)
