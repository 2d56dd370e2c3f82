"""Annotations of JSON files: boxes and areas against the mask."""

import numpy as np
import pytest

from fcis.core.masks import rle_from_mask, rle_from_polygons
from fcis.data.checks import faults
from fcis.data.checks.annotation_check import Frame, check_annotation

SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]
ENTRY = {"id": 1, "bbox": [2, 3, 10, 10], "area": 100, "iscrowd": 0, "segmentation": [SQUARE]}
FRAME = Frame(id=1, file_name="a.png", size=(20, 30), stated=(20, 30), index=0)


def issues(frame=FRAME, **changes):
    checked = check_annotation({**ENTRY, **changes}, frame)
    return checked, [(issue.kind, issue.text, issue.repair) for issue in checked.issues]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bbox": None, "area": None, "extra": [1]},
        {"bbox": [1, 2, 12, 12]},  # an IoU of 0.69, but within 2 px
        {"bbox": [-1, -1, 25, 20], "iscrowd": 1, "area": 500},  # of a crowd
        {"area": 0},
        {"area": 128},  # a box's height and width, and a tenth, more
    ],
)
def test_a_good_one_comes_back_as_it_is(changes):
    checked, found = issues(**changes)
    assert found == [] and checked.entry == {**ENTRY, **changes}
    assert checked.rle == rle_from_polygons([SQUARE], 20, 30)


def test_optional_fields_are_not_added():
    entry = {"segmentation": [SQUARE]}
    assert check_annotation(entry, FRAME).entry == entry


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
    checked, found = issues(bbox=bbox)
    assert found == [(kind, text, "box taken from the mask")]
    assert checked.entry == {**ENTRY, "bbox": [2.0, 3.0, 10.0, 10.0]}


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
    checked, found = issues(area=area)
    assert found == [(kind, text, "area taken from the mask")]
    assert checked.entry == ENTRY


def test_a_crowd_flag_that_is_none():
    checked, found = issues(iscrowd="no")
    assert found == [(faults.BAD_ANNOTATION, "has 'iscrowd' 'no'", "'iscrowd' set to 0")]
    assert checked.entry == ENTRY


def test_without_a_mask_nothing_is_left_but_all_is_said():
    checked, found = issues(segmentation=None, bbox=[0, 0, 0, 0], area=-1)
    assert checked.entry is None and checked.rle is None
    assert [(kind, repair) for kind, _, repair in found] == [
        (faults.NO_MASK, "dropped"),
        (faults.BAD_BOX, "dropped"),
        (faults.BAD_AREA, "dropped"),
    ]


def test_an_image_that_was_resized_later():
    frame = Frame(id=1, file_name="a.png", size=(40, 90), stated=(20, 30), index=0)
    checked, found = issues(frame)
    assert found == []
    assert checked.entry == {
        **ENTRY, "bbox": [6, 6, 30, 20], "area": 600,
        "segmentation": [[6, 6, 36, 6, 36, 26, 6, 26]],
    }  # fmt: skip
    mask = np.zeros((20, 30), dtype=bool)
    mask[3:13, 2:12] = True
    rle = {"size": [20, 30], "counts": rle_from_mask(mask)["counts"].decode()}
    checked, found = issues(frame, segmentation=rle)
    assert found == [] and checked.entry["segmentation"]["size"] == [40, 90]
