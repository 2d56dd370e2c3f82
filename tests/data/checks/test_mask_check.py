"""Masks of files: every fault, and the mask that a corrected copy gets."""

import numpy as np
import pytest
from pycocotools import mask as pycoco

from fcis.core.masks import mask_from_rle, rle_area, rle_from_mask, rle_from_polygons
from fcis.data.checks import faults
from fcis.data.checks.faults import Changed, Dropped
from fcis.data.checks.mask_check import check_mask
from fcis.data.dataset import Polygons

# pycocotools with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

HEIGHT, WIDTH = 20, 30
SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]
RNG = np.random.default_rng(0)


def json_rle(mask):
    rle = rle_from_mask(mask)
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def outcome(segmentation, height=HEIGHT, width=WIDTH, is_quick=False):
    """Return the check, its mask encoded, and the kinds of what was wrong."""
    check = check_mask(segmentation, height, width, is_quick=is_quick)
    rle = check.mask.encode() if isinstance(check.mask, Polygons) else check.mask
    return check, rle, [problem.kind for problem in check.problems]


def parts_of(check):
    return [part.tolist() for part in check.mask.parts]


@pytest.mark.parametrize("segmentation", [[SQUARE], [SQUARE, [20, 5, 25, 5, 25, 9]]])
def test_good_outlines_stay_themselves(segmentation):
    check, rle, kinds = outcome(segmentation)
    assert parts_of(check) == segmentation and kinds == []
    assert rle == rle_from_polygons(segmentation, HEIGHT, WIDTH)
    again, _, _ = outcome([np.array(part, dtype=np.float64) for part in segmentation])
    assert parts_of(again) == segmentation


def test_good_encodings_stay_themselves():
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[3:5, 6:9] = True
    runs = {"size": [20, 30], "counts": [123, 2, 18, 2, 18, 2, 435]}
    for segmentation in (json_rle(mask), runs, rle_from_mask(mask)):
        _, rle, kinds = outcome(segmentation)
        assert kinds == []
        np.testing.assert_array_equal(mask_from_rle(rle), mask)


@pytest.mark.parametrize("is_quick", [True, False])
@pytest.mark.parametrize(
    ("segmentation", "kind", "text"),
    [
        (None, faults.NO_MASK, "has no 'segmentation'"),
        ([], faults.NO_MASK, "has no 'segmentation'"),
        ("text", faults.NO_MASK, "has no 'segmentation'"),
        ([None], faults.BAD_POLYGON, "has a 'segmentation' that is not a list of polygons, each"),
        ([["a"] * 6], faults.BAD_POLYGON, "has a 'segmentation' that is not a list of polygons"),
        ([[None] * 6], faults.BAD_POLYGON, "has a 'segmentation' that is not a list of polygons"),
        ([[[1, 2], [3, 4], [5, 6]]], faults.BAD_POLYGON, "has a 'segmentation' that is not a"),
        ([[*SQUARE, 1]], faults.ODD_POLYGON, "has a polygon of an odd number of values (9)"),
        ([[*SQUARE, float("inf"), 1]], faults.NAN_COORDINATES, "has a polygon with NaN or inf"),
        ([[float("nan"), *SQUARE[1:]]], faults.NAN_COORDINATES, "has a polygon with NaN or inf"),
        ([[*SQUARE, 10**400, 1]], faults.NAN_COORDINATES, "has a polygon with NaN or infinite"),
        (
            [[-31, 1, 5, 1, 5, 5]],
            faults.FAR_POLYGON,
            "has a polygon far outside the image of 30 x 20 (width x height), from (-31, 1) to (5,",
        ),
        ([[1, 1, 5, 1, 5, 41]], faults.FAR_POLYGON, "has a polygon far outside the image"),
        ({}, faults.RLE_SIZE, "has an RLE of size None, but the image is [20, 30] (height, width)"),
        ({"size": [30, 20], "counts": [600]}, faults.RLE_SIZE, "has an RLE of size [30, 20], but"),
        ({"size": [20, 30], "counts": [600]}, faults.EMPTY_MASK, "has a mask without a pixel"),
        (
            rle_from_mask(np.zeros((20, 30), dtype=bool)),
            faults.EMPTY_MASK,
            "has a mask without a pixel",
        ),
        ({"size": [20, 30], "counts": [5, 5]}, faults.DAMAGED_RLE, "has an RLE whose runs do not"),
        ({"size": [20, 30], "counts": "\x7f"}, faults.DAMAGED_RLE, "has an RLE whose runs do not"),
        ({"size": [20, 30]}, faults.DAMAGED_RLE, "has an RLE whose runs do not add up to the"),
    ],
)
def test_what_cannot_be_repaired(segmentation, kind, text, is_quick):
    check, _, _ = outcome(segmentation, is_quick=is_quick)
    (problem,) = check.problems
    assert (problem.kind, problem.fix, check.mask) == (kind, Dropped(), None)
    assert problem.text.startswith(text)
    assert problem.is_empty == (kind is faults.EMPTY_MASK)


