"""One annotation's box, area and mask."""

import numpy as np
import pytest
from pycocotools import mask as pycoco

from fcis.core.masks import mask_from_rle
from fcis.data.dataset import Polygons
from fcis.data.formats.coco_masks import (
    Problem,
    is_number,
    read_area,
    read_box,
    read_mask,
    whole_number,
)

# pycocotools with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

RNG = np.random.default_rng(0)


def decode(segmentation: object, height: int, width: int) -> np.ndarray:
    mask = read_mask("a", segmentation, height, width)
    return mask_from_rle(mask.encode() if isinstance(mask, Polygons) else mask)


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([1, 2, 3, 4], (1, 2, 4, 6)),
        ([0, 0, 20, 10], (0, 0, 20, 10)),
        ([-0.5, -1.0, 3, 4], (0, 0, 2.5, 3)),
        ([15.5, 5.5, 5.5, 5], (15.5, 5.5, 20, 10)),  # passes by 1 and by 0.5
        (None, None),
    ],
)
def test_boxes(bbox, expected):
    assert read_box("a", bbox, 10, 20) == expected


@pytest.mark.parametrize(
    ("bbox", "message"),
    [
        ([1, 2, 3], r"a has the box \[1, 2, 3\]; use \[x, y, width, height\]"),
        ([1, 2, 3, "4"], "use"),
        ([1, 2, 3, float("nan")], "use"),
        ([1, 2, 3, 10**400], "use"),
        ("box", "a has the box 'box'; use"),
        ([1, 2, 0, 4], "width or height is not positive; correct or remove the annotation"),
        ([1, 2, -3, 4], "width or height is not positive"),
        ([15, 5, 6.1, 2], r"lies outside the image of 20 x 10 \(width x height\); correct or"),
        ([-1.1, 0, 5, 5], "lies outside the image"),
        ([-0.9, 0, 0.5, 5], "lies outside the image"),  # nothing is left of it
    ],
)
def test_bad_boxes(bbox, message):
    with pytest.raises(Problem, match=message):
        read_box("a", bbox, 10, 20)


def test_areas():
    assert (read_area("a", None), read_area("a", 0), read_area("a", 2.5)) == (0, 0, 2.5)
    for area in (-1, "2", [], float("inf")):
        with pytest.raises(Problem, match=r"a has the area .*; correct it or leave it out"):
            read_area("a", area)


def random_masks() -> list[np.ndarray]:
    masks = [RNG.random((h, w)) < p for h, w in [(1, 1), (9, 7), (40, 300)] for p in (0.3, 0.97, 1)]
    blob = np.zeros((500, 700), dtype=bool)
    blob[100:450, 3:690] = True  # runs of several characters
    edge = np.zeros((5, 6), dtype=bool)
    edge[-1, -1] = True
    return [mask for mask in (*masks, blob, edge) if mask.any()]


@pytest.mark.parametrize("mask", random_masks(), ids=lambda mask: str(mask.shape))
def test_encodings_of_pycocotools(mask):
    rle = pycoco.encode(np.asfortranarray(mask, dtype=np.uint8))
    text = {"size": list(mask.shape), "counts": rle["counts"].decode()}
    np.testing.assert_array_equal(decode(text, *mask.shape), mask)

    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(np.concatenate(([0], flat, [not flat[-1]]))) != 0)
    counts = np.diff(np.concatenate(([0], ends))).tolist()
    runs = {"size": list(mask.shape), "counts": counts}
    np.testing.assert_array_equal(decode(runs, *mask.shape), mask)


