import numpy as np
import pytest

from fcis.imaging import bit_depth as levels
from fcis.imaging.bit_depth import passing_limits, to_levels, value_limits


def blocks(image, height=7):
    return [image[top : top + height] for top in range(0, len(image), height)]


def test_limits_and_levels_by_hand():
    values = np.arange(101, dtype=np.uint16).reshape(1, 101)
    assert value_limits(values, (10.0, 60.0)) == (10.0, 60.0)
    found = to_levels(np.array([[0, 10, 35, 60, 100]]), (10.0, 60.0))
    assert found.tolist() == [[0, 0, 128, 255, 255]]
    assert to_levels(values, (3.0, 3.0)).max() == 0


def test_where_percentiles_agree_the_extremes_count():
    values = np.full((100, 100), 5, dtype=np.uint16)
    values[0, 0] = 9
    assert value_limits(values, (0.1, 99.9)) == (5.0, 9.0)
    assert passing_limits(blocks(values), (100, 100), (0.1, 99.9)) == (5.0, 9.0)


def test_only_finite_values_count():
    values = np.array([[np.nan, 1.0, 2.0, np.inf]], dtype=np.float32)
    assert value_limits(values, (0.0, 100.0)) == (1.0, 2.0)
    assert to_levels(values, (1.0, 2.0)).tolist() == [[0, 0, 255, 0]]
    assert value_limits(values[:, :1], (0.0, 100.0)) == (0.0, 0.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("percentiles", [(0.1, 99.9), (0.0, 100.0), (25.0, 33.3), (50.0, 50.0)])
def test_limits_of_passing_rows_are_those_of_the_image(dtype, percentiles):
    rng = np.random.default_rng(0)
    image = (rng.gamma(2.0, 25.0, (61, 47)).clip(0, 255)).astype(dtype)
    expected = value_limits(image, percentiles)
    np.testing.assert_allclose(passing_limits(blocks(image), image.shape, percentiles), expected)


def test_of_very_large_images_a_part_is_looked_at(monkeypatch):
    monkeypatch.setattr(levels, "_SAMPLE", 400)
    image = np.random.default_rng(0).normal(100, 10, (190, 210)).astype(np.float32)
    expected = value_limits(image[::10, ::10], (5.0, 95.0))
    assert passing_limits(blocks(image), image.shape, (5.0, 95.0)) == expected
    deep = image.astype(np.uint16)  # these are counted
    np.testing.assert_allclose(
        passing_limits(blocks(deep), deep.shape, (5.0, 95.0)), value_limits(deep, (5.0, 95.0))
    )


def test_no_rows():
    assert passing_limits([], (0, 0), (0.1, 99.9)) == (0.0, 0.0)
