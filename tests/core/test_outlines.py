"""Polygons along the edges of pixels: by hand, and noise both ways."""

import numpy as np
import pytest

from fcis.core.masks import MaskCrop, mask_from_rle, rle_from_polygons
from fcis.core.outlines import outline, pieces_of, rings

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


def test_a_rectangle_has_four_corners():
    (ring,) = rings(np.ones((2, 3), dtype=bool))
    assert sorted(map(tuple, ring.tolist())) == [(0, 0), (0, 2), (3, 0), (3, 2)]
    points = outline(MaskCrop(top=4, left=10, bits=np.ones((2, 3), dtype=bool)))
    assert sorted(map(tuple, points.reshape(-1, 2).tolist())) == [
        (10, 4), (10, 6), (13, 4), (13, 6),
    ]  # fmt: skip


def test_straight_stretches_have_no_corners():
    bits = np.array([[1, 1, 1], [1, 0, 0]], dtype=bool)
    (ring,) = rings(bits)
    assert len(ring) == 6


def test_a_hole_is_a_ring_and_then_a_cut():
    found = rings(RING)
    assert [len(ring) for ring in found] == [4, 4]
    points = outline(MaskCrop(top=0, left=0, bits=RING))
    # both rings closed, and the way back to where the cut began
    assert len(points) == 2 * (4 + 5 + 1)
    np.testing.assert_array_equal(filled(points, 5, 6), RING)
    np.testing.assert_array_equal(even_odd(points, 5, 6), RING)


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_share_a_corner_are_apart(turned):
    bits = np.eye(2, dtype=bool)
    bits = bits[::-1] if turned else bits
    assert [len(ring) for ring in rings(bits)] == [4, 4]
    # while a hole of such pixels is one
    hole = np.ones((4, 4), dtype=bool)
    hole[1:3, 1:3] = bits
    assert sorted(len(ring) for ring in rings(hole)) == [4, 8]


@pytest.mark.parametrize("density", [0.05, 0.3, 0.5, 0.8, 0.98])
def test_noise_is_kept_to_the_pixel(density):
    rng = np.random.default_rng(int(100 * density))
    for height, width in ((1, 1), (1, 9), (7, 3), (17, 23)):
        bits = rng.random((height, width)) < density
        if not bits.any():
            continue
        points = outline(MaskCrop(top=0, left=0, bits=bits))
        np.testing.assert_array_equal(filled(points, height, width), bits)
        np.testing.assert_array_equal(even_odd(points, height, width), bits)
        parts = [outline(p) for p in pieces_of(MaskCrop(top=0, left=0, bits=bits))]
        union = mask_from_rle(rle_from_polygons([p.tolist() for p in parts], height, width))
        np.testing.assert_array_equal(union, bits)


def test_pieces():
    bits = np.array([[1, 0, 1], [0, 1, 1]], dtype=bool)
    found = pieces_of(MaskCrop(top=5, left=7, bits=bits))
    assert sorted((p.top, p.left, p.area) for p in found) == [(5, 7, 1), (5, 8, 3)]
