"""Masks -> polygons and back, to the pixel."""

import numpy as np

from fcis.core.masks import mask_from_rle, rle_from_mask, rle_from_polygons
from fcis.data.dataset import Annotation, Polygons
from fcis.data.formats.outlines import one_outline, outlines

RING = np.ones((5, 6), dtype=bool)
RING[2, 2:4] = False


def even_odd(points, height, width):
    """Fill a polygon the slow way: count the edges to the left of each pixel's centre."""
    pairs = points.reshape(-1, 2)
    inside = np.zeros((height, width), dtype=bool)
    for (xa, ya), (xb, yb) in zip(pairs, np.roll(pairs, -1, axis=0), strict=True):
        for row in range(height):
            if (ya <= row + 0.5) != (yb <= row + 0.5):
                x = xa + (row + 0.5 - ya) / (yb - ya) * (xb - xa)
                inside[row] ^= np.arange(width) + 0.5 > x
    return inside


def filled(points, height, width):
    return mask_from_rle(rle_from_polygons([points.tolist()], height, width))


def annotation(mask):
    encoded = rle_from_mask(mask) if isinstance(mask, np.ndarray) else mask
    return Annotation(id=1, category_id=1, box=(0.0, 0.0, 1.0, 1.0), mask=encoded, area=1.0)


def test_pieces_are_polygons_of_their_own():
    mask = np.zeros((9, 12), dtype=bool)
    mask[2:7, 1:7] = RING
    mask[0, 10] = True
    parts = outlines(annotation(mask))
    assert sorted(map(len, parts)) == [8, 20]
    np.testing.assert_array_equal(filled(one_outline(annotation(mask)), 9, 12), mask)


def test_outlines_within_the_image_are_kept():
    triangle = np.array([1.0, 1.0, 5.5, 1.0, 1.0, 4.25])
    square = np.array([6.0, 0.0, 8.0, 0.0, 8.0, 2.0, 6.0, 2.0])
    one = annotation(Polygons(parts=(triangle,), height=6, width=9))
    assert one_outline(one) is triangle and outlines(one) == [triangle]
    two = annotation(Polygons(parts=(triangle, square), height=6, width=9))
    assert [part is kept for part, kept in zip(outlines(two), (triangle, square), strict=True)]
    expected = mask_from_rle(two.rle)
    np.testing.assert_array_equal(filled(one_outline(two), 6, 9), expected)


def test_outlines_beyond_the_image_are_traced():
    square = np.array([-2.0, 1.0, 3.0, 1.0, 3.0, 4.0, -2.0, 4.0])
    out = annotation(Polygons(parts=(square,), height=6, width=9))
    points = one_outline(out)
    assert points.min() == 0
    np.testing.assert_array_equal(filled(points, 6, 9), mask_from_rle(out.rle))
    (again,) = outlines(out)
    np.testing.assert_array_equal(again, points)