@pytest.mark.parametrize("part", [["1", 2, 3, 4, 5, 6], [True] * 6])
def test_what_numpy_takes_for_numbers_is_found_by_a_whole_check(part):
    assert outcome([part])[2] == [faults.BAD_POLYGON]


def test_a_damaged_part_costs_the_object_and_all_faults_are_named():
    check, _, kinds = outcome([SQUARE, [1, 2], [1, 2, 3], [float("nan")] * 6])
    assert kinds == [faults.SHORT_POLYGON, faults.ODD_POLYGON, faults.NAN_COORDINATES]
    assert check.mask is None
    assert [problem.text for problem in check.problems] == [
        "has a polygon of 1 points",
        "has a polygon of an odd number of values (3)",
        "has a polygon with NaN or infinite values",
    ]


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ([], faults.SHORT_POLYGON),
        ([1, 1, 9, 9], faults.SHORT_POLYGON),
        ([4, 4, 4, 4, 4, 4], faults.FLAT_POLYGON),
        ([1, 1, 9, 1, 5, 1], faults.FLAT_POLYGON),
        ([1, 1, 9, 9, 5, 5, 3, 3], faults.FLAT_POLYGON),
    ],
)
def test_parts_without_an_area_are_removed(part, kind):
    check, rle, kinds = outcome([part, SQUARE])
    assert kinds == [kind] and parts_of(check) == [SQUARE]
    assert check.problems[0].fix == Changed("outline removed")
    assert rle == rle_from_polygons([SQUARE], HEIGHT, WIDTH)
    check, _, kinds = outcome([part])
    assert kinds == [kind, faults.EMPTY_MASK] and check.mask is None


def test_a_figure_of_eight_is_not_flat():
    _, rle, kinds = outcome([[2, 2, 12, 12, 2, 12, 12, 2]])  # its signed area is 0
    assert kinds == [] and rle_area(rle) > 20


def test_an_outline_outside_of_a_list():
    check, _, kinds = outcome(list(SQUARE))
    assert kinds == [faults.BAD_POLYGON] and parts_of(check) == [SQUARE]
    assert check.problems[0].fix == Changed("put into a list")


def test_fractions_become_pixels():
    check, _, kinds = outcome([[0.1, 0.25, 0.5, 0.25, 0.5, 0.75], [0, 0, 0, 1, 0.1, 1]])
    assert kinds == [faults.NORMALISED_POLYGON]
    expected = [[3, 5, 15, 5, 15, 15], [0, 0, 0, 20, 3, 20]]
    np.testing.assert_allclose(np.concatenate(check.mask.parts), np.concatenate(expected))
    # one coordinate beyond 1 shows that they are pixels
    assert outcome([[0, 0, 5, 0, 5, 5]])[2] == []
    # an image of two pixels cannot tell
    assert faults.NORMALISED_POLYGON not in outcome([[0, 0, 1, 0, 1, 1]], 2, 2)[2]


@pytest.mark.parametrize(("end", "area"), [(1.001, HEIGHT * WIDTH), (1.002, 1)])
def test_fractions_pass_1_by_rounding_and_pixels_by_more(end, area):
    """0.3335 + 0.6665 is 1, but 0.334 + 0.667 is 1.001: no sum of three digits is further off."""
    _, rle, kinds = outcome([[0, 0, end, 0, end, end, 0, end]])
    assert kinds == [faults.NORMALISED_POLYGON] * (area > 1)
    assert rle_area(rle) == area