def test_uncompressed_by_hand():
    expected = np.zeros((2, 3), dtype=bool)
    expected[1, 0] = expected[0, 1] = True  # down the columns: 1 off, 2 on, 3 off
    np.testing.assert_array_equal(decode({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3), expected)
    np.testing.assert_array_equal(decode({"size": [2, 3], "counts": [1, 2.0, 3]}, 2, 3), expected)


NO_TEXT = ["", "1", "11", "\x01\x01", "zzzz", "é", "P", "o" * 50, "1N9"]
NO_RUNS = [[], [1, 2], [1, 2, 4], [-1, 4, 3], [1.5, 1.5, 3], ["1", 2, 3], None, 5]


@pytest.mark.parametrize("counts", [*NO_TEXT, *NO_RUNS])
def test_encodings_that_do_not_add_up(counts):
    with pytest.raises(
        Problem, match=r"a has an RLE whose runs do not add up.*; export it again"
    ) as e:
        read_mask("a", {"size": [2, 3], "counts": counts}, 2, 3)
    assert not e.value.is_empty


@pytest.mark.parametrize("counts", ["6", [6], [6, 0], [2, 0, 4]])
def test_encodings_without_a_pixel(counts):
    with pytest.raises(Problem, match="a has a mask without a pixel; remove the annotation") as e:
        read_mask("a", {"size": [2, 3], "counts": counts}, 2, 3)
    assert e.value.is_empty


@pytest.mark.parametrize("size", [[3, 2], [2], None, "2x3"])
def test_encodings_of_another_size(size):
    with pytest.raises(
        Problem, match=r"a has an RLE of size .*, but the image is \[2, 3\] \(height"
    ):
        read_mask("a", {"size": size, "counts": [1, 2, 3]}, 2, 3)


@pytest.mark.parametrize(
    "polygons",
    [
        [[1, 1, 4, 1, 4, 3, 1, 3]],
        [[1, 1, 4, 1, 4, 3, 1, 3], [6.2, 0.3, 8.9, 0.1, 7, 5]],
        [[0, 0, 8, 8, 8, 0, 0, 8]],  # crosses itself: its signed area is 0
        [[-3, -2, 5, -2, 5, 5, -3, 5]],  # partly outside
        [[1, 1, 4, 1, 4, 3, 1, 3], [5, 5, 5, 5, 5, 5]],  # one part without area
    ],
)
def test_polygons_as_pycocotools_draws_them(polygons):
    expected = pycoco.decode(pycoco.merge(pycoco.frPyObjects(polygons, 8, 9))).astype(bool)
    assert expected.any()
    np.testing.assert_array_equal(decode(polygons, 8, 9), expected)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "a has no 'segmentation'; masks are needed, boxes alone are not enough"),
        ([], "a has no 'segmentation'"),
        ("x", "a has no 'segmentation'"),
        ([1, 2, 3, 4, 5, 6], r"not a list of polygons, each a list of numbers; use \[\[x0, y0"),
        ([["a"] * 6], "not a list of polygons"),
        ([[None] * 6], "not a list of polygons"),
        ([[[1, 2], [3, 4], [5, 6]]], "not a list of polygons"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a has a polygon of an odd number of values; use x, y pairs"),
        ([[1, 2, 3, 4]], "a has a polygon of 2 points; it takes 3 or more: correct or remove it"),
        ([[]], "a has a polygon of 0 points"),
        ([[1, 2, 3, 4, 1e9, 6]], r"a has a polygon far outside the image of 9 x 8 \(width x"),
        ([[1, 2, 3, 4, -10, 6]], "a has a polygon far outside"),
        ([[1, 2, 3, 4, float("inf"), 6]], "a has a polygon far outside"),
    ],
)
def test_bad_polygons(segmentation, message):
    with pytest.raises(Problem, match=message) as e:
        read_mask("a", segmentation, 8, 9)
    assert not e.value.is_empty


@pytest.mark.parametrize(
    "polygon",
    [
        [2, 2, 5, 2, 7, 2],  # a line
        [3, 3, 3, 3, 3, 3],  # a point
        [4, 1, 4, 6, 4, 3],  # a line down
        [2.1, 2.1, 2.2, 2.1, 2.2, 2.2],  # smaller than a pixel
        [10, 1, 15, 1, 15, 6, 10, 6],  # all of it outside
    ],
)
def test_polygons_without_a_pixel(polygon):
    with pytest.raises(
        Problem, match="a has outlines without a pixel of the image in them; remove"
    ) as e:
        read_mask("a", [polygon], 8, 9)
    assert e.value.is_empty


def test_every_polygon_that_is_accepted_has_a_pixel():
    accepted = 0
    for _ in range(3000):
        corner = RNG.uniform(0, 30, 2)
        points = corner + RNG.uniform(-1, 1, (RNG.integers(3, 6), 2)) * RNG.uniform(0, 6, 2)
        try:
            mask = read_mask("a", [points.ravel().tolist()], 32, 32)
        except Problem:
            continue
        accepted += 1
        assert isinstance(mask, Polygons) and mask_from_rle(mask.encode()).any()
    assert accepted > 1000


def test_numbers():
    assert [whole_number(v) for v in (3, 3.0, -1, 0)] == [3, 3, -1, 0]
    assert [whole_number(v) for v in (3.5, "3", None, True, float("nan"))] == [None] * 5
    assert all(map(is_number, (0, -2.5, 1e9)))
    assert not any(map(is_number, ("1", None, [], float("nan"), float("inf"), 10**400)))
