"""mAP^r against hand-computed curves and a slow reference on dense masks."""

import numpy as np
import pytest

from fcis.evaluation.overlaps import category_overlaps
from fcis.evaluation.records import read_evaluation_set
from fcis.evaluation.voc import (
    AveragePrecision,
    average_precision,
    mean_average_precision,
    voc_figures,
)


def box_iou(one, other):
    """The IoU of two boxes (x, y, width, height) by their corners."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(0, across) * max(0, down)
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def enclosing_box(mask):
    """The box (x, y, width, height) of the pixels of a mask."""
    rows, columns = np.nonzero(mask)
    x, y = columns.min(), rows.min()
    return x, y, columns.max() + 1 - x, rows.max() + 1 - y


def mask_iou(one, other):
    return (one & other).sum() / (one | other).sum()


def slow_figures(truth, detections, category, min_iou, decode, boxes=False):
    """Both APs of a category, from the reference's description, one detection at a time."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    overlap = box_iou if boxes else mask_iou

    def shape(entry, is_found):
        if boxes and not is_found:
            return entry["bbox"]
        mask = decode(entry, sizes[entry["image_id"]])
        return enclosing_box(mask) if boxes else mask

    instances = [
        {"image": a["image_id"], "shape": shape(a, False), "used": False}
        for a in truth["annotations"]
        if a["category_id"] == category and not a.get("iscrowd", 0)
    ]
    own = [d for d in detections if d["category_id"] == category]
    curve, right = [], 0
    for rank, found in enumerate(sorted(own, key=lambda d: -d["score"]), start=1):
        own_shape = shape(found, True)
        best, best_iou = None, -1.0
        for instance in instances:
            if instance["image"] == found["image_id"]:
                iou = overlap(own_shape, instance["shape"])
                if iou > best_iou:
                    best, best_iou = instance, iou
        if best is not None and best_iou >= min_iou and not best["used"]:
            best["used"] = True
            right += 1
        curve.append((right / len(instances), right / rank))
    eleven = 0.0
    for level in np.arange(0.0, 1.1, 0.1):
        eleven += max([p for r, p in curve if r >= level], default=0.0) / 11
    area, previous = 0.0, 0.0
    for index, (recall, _) in enumerate(curve):
        area += (recall - previous) * max(p for _, p in curve[index:])
        previous = recall
    return eleven, area


@pytest.mark.parametrize("min_iou", [0.5, 0.7])
def test_equal_to_the_slow_reference(crowded_street, make, min_iou):
    truth, detections = crowded_street
    got = voc_figures(category_overlaps(read_evaluation_set(truth, detections)), min_iou)
    for category in (1, 2):
        eleven, area = slow_figures(truth, detections, category, min_iou, make.decode)
        assert 0.05 < eleven < 0.95
        assert got[category].eleven_point == pytest.approx(eleven, abs=1e-12)
        assert got[category].continuous == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("min_iou", [0.5, 0.7])
def test_enclosing_boxes_equal_to_the_slow_reference(crowded_street, make, min_iou):
    """mAP^b: what is found are the boxes around the masks (Paper: 4.3)."""
    truth, detections = crowded_street
    tables = category_overlaps(read_evaluation_set(truth, detections), "bbox")
    got = voc_figures(tables, min_iou)
    for category in (1, 2):
        eleven, area = slow_figures(truth, detections, category, min_iou, make.decode, boxes=True)
        assert 0.05 < eleven < 0.95
        assert got[category].eleven_point == pytest.approx(eleven, abs=1e-12)
        assert got[category].continuous == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_equal_to_the_slow_reference_on_coco(coco_mini, make, kind):
    truth, detections = coco_mini
    got = voc_figures(category_overlaps(read_evaluation_set(truth, detections), kind), 0.5)
    for category in (1, 3, 62):  # person, car, chair: the ones with most instances
        eleven, area = slow_figures(
            truth, detections, category, 0.5, make.decode, boxes=kind == "bbox"
        )
        assert got[category].eleven_point == pytest.approx(eleven, abs=1e-12)
        assert got[category].continuous == pytest.approx(area, abs=1e-12)


def test_ap_of_a_known_curve():
    # recall 1/4 1/4 2/4 3/4 3/4, precision 1 1/2 2/3 3/4 3/5; the fourth instance is missed
    ap = average_precision(np.array([True, False, True, True, False]), 4)
    # levels 0, 0.1, 0.2: 1; 0.3 to 0.7: 3/4; above: 0
    assert ap.eleven_point == pytest.approx((3 * 1 + 5 * 0.75) / 11)
    assert ap.continuous == pytest.approx(0.25 * 1 + 0.5 * 0.75)


def test_recall_levels_are_those_of_the_official_arithmetic():
    # a recall of 3/10 is just short of the official level of 0.30000000000000004
    hits = np.array([True] * 3)
    assert average_precision(hits, 10).eleven_point == pytest.approx(3 / 11)
    assert average_precision(hits[:2], 10).eleven_point == pytest.approx(3 / 11)


def test_ap_of_perfect_of_no_and_of_wrong_detections():
    perfect = average_precision(np.ones(3, dtype=bool), 3)
    assert (perfect.eleven_point, perfect.continuous) == (1.0, 1.0)
    nothing = AveragePrecision(eleven_point=0.0, continuous=0.0)
    assert average_precision(np.zeros(0, dtype=bool), 3) == nothing
    assert average_precision(np.zeros(5, dtype=bool), 3) == nothing
    unknown = AveragePrecision(eleven_point=None, continuous=None)
    assert average_precision(np.zeros(5, dtype=bool), 0) == unknown


def test_a_used_instance_makes_a_detection_wrong_whatever_else_it_overlaps(make):
    # the middle detection overlaps both instances and prefers the first one, which is taken
    left, right = make.rectangle(0, 0, 20, 10), make.rectangle(8, 0, 20, 10)
    middle = make.rectangle(3, 0, 20, 10)
    truth = make.dataset([(1, 1, left), (1, 1, right)])
    found = [make.detection(left, score=0.9), make.detection(middle, score=0.8)]
    figures = voc_figures(category_overlaps(read_evaluation_set(truth, found)), 0.5)
    assert figures[1].continuous == pytest.approx(0.5)


def test_a_detection_in_a_crowd_region_is_wrong_and_the_region_is_not_missed(make):
    alone, crowd = make.rectangle(0, 0, 10, 10), make.rectangle(20, 0, 30, 30)
    truth = make.dataset([(1, 1, alone), (1, 1, crowd, True)])
    found = [make.detection(crowd, score=0.9), make.detection(alone, score=0.8)]
    figures = voc_figures(category_overlaps(read_evaluation_set(truth, found)), 0.5)
    assert figures[1].continuous == pytest.approx(0.5)


def test_mean_is_over_categories_with_truth():
    known = [AveragePrecision(eleven_point=a, continuous=b) for a, b in ((0.2, 0.3), (0.6, 0.5))]
    unknown = AveragePrecision(eleven_point=None, continuous=None)
    mean = mean_average_precision({1: known[0], 2: unknown, 3: known[1]})
    assert mean.eleven_point == pytest.approx(0.4)
    assert mean.continuous == pytest.approx(0.4)
    assert mean_average_precision({2: unknown}) == unknown
