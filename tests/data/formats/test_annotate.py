"""Shapes -> annotations."""

import numpy as np
import pytest

from fcis.core.masks import MaskCrop, mask_from_rle
from fcis.data.dataset import Polygons
from fcis.data.formats.annotate import (
    annotation_of_crop,
    annotation_of_polygons,
    far_outside,
    is_within,
)


def polygons(*parts):
    return Polygons(parts=tuple(np.array(p, dtype=np.float64) for p in parts), height=10, width=20)


def test_of_polygons():
    outlines = polygons([2, 1, 6, 1, 6, 4, 2, 4], [4, 1, 8, 1, 8, 4, 4, 4])
    found = annotation_of_polygons(outlines, id="x", category_id=3, is_crowd=True)
    assert found.mask is outlines
    assert (found.box, found.area, found.is_crowd) == ((2, 1, 8, 4), 18, True)
    assert (found.id, found.category_id) == ("x", 3)


def test_of_polygons_without_a_pixel():
    assert annotation_of_polygons(polygons([2, 1, 6, 1, 9, 1]), id="x", category_id=3) is None


def test_of_a_crop():
    bits = np.array([[0, 1], [1, 1]], dtype=bool)
    found = annotation_of_crop(MaskCrop(top=7, left=18, bits=bits), (10, 20), id="x", category_id=3)
    assert (found.box, found.area, found.is_crowd) == ((18, 7, 20, 9), 3, False)
    np.testing.assert_array_equal(mask_from_rle(found.rle)[7:9, 18:], bits)


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
