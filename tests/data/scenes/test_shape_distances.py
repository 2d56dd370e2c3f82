import math

import numpy as np
import pytest
from matplotlib.path import Path
from scipy import ndimage

from fcis.data.scenes.shape_distances import (
    SHAPES,
    meeting_offset,
    rasterise,
    unit_vector,
    upright_vector,
)

SHAPE = {shape.name: shape for shape in SHAPES}

# Areas in units of the radius squared, from the formulas of geometry.
_LENS = 0.5  # distance between the centres of the crescent's two circles, radii 1 and 0.8
_COMMON = (
    0.64 * math.acos((_LENS**2 + 0.64 - 1) / (2 * _LENS * 0.8))
    + math.acos((_LENS**2 + 1 - 0.64) / (2 * _LENS))
    - 0.5 * math.sqrt((1.8 - _LENS) * (_LENS + 0.8 - 1) * (_LENS - 0.8 + 1) * (_LENS + 1.8))
)
AREAS = {
    "disc": math.pi,
    "square": 2.25,
    "triangle": 3 * math.sqrt(3) / 4,
    "star": 5 * 0.45 * math.sin(math.pi / 5),
    "ring": math.pi * (1 - 0.45**2),
    "cross": 4 * 0.56 - 0.56**2,
    "crescent": math.pi - _COMMON,
    "hourglass": 4 * (0.35 * 0.85**2 + 0.12 * 0.85),
}


def turned(degrees):
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


@pytest.mark.parametrize("name", SHAPE)
@pytest.mark.parametrize("degrees", [11, 37])
def test_the_area_is_that_of_the_figure(name, degrees):
    found = rasterise(SHAPE[name], 80.0, direction=turned(degrees), phase=(0.3, -0.2))
    assert found.bits.sum() == pytest.approx(AREAS[name] * 80**2, rel=0.005)
    assert found.cover.sum() == pytest.approx(AREAS[name] * 80**2, rel=0.01)


def test_the_names_are_those_of_eight_categories():
    assert list(SHAPE) == list(AREAS)


@pytest.mark.parametrize(
    ("name", "corners"),
    [
        ("triangle", [(0, -1), (math.sqrt(0.75), 0.5), (-math.sqrt(0.75), 0.5)]),
        (
            "star",
            [
                (
                    (0.45 if i % 2 else 1.0) * math.sin(i * math.pi / 5),
                    -(0.45 if i % 2 else 1.0) * math.cos(i * math.pi / 5),
                )
                for i in range(10)
            ],
        ),
        (
            "hourglass",
            [(0.715, 0.85), (0.12, 0), (0.715, -0.85), (-0.715, -0.85), (-0.12, 0), (-0.715, 0.85)],
        ),
    ],
)
def test_pixels_are_those_with_their_centre_inside_the_polygon(name, corners):
    degrees, radius, phase = 25.0, 20.3, (0.17, 0.41)  # phase is (down, across)
    found = rasterise(SHAPE[name], radius, direction=turned(degrees), phase=phase)
    cosine, sine = turned(degrees)
    x, y = radius * np.array(corners).T
    outline = Path(
        np.stack([x * cosine - y * sine + phase[1], x * sine + y * cosine + phase[0]], 1)
    )
    centres = np.arange(-30, 30) + 0.5
    points = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    inside = outline.contains_points(points).reshape(60, 60)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    expected = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    np.testing.assert_array_equal(found.bits, expected)


def test_a_small_disc_by_hand():
    found = rasterise(SHAPE["disc"], 2.0)
    assert found.bits.astype(int).tolist() == [
        [0, 1, 1, 0],
        [1, 1, 1, 1],
        [1, 1, 1, 1],
        [0, 1, 1, 0],
    ]
    # The corner pixel's centre is sqrt(4.5) = 2.121 from the origin: 0.121 px outside.
    assert found.cover[0, 0] == pytest.approx(0.5 - (math.sqrt(4.5) - 2), abs=1e-6)
    assert found.cover[1, 1] == 1
    assert found.sides == (4, 4)


@pytest.mark.parametrize("name", SHAPE)
def test_cover_agrees_with_the_bits_and_the_box_is_tight(name):
    rng = np.random.default_rng(0)
    for _ in range(20):
        found = rasterise(SHAPE[name], 8 + 30 * rng.random(), direction=unit_vector(rng))
        assert (found.cover[found.bits] >= 0.5).all() and (found.cover[~found.bits] <= 0.5).all()
        for border in (found.bits[0], found.bits[-1], found.bits[:, 0], found.bits[:, -1]):
            assert border.any()