def test_outlines_are_cut_at_the_border():
    outside = [-5, 4, 10, -6, 34, 8, 20, 26]
    check, rle, kinds = outcome([outside])
    assert kinds == [faults.OUTSIDE_MASK]
    assert check.problems[0].fix == Changed("cut at the border")
    points = check.mask.parts[0].reshape(-1, 2)
    assert points.min() >= 0 and (points.max(axis=0) <= (WIDTH, HEIGHT)).all()
    before = mask_from_rle(rle_from_polygons([outside], HEIGHT, WIDTH))
    after = mask_from_rle(rle)
    assert (before & after).sum() >= 0.99 * (before | after).sum()
    assert outcome([outside], is_quick=True)[2] == []  # which encoding does, too


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
    np.testing.assert_array_equal(mask_from_rle(outcome(text, *mask.shape)[1]), mask)

    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(np.concatenate(([0], flat, [not flat[-1]]))) != 0)
    counts = np.diff(np.concatenate(([0], ends))).tolist()
    runs = {"size": list(mask.shape), "counts": counts}
    np.testing.assert_array_equal(mask_from_rle(outcome(runs, *mask.shape)[1]), mask)


@pytest.mark.parametrize("counts", [[1, 2, 3], [1, 2.0, 3]])
def test_uncompressed_by_hand(counts):
    expected = np.zeros((2, 3), dtype=bool)
    expected[1, 0] = expected[0, 1] = True  # down the columns: 1 off, 2 on, 3 off
    rle = outcome({"size": [2, 3], "counts": counts}, 2, 3)[1]
    np.testing.assert_array_equal(mask_from_rle(rle), expected)


NO_TEXT = ["", "1", "11", "\x01\x01", "zzzz", "é", "P", "o" * 50, "1N9"]
NO_RUNS = [[], [1, 2], [1, 2, 4], [-1, 4, 3], [1.5, 1.5, 3], ["1", 2, 3], None, 5]


@pytest.mark.parametrize("counts", [*NO_TEXT, *NO_RUNS])
def test_encodings_that_do_not_add_up(counts):
    assert outcome({"size": [2, 3], "counts": counts}, 2, 3)[2] == [faults.DAMAGED_RLE]


@pytest.mark.parametrize("counts", ["6", [6], [6, 0], [2, 0, 4]])
def test_encodings_without_a_pixel(counts):
    assert outcome({"size": [2, 3], "counts": counts}, 2, 3)[2] == [faults.EMPTY_MASK]


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
    _, rle, _ = outcome(polygons, 8, 9, is_quick=True)
    np.testing.assert_array_equal(mask_from_rle(rle), expected)


@pytest.mark.parametrize("is_quick", [True, False])
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
def test_polygons_without_a_pixel(polygon, is_quick):
    check, _, kinds = outcome([polygon], 8, 9, is_quick=is_quick)
    assert kinds[-1] is faults.EMPTY_MASK and check.problems[-1].is_empty
    assert check.problems[-1].text == "has outlines without a pixel of the image in them"


def test_every_polygon_that_is_accepted_has_a_pixel():
    accepted = 0
    for _ in range(3000):
        corner = RNG.uniform(0, 30, 2)
        points = corner + RNG.uniform(-1, 1, (RNG.integers(3, 6), 2)) * RNG.uniform(0, 6, 2)
        _, rle, kinds = outcome([points.ravel().tolist()], 32, 32, is_quick=True)
        assert (rle is None) == bool(kinds)
        if rle is not None:
            accepted += 1
            assert mask_from_rle(rle).any()
    assert accepted > 1000


@pytest.mark.parametrize("is_quick", [True, False])
def test_an_outline_too_long_to_be_drawn(is_quick):
    zigzag = [value for n in range(3000) for value in (3000 * (n % 2), n)]
    check = check_mask([zigzag], 3000, 3000, is_quick=is_quick)
    (problem,) = check.problems
    assert problem.kind.name == "bad-polygon" and check.mask is None
    assert "edges are 9e+06 px long in all" in problem.text
    rings = [value for n in range(3000) for value in (1500 + 9 * (n % 2), n)]
    assert not check_mask([rings], 3000, 3000, is_quick=is_quick).problems
