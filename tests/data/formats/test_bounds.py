"""Outlines on and off their image."""

import numpy as np
import pytest

from fcis.data.dataset import Polygons
from fcis.data.formats.bounds import far_outside, is_within


def polygons(*parts):
    return Polygons(parts=tuple(np.array(p, dtype=np.float64) for p in parts), height=10, width=20)


@pytest.mark.parametrize(
    ("x", "y", "within", "far"),
    [
        (0, 0, True, False),
        (20, 10, True, False),
        (20.1, 5, False, False),
        (-0.1, 5, False, False),
        (20.3, 5, False, True),
        (5, -0.2, False, True),
        (5, 10.05, False, False),
    ],
)
def test_points_outside(x, y, within, far):
    outline = [1, 1, 4, 4, x, y]
    assert is_within(polygons(outline)) == within
    assert far_outside(np.array(outline, dtype=np.float64), (10, 20)) == far


def test_what_is_no_number_is_far():
    assert far_outside(np.array([1.0, 1.0, np.nan, 2.0, 3.0, 3.0]), (10, 20))