@pytest.mark.parametrize("name", SHAPE)
def test_only_the_ring_has_a_hole_even_when_small(name):
    rng = np.random.default_rng(1)
    for _ in range(20):
        bits = rasterise(SHAPE[name], 8.5, direction=unit_vector(rng)).bits
        has_hole = ndimage.binary_fill_holes(bits).sum() > bits.sum()
        assert has_hole == (name == "ring")


def test_upright_directions_stay_within_thirty_degrees():
    rng = np.random.default_rng(2)
    directions = np.array([upright_vector(rng) for _ in range(500)])
    np.testing.assert_allclose(np.hypot(*directions.T), 1.0, rtol=1e-12)
    angles = np.degrees(np.arctan2(directions[:, 1], directions[:, 0]))
    assert -30 <= angles.min() < -28 and 28 < angles.max() <= 30


def corner_aligned(bits):
    """The mask in the middle of a canvas that fits every shape of this test."""
    canvas = np.zeros((24, 24), dtype=bool)
    top, left = (24 - bits.shape[0]) // 2, (24 - bits.shape[1]) // 2
    canvas[top : top + bits.shape[0], left : left + bits.shape[1]] = bits
    return canvas


def test_shapes_of_16_pixels_are_told_apart_under_any_rotation():
    templates, names = [], []
    for name, shape in SHAPE.items():
        for degrees in range(0, 360, 10):
            found = rasterise(shape, 8.6, direction=turned(degrees))
            templates.append(corner_aligned(found.bits).ravel())
            names.append(name)
    bank = np.array(templates)
    rng = np.random.default_rng(2)
    for name, shape in SHAPE.items():
        for _ in range(12):
            phase = (rng.random() - 0.5, rng.random() - 0.5)
            found = rasterise(shape, 8.6, direction=unit_vector(rng), phase=phase)
            bits = corner_aligned(found.bits).ravel()
            overlap = (bank & bits).sum(1) / (bank | bits).sum(1)
            assert names[int(overlap.argmax())] == name


def test_unit_vectors_have_length_one_and_cover_the_circle():
    rng = np.random.default_rng(3)
    vectors = np.array([unit_vector(rng) for _ in range(800)])
    np.testing.assert_allclose((vectors**2).sum(1), 1, rtol=1e-12)
    octants = np.floor(np.arctan2(vectors[:, 1], vectors[:, 0]) / (math.pi / 4)).astype(int) + 4
    counts = np.bincount(octants, minlength=8)[:8]
    assert ((counts - 100) ** 2 / 100).sum() < 24.3  # chi-square, 7 degrees, 0.1 %


def test_meeting_offsets_touch_or_overlap():
    rng = np.random.default_rng(4)
    kinds = {"touch": 0, "overlap": 0}
    for _ in range(60):
        first = rasterise(SHAPES[rng.integers(8)], 12.0, direction=unit_vector(rng)).bits
        second = rasterise(SHAPES[rng.integers(8)], 16.0, direction=unit_vector(rng)).bits
        down, across = meeting_offset(rng, first, second)
        canvas = np.zeros((2, 150, 150), dtype=bool)
        canvas[0, 60 : 60 + first.shape[0], 60 : 60 + first.shape[1]] = first
        top, left = 60 + down, 60 + across
        canvas[1, top : top + second.shape[0], left : left + second.shape[1]] = second
        assert (ndimage.binary_dilation(canvas[0]) & canvas[1]).any()
        kinds["overlap" if (canvas[0] & canvas[1]).any() else "touch"] += 1
    assert min(kinds.values()) >= 10


def test_meeting_offset_of_two_single_pixels_is_a_neighbour_or_the_pixel_itself():
    rng = np.random.default_rng(5)
    dot = np.ones((1, 1), dtype=bool)
    found = {meeting_offset(rng, dot, dot) for _ in range(100)}
    assert found <= {(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)}
    assert len(found) >= 4


def test_a_radius_without_pixels_is_refused():
    with pytest.raises(ValueError, match=r"radius: expected at least 2 px, got 1\.5"):
        rasterise(SHAPE["disc"], 1.5)
