"""Objects of files: boxes and areas against the mask."""

import numpy as np
import pytest

from fcis.core.masks import mask_from_rle, rle_from_mask, rle_from_polygons
from fcis.data.checks import faults
from fcis.data.checks.faults import Changed, Dropped, Problem
from fcis.data.checks.object_check import check_object, read_area, read_box, rescaled
from fcis.data.checks.raw import RawObject

SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]
RAW = RawObject("it", 1, 4, [SQUARE], [2, 3, 10, 10], 100)
SIZE = (20, 30)
BOX_FIX, AREA_FIX = Changed("box taken from the mask"), Changed("area taken from the mask")


def issues(is_quick=False, **changes):
    done = check_object(RAW._replace(**changes), 4, SIZE, is_quick=is_quick)
    return done, [(problem.kind, problem.text, problem.fix) for problem in done.problems]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bbox": None, "area": None},
        {"bbox": [1, 2, 12, 12]},  # an IoU of 0.69, but within 2 px
        {"bbox": [-1, -1, 25, 20], "is_crowd": 1, "area": 500},  # of a crowd
        {"area": 0},
        {"area": 128},  # a box's height and width, and a tenth, more
    ],
)
def test_a_good_one(changes):
    done, found = issues(**changes)
    assert found == [] and done.changed == frozenset()
    assert done.rle == done.annotation.rle == rle_from_polygons([SQUARE], 20, 30)
    quick, found = issues(is_quick=True, **changes)
    assert found == [] and quick.annotation.box == done.annotation.box
    assert quick.annotation.area == done.annotation.area


def test_what_is_missing_comes_from_the_mask():
    annotation = issues(bbox=None, area=None)[0].annotation
    assert (annotation.id, annotation.category_id, annotation.is_crowd) == (1, 4, False)
    assert (annotation.box, annotation.area) == ((2, 3, 12, 13), 100)


@pytest.mark.parametrize(
    ("bbox", "kind", "text"),
    [
        ([2, 3, 12, 13], faults.BOX_MASK,
         "has the box [2, 3, 12, 13], but the one around its mask is [2.0, 3.0, 10.0, 10.0] "
         "(IoU 0.64)"),
        ([2, 3, 10], faults.BAD_BOX, "has the box [2, 3, 10]"),
        ("text", faults.BAD_BOX, "has the box 'text'"),
        ([2, 3, float("nan"), 10], faults.BAD_BOX, "has the box [2, 3, nan, 10]"),
        ([2, 3, 0, 10], faults.BAD_BOX,
         "has the box [2, 3, 0, 10], whose width or height is not positive"),
        ([2, 3, 40, 10], faults.BAD_BOX,
         "has the box [2, 3, 40, 10], which lies outside the image of 30 x 20 (width x height)"),
    ],
)  # fmt: skip
def test_boxes_are_taken_from_the_mask(bbox, kind, text):
    done, found = issues(bbox=bbox)
    assert found == [(kind, text, BOX_FIX)]
    assert done.annotation.box == (2, 3, 12, 13) and done.changed == {"bbox"}
    quick, found = issues(is_quick=True, bbox=bbox)
    assert (quick.annotation is None) == bool(found) == (kind is faults.BAD_BOX)


@pytest.mark.parametrize(
    ("area", "kind", "text"),
    [
        (131, faults.AREA_MASK, "has the area 131, but its mask has 100 pixels"),
        (60, faults.AREA_MASK, "has the area 60, but its mask has 100 pixels"),
        (-3, faults.BAD_AREA, "has the area -3"),
        ("9", faults.BAD_AREA, "has the area '9'"),
        (float("nan"), faults.BAD_AREA, "has the area nan"),
    ],
)
def test_areas_are_taken_from_the_mask(area, kind, text):
    done, found = issues(area=area)
    assert found == [(kind, text, AREA_FIX)]
    assert done.annotation.area == 100 and done.changed == {"area"}


def test_a_crowd_flag_that_is_none():
    done, found = issues(is_crowd="no")
    assert found == [(faults.BAD_ANNOTATION, "has 'iscrowd' 'no'", Changed("'iscrowd' set to 0"))]
    assert done.annotation.is_crowd is False and done.changed == {"iscrowd"}


def test_without_a_mask_nothing_is_left_but_all_is_said():
    done, found = issues(segmentation=None, bbox=[0, 0, 0, 0], area=-1)
    assert done.annotation is None and done.rle is None
    assert [(kind, fix) for kind, _, fix in found] == [
        (faults.BAD_BOX, Dropped()),
        (faults.BAD_AREA, Dropped()),
        (faults.NO_MASK, Dropped()),
    ]


def test_what_the_reader_has_met_comes_first_and_may_be_all():
    lost = Problem(faults.NO_MASK, "is a box")
    done, found = issues(problems=(lost,), area=-1)
    assert done.annotation is None and found == [(faults.NO_MASK, "is a box", Dropped())]


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
    assert read_box(bbox, 10, 20) == expected


@pytest.mark.parametrize(
    ("bbox", "text", "remedy"),
    [
        ([1, 2, 3], "has the box [1, 2, 3]", "use [x, y, width, height]"),
        ([1, 2, 3, "4"], "has the box [1, 2, 3, '4']", "use"),
        ([1, 2, 3, float("nan")], "has the box [1, 2, 3, nan]", "use"),
        ([1, 2, 3, 10**400], "has the box", "use"),
        ("box", "has the box 'box'", "use"),
        ([1, 2, 0, 4], "has the box [1, 2, 0, 4], whose width or height is", "correct or remove"),
        ([1, 2, -3, 4], "has the box [1, 2, -3, 4], whose width or height", "correct or remove"),
        ([15, 5, 6.1, 2], "has the box [15, 5, 6.1, 2], which lies outside", "correct or remove"),
        ([-1.1, 0, 5, 5], "has the box [-1.1, 0, 5, 5], which lies outside", "correct or remove"),
        # nothing is left of it
        ([-0.9, 0, 0.5, 5], "has the box [-0.9, 0, 0.5, 5], which lies out", "correct or remove"),
    ],
)
def test_bad_boxes(bbox, text, remedy):
    problem = read_box(bbox, 10, 20)
    assert problem.kind is faults.BAD_BOX
    assert problem.text.startswith(text) and problem.remedy.startswith(remedy)
    assert problem.is_empty == (bbox == [1, 2, 0, 4])


def test_areas():
    assert (read_area(None), read_area(0), read_area(2.5)) == (0, 0, 2.5)
    for area in (-1, "2", [], float("inf")):
        problem = read_area(area)
        assert problem.text == f"has the area {area!r}"
        assert problem.remedy == "correct it or leave it out"


def test_an_image_that_was_resized_later():
    annotation = rescaled(issues()[0].annotation, SIZE, (40, 90))
    assert [part.tolist() for part in annotation.mask.parts] == [[6, 6, 36, 6, 36, 26, 6, 26]]
    assert (annotation.box, annotation.area) == ((6, 6, 36, 26), 600)
    mask = np.zeros(SIZE, dtype=bool)
    mask[4:10, 6:20] = True
    encoded = issues(segmentation=rle_from_mask(mask), bbox=None, area=None)[0].annotation
    large = rescaled(encoded, SIZE, (40, 60))
    expected = mask.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(mask_from_rle(large.rle), expected)
