"""Masks of JSON files: every fault, and the mask that a corrected copy gets."""

import numpy as np
import pytest

from fcis.core.masks import mask_from_rle, rle_area, rle_from_mask, rle_from_polygons
from fcis.data.checks import faults
from fcis.data.checks.mask_check import DROPPED, check_mask, numbers_of, rescaled

HEIGHT, WIDTH = 20, 30
SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]


def json_rle(mask):
    rle = rle_from_mask(mask)
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def outcome(segmentation, height=HEIGHT, width=WIDTH):
    check = check_mask(segmentation, height, width)
    return check, [issue.kind for issue in check.issues]


@pytest.mark.parametrize("segmentation", [[SQUARE], [SQUARE, [20, 5, 25, 5, 25, 9]]])
def test_good_outlines_come_back_themselves(segmentation):
    check, kinds = outcome(segmentation)
    assert check.segmentation is segmentation and kinds == []
    assert check.rle == rle_from_polygons(segmentation, HEIGHT, WIDTH)


def test_good_encodings_come_back_themselves():
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[3:5, 6:9] = True
    for segmentation in (json_rle(mask), {"size": [20, 30], "counts": [123, 2, 18, 2, 18, 2, 435]}):
        check, kinds = outcome(segmentation)
        assert check.segmentation is segmentation and kinds == []
        np.testing.assert_array_equal(mask_from_rle(check.rle), mask)


@pytest.mark.parametrize(
    ("segmentation", "kind"),
    [
        (None, faults.NO_MASK),
        ([], faults.NO_MASK),
        ("text", faults.NO_MASK),
        ([None], faults.BAD_POLYGON),
        ([["1", 2]], faults.BAD_POLYGON),
        ([[True] * 6], faults.BAD_POLYGON),
        ([[*SQUARE, 1]], faults.ODD_POLYGON),
        ([[*SQUARE, float("inf"), 1]], faults.NAN_COORDINATES),
        ([[*SQUARE, 10**400, 1]], faults.NAN_COORDINATES),
        ([[-31, 1, 5, 1, 5, 5]], faults.FAR_POLYGON),
        ([[1, 1, 5, 1, 5, 41]], faults.FAR_POLYGON),
        ({}, faults.RLE_SIZE),
        ({"size": [30, 20], "counts": [600]}, faults.RLE_SIZE),
        ({"size": [20, 30], "counts": [600]}, faults.EMPTY_MASK),
        ({"size": [20, 30], "counts": [5, 5]}, faults.DAMAGED_RLE),
        ({"size": [20, 30], "counts": "\x7f"}, faults.DAMAGED_RLE),
        ({"size": [20, 30]}, faults.DAMAGED_RLE),
    ],
)
def test_what_cannot_be_repaired(segmentation, kind):
    check, kinds = outcome(segmentation)
    assert kinds == [kind] and check.issues[0].repair == DROPPED
    assert check.rle is None and check.segmentation == segmentation


def test_a_damaged_part_costs_the_object_and_all_faults_are_named():
    check, kinds = outcome([SQUARE, [1, 2], [1, 2, 3], [float("nan")] * 6])
    assert kinds == [faults.SHORT_POLYGON, faults.ODD_POLYGON, faults.NAN_COORDINATES]
    assert check.rle is None
    assert [issue.text for issue in check.issues] == [
        "has an outline of 1 point",
        "has an outline of 3 values",
        "has an outline with NaN or infinite values",
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
    check, kinds = outcome([part, SQUARE])
    assert kinds == [kind] and check.segmentation == [SQUARE]
    assert check.rle == rle_from_polygons([SQUARE], HEIGHT, WIDTH)
    check, kinds = outcome([part])
    assert kinds == [kind, faults.EMPTY_MASK] and check.rle is None


def test_a_figure_of_eight_is_not_flat():
    check, kinds = outcome([[2, 2, 12, 12, 2, 12, 12, 2]])  # its signed area is 0
    assert kinds == [] and rle_area(check.rle) > 20


def test_an_outline_outside_of_a_list():
    check, kinds = outcome(list(SQUARE))
    assert kinds == [faults.BAD_POLYGON] and check.segmentation == [SQUARE]
    assert check.issues[0].text == "has an outline outside of a list"


def test_fractions_become_pixels():
    check, kinds = outcome([[0.1, 0.25, 0.5, 0.25, 0.5, 0.75], [0, 0, 0, 1, 0.1, 1]])
    assert kinds == [faults.NORMALISED_POLYGON]
    expected = [[3, 5, 15, 5, 15, 15], [0, 0, 0, 20, 3, 20]]
    np.testing.assert_allclose(np.concatenate(check.segmentation), np.concatenate(expected))
    # one coordinate beyond 1 shows that they are pixels
    assert outcome([[0, 0, 5, 0, 5, 5]])[1] == []
    # an image of two pixels cannot tell
    assert faults.NORMALISED_POLYGON not in outcome([[0, 0, 1, 0, 1, 1]], 2, 2)[1]


@pytest.mark.parametrize(("end", "area"), [(1.001, HEIGHT * WIDTH), (1.002, 1)])
def test_fractions_pass_1_by_rounding_and_pixels_by_more(end, area):
    """0.3335 + 0.6665 is 1, but 0.334 + 0.667 is 1.001: no sum of three digits is further off."""
    check, kinds = outcome([[0, 0, end, 0, end, end, 0, end]])
    assert kinds == [faults.NORMALISED_POLYGON] * (area > 1)
    assert rle_area(check.rle) == area


def test_outlines_are_cut_at_the_border():
    outside = [-5, 4, 10, -6, 34, 8, 20, 26]
    check, kinds = outcome([outside])
    assert kinds == [faults.OUTSIDE_MASK] and check.issues[0].repair == "cut at the border"
    points = np.array(check.segmentation[0]).reshape(-1, 2)
    assert points.min() >= 0 and (points.max(axis=0) <= (WIDTH, HEIGHT)).all()
    before = mask_from_rle(rle_from_polygons([outside], HEIGHT, WIDTH))
    after = mask_from_rle(check.rle)
    assert (before & after).sum() >= 0.99 * (before | after).sum()


def test_a_pixel_beyond_the_border_is_let_pass():
    part = [-1, -1, 31, -1, 31, 21, -1, 21]
    assert outcome([part])[1] == []


@pytest.mark.parametrize(
    "part", [[-9, 2, -3, 2, -3, 9], [31.5, 2, 40, 2, 40, 9], [2, -9, 9, -9, 9, 0]]
)
def test_outlines_wholly_outside(part):
    check, kinds = outcome([part])
    assert kinds == [faults.OUTSIDE_MASK, faults.EMPTY_MASK] and check.rle is None
    assert check.issues[1].text == "has outlines without a pixel of the image in them"


def test_rescaled_masks():
    part = [2, 3, 12, 3, 12, 13]
    assert rescaled([part, "bad"], (20, 30), (40, 90)) == [[6, 6, 36, 6, 36, 26], "bad"]
    mask = np.zeros((20, 30), dtype=bool)
    mask[4:10, 6:20] = True
    large = rescaled(json_rle(mask), (20, 30), (40, 60))
    expected = mask.repeat(2, axis=0).repeat(2, axis=1)
    assert large == json_rle(expected)
    for bad in (None, {"size": [1, 1]}, "text"):
        assert rescaled(bad, (20, 30), (40, 60)) is bad


def test_numbers():
    assert numbers_of([1, 2.5, float("nan")]) == [1, 2.5]
    assert list(numbers_of("text")) == list(numbers_of([[1]])) == []
