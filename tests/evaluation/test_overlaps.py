import numpy as np
import pytest

from fcis.evaluation.overlaps import (
    CategoryOverlaps,
    ImageOverlaps,
    category_overlaps,
    first_choice_hits,
    greedy_hits,
    mean_or_none,
)
from fcis.evaluation.records import read_evaluation_set


def one_image(iou):
    iou = np.array(iou, dtype=np.float64)
    image = ImageOverlaps(positions=np.arange(len(iou)), iou=iou)
    scores = np.linspace(1, 0, len(iou))
    return CategoryOverlaps(scores=scores, num_truth=iou.shape[1], images=(image,))


def test_tables_equal_dense_masks(crowded_street, make):
    truth, detections = crowded_street
    tables = category_overlaps(read_evaluation_set(truth, detections))
    for category, table in tables.items():
        own = [d for d in detections if d["category_id"] == category]
        ranked = sorted(own, key=lambda d: -d["score"])  # stable: equal scores keep their order
        assert table.scores.tolist() == [d["score"] for d in ranked]
        instances = [
            a for a in truth["annotations"] if a["category_id"] == category and not a["iscrowd"]
        ]
        assert table.num_truth == len(instances)
        seen = 0
        for image in table.images:
            (image_id,) = {ranked[position]["image_id"] for position in image.positions}
            here = [a for a in instances if a["image_id"] == image_id]
            expected = np.zeros(image.iou.shape)
            for row, position in enumerate(image.positions):
                left = make.decode(ranked[position], (40, 60))
                for column, annotation in enumerate(here):
                    right = make.decode(annotation, (40, 60))
                    expected[row, column] = (left & right).sum() / (left | right).sum()
            np.testing.assert_allclose(image.iou, expected)
            seen += len(here)
        assert seen == len(instances)  # every image with instances has detections here


def test_tables_of_boxes(make):
    square, low = make.rectangle(0, 0, 10, 10), make.rectangle(0, 5, 10, 10)
    ring = square & ~make.rectangle(2, 2, 6, 6)
    truth = make.dataset([(1, 1, square), (1, 1, low)])
    evaluation_set = read_evaluation_set(truth, [make.detection(ring)])
    (image,) = category_overlaps(evaluation_set, "bbox")[1].images
    np.testing.assert_allclose(image.iou, [[1.0, 1 / 3]])
    (image,) = category_overlaps(evaluation_set)[1].images
    np.testing.assert_allclose(image.iou, [[0.64, 32 / 132]])


def test_categories_without_instances_have_empty_tables(make):
    tables = category_overlaps(read_evaluation_set(make.dataset([], categories=(1, 2)), []))
    assert {i: (len(t.scores), t.num_truth, t.images) for i, t in tables.items()} == {
        1: (0, 0, ()),
        2: (0, 0, ()),
    }
    assert greedy_hits(tables[1], 0.5).shape == first_choice_hits(tables[1], 0.5).shape == (0,)


def test_the_second_choice_is_what_tells_the_two_apart():
    table = one_image([[0.9, 0.6], [0.8, 0.7]])
    assert greedy_hits(table, 0.5).tolist() == [True, True]
    assert first_choice_hits(table, 0.5).tolist() == [True, False]
    assert greedy_hits(table, 0.75).tolist() == [True, False]


def test_a_detection_below_the_threshold_takes_nothing():
    table = one_image([[0.6], [0.7]])
    for hits in (greedy_hits, first_choice_hits):
        assert hits(table, 0.65).tolist() == [False, True]
        assert hits(table, 0.7).tolist() == [False, True]  # the threshold itself is enough
        assert hits(table, 0.71).tolist() == [False, False]


def test_positions_carry_hits_to_the_ranking_of_the_category():
    iou = np.array([[0.9]])
    images = tuple(ImageOverlaps(positions=np.array([p]), iou=iou) for p in (3, 1))
    table = CategoryOverlaps(scores=np.array([0.9, 0.8, 0.7, 0.6]), num_truth=2, images=images)
    for hits in (greedy_hits, first_choice_hits):
        assert hits(table, 0.5).tolist() == [False, True, False, True]


def test_mean_or_none():
    assert mean_or_none([0.2, None, 0.4]) == pytest.approx(0.3)
    assert mean_or_none([None]) is None
    assert mean_or_none([]) is None
